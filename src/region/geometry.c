#include "config.h"

#include "region/geometry.h"

int kx_rect_inside(const kx_rect *rect, int width, int height) {
  return rect->x >= 0 && rect->y >= 0 && rect->width > 0 && rect->height > 0 &&
         rect->x < width && rect->y < height && rect->width <= width - rect->x &&
         rect->height <= height - rect->y;
}

kx_rect kx_rect_stored(kx_rect upright, int orientation, int width, int height) {
  /* How stored columns and rows follow from upright ones: exchanged, counted from the other end. */
  static const struct turn {
    int swap, flip_column, flip_row;
  } turns[9] = {
    {0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1},
    {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}
  };
  const struct turn *turn = &turns[orientation];
  kx_rect stored = upright;

  if (turn->swap) {
    stored.x = upright.y, stored.y = upright.x;
    stored.width = upright.height, stored.height = upright.width;
  }
  if (turn->flip_column) stored.x = width - stored.x - stored.width;
  if (turn->flip_row) stored.y = height - stored.y - stored.height;
  return stored;
}

int kx_orientation_back(int orientation) {
  return orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
}
