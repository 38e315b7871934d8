#include "config.h"

#include "emulator/webp_write.h"

#include <stdint.h>

#define MAX_SIDE 16384
#define ORDER_LENGTHS 12 /* code lengths up to that of "8", in the format's own order */

/* Bits are packed from the lowest of each byte on. */
typedef struct bits {
  unsigned char *to;
  size_t size;
  uint32_t held;
  unsigned count;
} bits;

static void put(bits *b, uint32_t value, unsigned count) {
  b->held |= value << b->count;
  b->count += count;
  while (b->count >= 8) {
    b->to[b->size++] = (unsigned char)b->held;
    b->held >>= 8;
    b->count -= 8;
  }
}

/* Writes the code in which each of 256 values has 8 bits, and further symbols none. */
static void put_flat_code(bits *b, int symbols) {
  int i;

  put(b, 0, 1); /* not the simple form */
  put(b, ORDER_LENGTHS - 4, 4);
  for (i = 0; i < ORDER_LENGTHS; i++) {
    put(b, i == 2 || i == 11, 3); /* the lengths "0" and "8" are told by one bit each */
  }
  put(b, 0, 1); /* lengths follow for all symbols */
  for (i = 0; i < symbols; i++) put(b, i < 256, 1);
}

/* Writes the code of one symbol, which then takes no bits. */
static void put_lone_code(bits *b, uint32_t symbol, int wide) {
  put(b, 1, 1); /* the simple form */
  put(b, 0, 1); /* of one symbol */
  put(b, (uint32_t)wide, 1);
  put(b, symbol, wide ? 8 : 1);
}

static unsigned char reversed(unsigned char value) {
  unsigned v = value;

  v = (v & 0xF0) >> 4 | (v & 0x0F) << 4;
  v = (v & 0xCC) >> 2 | (v & 0x33) << 2;
  v = (v & 0xAA) >> 1 | (v & 0x55) << 1;
  return (unsigned char)v;
}

static void put_le32(unsigned char *to, size_t value) {
  int i;

  for (i = 0; i < 4; i++) to[i] = (unsigned char)(value >> 8 * i);
}

int kx_webp_write(const kx_picture *picture, kx_buffer *out) {
  static const unsigned char frame[] = "RIFF\0\0\0\0WEBPVP8L\0\0\0\0";
  enum { HEADER = sizeof frame - 1, CODES = 256 };
  size_t area, i, size;
  unsigned char *to;
  bits b = {NULL, 0, 0, 0};

  if (picture->width > MAX_SIDE || picture->height > MAX_SIDE || picture->channels != 3) return 0;
  area = (size_t)picture->width * (size_t)picture->height;
  if (area > (SIZE_MAX - HEADER - CODES) / 3) return 0;
  to = kx_buffer_room(out, HEADER + CODES + area * 3);
  if (!to) return 0;
  for (i = 0; i < HEADER; i++) to[i] = frame[i];
  b.to = to + HEADER;
  put(&b, 0x2F, 8); /* the signature */
  put(&b, (uint32_t)picture->width - 1, 14);
  put(&b, (uint32_t)picture->height - 1, 14);
  put(&b, 0, 4); /* no alpha, version 0 */
  put(&b, 0, 3); /* no transform, no colour cache, one set of codes */
  put_flat_code(&b, 256 + 24);
  put_flat_code(&b, 256);
  put_flat_code(&b, 256);
  put_lone_code(&b, 255, 1);
  put_lone_code(&b, 0, 0);
  for (i = 0; i < area; i++) {
    const unsigned char *p = picture->pixels + i * 3;
    put(&b, reversed(p[1]), 8);
    put(&b, reversed(p[0]), 8);
    put(&b, reversed(p[2]), 8);
  }
  put(&b, 0, 7); /* what is left of the last byte */
  size = b.size;
  put_le32(to + 16, size);
  if (size % 2) b.to[size++] = 0;
  put_le32(to + 4, HEADER - 8 + size);
  out->size += HEADER + size;
  return 1;
}
