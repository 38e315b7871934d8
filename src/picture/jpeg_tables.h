/* The Huffman tables of the JPEG standard's annex K, which a file may leave out. */
#ifndef KX_JPEG_TABLES_H
#define KX_JPEG_TABLES_H

#include <stddef.h>

/* Returns the body of a DHT segment, `*size` bytes, that defines table `number` (0: luminance,
   1: chrominance) for DC (`kind` 0) or AC (1). */
const unsigned char *kx_jpeg_table(int kind, int number, size_t *size);

#endif
