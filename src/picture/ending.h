/* Whether a file that arrived is whole, by its format's own end mark. A paid picture is judged by
   this, and never by the checks of an input. */
#ifndef KX_ENDING_H
#define KX_ENDING_H

#include "picture/walk.h"

typedef enum kx_ending {
  KX_ENDING_UNKNOWN, /* a format without an end mark that is known here, or too long a way to it */
  KX_ENDING_THERE,   /* whatever follows it */
  KX_ENDING_MISSING
} kx_ending;

/* Looks for the end mark of what kx_image_look has read into `info`. Returns 0 and the answer, or
   the errno of a read that failed. Reads 16 KiB where all is well, all of a JPEG without its
   mark, and up to 8 MB of a GIF. */
int kx_image_ending(const kx_source *source, const kx_image_info *info, kx_ending *ending);

#endif
