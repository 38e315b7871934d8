/* Which format bytes are, by their first ones: one table. */
#ifndef KX_SNIFF_H
#define KX_SNIFF_H

#include "picture/walk.h"

#define KX_SNIFF_BYTES 512 /* as many as are of use */

/* Returns the name of the format that begins like this, or NULL; sets its name for people and
   whether the same bytes could begin a path. */
const char *kx_sniff(const unsigned char *bytes, size_t n, const char **label, int *text);

#endif
