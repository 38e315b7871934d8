/* Printed ASCII in a letter of 5 by 7 dots, drawn at any size with smooth edges. */
#ifndef KX_FONT_H
#define KX_FONT_H

#include "picture/picture.h"

#define KX_FONT_STEP 6   /* dots from one letter to the next */
#define KX_FONT_HEIGHT 8 /* dots of a letter with what hangs below the line */

/* Draws `n` printable ASCII characters, the first one's upper left dot at x, y; `dot` is a dot's
   size in pixels. What falls outside is left out. */
void kx_font_draw(kx_picture *picture, const char *text, size_t n, float x, float y, float dot,
                  const unsigned char colour[3]);

#endif
