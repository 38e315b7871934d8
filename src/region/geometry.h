/* Rectangles of a picture as it is seen, upright, and as its file stores it. */
#ifndef KX_GEOMETRY_H
#define KX_GEOMETRY_H

typedef struct kx_rect {
  int x, y, width, height;
} kx_rect;

/* Returns 1 where the rectangle is not empty and lies in a picture of that size, else 0. */
int kx_rect_inside(const kx_rect *rect, int width, int height);

/* Returns where a rectangle of the upright picture lies in the stored one, whose size is `width` by
   `height` and whose Exif orientation is 1 … 8. */
kx_rect kx_rect_stored(kx_rect upright, int orientation, int width, int height);

/* Returns the orientation that turns an upright picture back into the stored one. */
int kx_orientation_back(int orientation);

#endif
