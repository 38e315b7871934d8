/* The clock that all waiting goes by. */
#ifndef KX_CLOCK_H
#define KX_CLOCK_H

#include <stdint.h>

#define KX_NEVER INT64_MAX

/* Returns nanoseconds on the monotonic clock. */
int64_t kx_now(void);

#endif
