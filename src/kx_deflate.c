#include "kx_config.h"

#include "kx_deflate.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32768
#define HASH_BITS 15
#define PROBES 12    /* earlier places tried for a match: photographs have few */
#define MIN_MATCH 4  /* of three bytes the distance often costs more than the bytes */
#define MAX_MATCH 258
#define BLOCK 65536  /* symbols that share one pair of codes */
#define LITERALS 286 /* bytes, the end, 29 lengths */
#define DISTANCES 30
#define END 256
#define MAX_BITS 15

static const unsigned short length_base[29] = {
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
  163, 195, 227, 258
};
static const unsigned char length_extra[29] = {
  0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0
};
static const unsigned short distance_base[DISTANCES] = {
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049,
  3073, 4097, 6145, 8193, 12289, 16385, 24577
};
static const unsigned char distance_extra[DISTANCES] = {
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13
};

/* A prefix code: how often each symbol comes, and then how it is written. */
typedef struct code {
  uint32_t count[LITERALS];
  unsigned char bits[LITERALS];
  unsigned short word[LITERALS]; /* first bit lowest */
} code;

typedef struct deflater {
  kx_bytes *out;
  uint64_t bits;
  int held; /* bits not yet written */
  size_t staged;
  unsigned char stage[4096];
  uint32_t head[1 << HASH_BITS], before[WINDOW]; /* places plus one; 0: none */
  uint32_t symbol[BLOCK];                        /* a byte, or length << 16 | distance */
  size_t symbols;
  code literal, distance;
} deflater;

static void put(deflater *d, uint32_t value, int bits) {
  d->bits |= (uint64_t)value << d->held;
  for (d->held += bits; d->held >= 8; d->held -= 8, d->bits >>= 8) {
    if (d->staged == sizeof d->stage) {
      kx_bytes_add(d->out, d->stage, d->staged);
      d->staged = 0;
    }
    d->stage[d->staged++] = (unsigned char)d->bits;
  }
}

/* Sets how many bits each symbol gets: Huffman's two queues over the symbols from rare to frequent,
   then what is longer than MAX_BITS is shortened at the cost of the next shorter ones. */
static void assign_bits(code *c, int n) {
  uint32_t weight[2 * LITERALS];
  unsigned short sorted[LITERALS], parent[2 * LITERALS], depth[2 * LITERALS];
  int lengths[MAX_BITS + 1] = {0}, used = 0, nodes, leaf = 0, inner, i, j, bits, spare;

  memset(c->bits, 0, sizeof c->bits);
  for (i = 0; i < n; i++) {
    if (!c->count[i]) continue;
    for (j = used++; j > 0 && c->count[sorted[j - 1]] > c->count[i]; j--) sorted[j] = sorted[j - 1];
    sorted[j] = (unsigned short)i;
  }
  if (used < 2) { /* a code has at least one bit, also for what never comes */
    c->bits[used ? sorted[0] : 0] = 1;
    return;
  }
  for (i = 0; i < used; i++) weight[i] = c->count[sorted[i]];
  for (nodes = inner = used; nodes < 2 * used - 1; nodes++) {
    weight[nodes] = 0;
    for (i = 0; i < 2; i++) {
      int rarer = leaf < used && (inner == nodes || weight[leaf] <= weight[inner]);
      int child = rarer ? leaf++ : inner++;
      weight[nodes] += weight[child];
      parent[child] = (unsigned short)nodes;
    }
  }
  depth[nodes - 1] = 0;
  for (i = nodes - 2; i >= 0; i--) {
    depth[i] = (unsigned short)(depth[parent[i]] + 1);
    if (i < used) lengths[depth[i] < MAX_BITS ? depth[i] : MAX_BITS]++;
  }
  for (spare = -(1 << MAX_BITS), i = 1; i <= MAX_BITS; i++) spare += lengths[i] << (MAX_BITS - i);
  for (; spare > 0; spare--) {
    for (bits = MAX_BITS - 1; !lengths[bits]; bits--) continue;
    lengths[bits]--;
    lengths[bits + 1] += 2;
    lengths[MAX_BITS]--;
  }
  for (i = 0, bits = MAX_BITS; bits > 0; bits--) {
    for (j = 0; j < lengths[bits]; j++) c->bits[sorted[i++]] = (unsigned char)bits;
  }
}

/* Sets the words of the canonical code of these lengths. */
static void assign_words(code *c, int n) {
  unsigned next = 0;
  int bits, i, k;

  for (bits = 1; bits <= MAX_BITS; bits++, next <<= 1) {
    for (i = 0; i < n; i++) {
      unsigned word = 0;
      if (c->bits[i] != bits) continue;
      for (k = 0; k < bits; k++) word |= (next >> k & 1) << (bits - 1 - k);
      c->word[i] = (unsigned short)word;
      next++;
    }
  }
}

/* Returns the last of `n` classes whose base is not above `value`. */
static int class_of(const unsigned short *base, int n, unsigned value) {
  int low = 0;
  while (n - low > 1) {
    int middle = (low + n) / 2;
    if (base[middle] <= value) low = middle;
    else n = middle;
  }
  return low;
}

static void put_lengths(deflater *d, const code *c, int n) {
  int i;
  for (i = 0; i < n; i++) { /* in the plainest code there is: four bits each, highest first */
    int b = c->bits[i];
    put(d, (uint32_t)(b >> 3 | (b >> 1 & 2) | (b << 1 & 4) | (b << 3 & 8)), 4);
  }
}

static void put_symbol(deflater *d, const code *c, int symbol) {
  put(d, c->word[symbol], c->bits[symbol]);
}

static void put_block(deflater *d, int last) {
  size_t i;

  d->literal.count[END]++;
  assign_bits(&d->literal, LITERALS);
  assign_bits(&d->distance, DISTANCES);
  assign_words(&d->literal, LITERALS);
  assign_words(&d->distance, DISTANCES);
  put(d, (uint32_t)last | 2 << 1, 3);
  put(d, LITERALS - 257, 5);
  put(d, DISTANCES - 1, 5);
  put(d, 19 - 4, 4);
  for (i = 0; i < 19; i++) put(d, i < 3 ? 0 : 4, 3); /* lengths 0 … 15, no repeats */
  put_lengths(d, &d->literal, LITERALS);
  put_lengths(d, &d->distance, DISTANCES);
  for (i = 0; i < d->symbols; i++) {
    unsigned length = d->symbol[i] >> 16, distance = d->symbol[i] & 0xFFFF;
    int k;
    if (length == 0) {
      put_symbol(d, &d->literal, (int)distance);
      continue;
    }
    k = class_of(length_base, 29, length);
    put_symbol(d, &d->literal, END + 1 + k);
    put(d, length - length_base[k], length_extra[k]);
    k = class_of(distance_base, DISTANCES, distance);
    put_symbol(d, &d->distance, k);
    put(d, distance - distance_base[k], distance_extra[k]);
  }
  put_symbol(d, &d->literal, END);
  d->symbols = 0;
  memset(d->literal.count, 0, sizeof d->literal.count);
  memset(d->distance.count, 0, sizeof d->distance.count);
}

static unsigned hash(const unsigned char *p) {
  uint32_t word;
  memcpy(&word, p, sizeof word);
  return word * 2654435761u >> (32 - HASH_BITS);
}

/* Returns the longest match for the bytes at `at` among the last places of their hash, or 0. */
static unsigned match(const deflater *d, const unsigned char *data, size_t at, size_t n,
                      size_t *distance) {
  size_t limit = n - at < MAX_MATCH ? n - at : MAX_MATCH, best = MIN_MATCH - 1, k;
  uint32_t place = d->head[hash(data + at)];
  int probes;

  for (probes = 0; probes < PROBES && place; probes++) {
    size_t from = place - 1;
    if (at - from > WINDOW) break;
    if (best < limit && data[from + best] == data[at + best]) {
      for (k = 0; k < limit && data[from + k] == data[at + k]; k++) continue;
      if (k > best) best = k, *distance = at - from;
    }
    place = d->before[from % WINDOW];
  }
  return best < MIN_MATCH ? 0 : (unsigned)best;
}

static void remember(deflater *d, const unsigned char *data, size_t at, size_t n) {
  unsigned h;

  if (n - at < MIN_MATCH) return;
  h = hash(data + at);
  d->before[at % WINDOW] = d->head[h];
  d->head[h] = (uint32_t)at + 1;
}

static uint32_t adler(const unsigned char *data, size_t n) {
  uint32_t a = 1, b = 0;
  size_t i;

  while (n > 0) {
    size_t part = n < 5552 ? n : 5552;
    for (i = 0; i < part; i++) a += data[i], b += a;
    a %= 65521, b %= 65521;
    data += part, n -= part;
  }
  return b << 16 | a;
}

static void compress(deflater *d, const unsigned char *data, size_t n) {
  size_t at = 0, distance = 0;

  put(d, 0x78, 8); /* a window of 32 KB, then a check over both bytes */
  put(d, 0x9C, 8);
  while (at < n) {
    unsigned length = n - at < MIN_MATCH ? 0 : match(d, data, at, n, &distance);
    size_t next = at + (length ? length : 1);
    if (length) {
      d->symbol[d->symbols++] = length << 16 | (uint32_t)distance;
      d->literal.count[END + 1 + class_of(length_base, 29, length)]++;
      d->distance.count[class_of(distance_base, DISTANCES, (unsigned)distance)]++;
    } else {
      d->symbol[d->symbols++] = data[at];
      d->literal.count[data[at]]++;
    }
    for (; at < next; at++) remember(d, data, at, n);
    if (d->symbols == BLOCK) put_block(d, 0);
  }
  put_block(d, 1);
  put(d, 0, -d->held & 7);
}

int kx_deflate(const unsigned char *data, size_t n, kx_bytes *out) {
  deflater *d = (deflater *)calloc(1, sizeof *d);
  unsigned char check[4];
  uint32_t sum;

  if (!d || n > UINT32_MAX - 1) {
    if (!out->error) out->error = ENOMEM;
    free(d);
    return 0;
  }
  d->out = out;
  compress(d, data, n);
  kx_bytes_add(out, d->stage, d->staged);
  free(d);
  sum = adler(data, n);
  check[0] = (unsigned char)(sum >> 24), check[1] = (unsigned char)(sum >> 16);
  check[2] = (unsigned char)(sum >> 8), check[3] = (unsigned char)sum;
  return kx_bytes_add(out, check, 4);
}
