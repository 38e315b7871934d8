/* Edits of a region, one job each: its window cut out of a photograph for the service; the answer
   put back, everything outside of the window staying as it is; and what goes with both. Each takes
   up to some seconds on a large photograph: for a thread that may. */
#ifndef KX_REGION_H
#define KX_REGION_H

#include "file/sink.h"
#include "error.h"
#include "region/geometry.h"
#include "region/metadata.h"
#include "region/wanted.h"

typedef enum kx_region_kind {
  KX_REGION_CUT,     /* window, width, height, quality → the encoded window */
  KX_REGION_COMPOSE, /* window, region, answer, mask, metadata → the file with the answer in it */
  KX_REGION_STRIP,   /* → the file without place, names and numbers, its pixels the same */
  KX_REGION_MASK     /* a PNG → `box` around what is lighter than black */
} kx_region_kind;

/* A job and what came of it. Rectangles are of the upright picture, in pixels. */
typedef struct kx_region {
  kx_region_kind kind;
  kx_rect window;
  kx_rect region;       /* what was to change; a width of 0: the window without its margin */
  int width, height;    /* CUT: of the encoded window, no larger than it */
  int quality;          /* of a JPEG, 1 … 100; 0: PNG */
  uint64_t memory;      /* the most that the job may take, in bytes */
  kx_metadata metadata;
  char *answer_path;    /* the service's picture: a file or bytes, the job's own */
  unsigned char *answer;
  size_t answer_size;
  char *mask;           /* a PNG's path; NULL: none */
  char *to;             /* the path of the result; NULL: it is in the sink */
  kx_sink_way way;      /* what may stand there */
  kx_wanted wanted;

  int picture_width, picture_height; /* upright, of the file that was read */
  kx_rect box;
  int matched;          /* COMPOSE: there is a margin to compare */
  double match;         /* 0 … 1: how alike the margins are */
  double shift_x, shift_y; /* how far the answer lay to the right and below, in the file's pixels */
  double zoom_x, zoom_y;
  unsigned char md5[KX_DIGEST_MAX]; /* COMPOSE: of the whole result, and its size */
  size_t md5_size;
  uint64_t size;
  char warning[256];    /* what the user should know of a good result; may be empty */
} kx_region;

/* Returns a zeroed job, or NULL. */
kx_region *kx_region_new(kx_region_kind kind);

void kx_region_free(kx_region *region);

/* Reads what stands before a picture's pixels; returns what keeps a region of it from being edited,
   as a sentence about "it", or NULL. */
const char *kx_region_look(const kx_source *source, kx_image_info *info);

/* Returns the memory that cutting and composing take at their peak. */
uint64_t kx_region_memory(const kx_image_info *info, uint64_t bytes, int window_width,
                          int window_height);

/* Does the job on a file; what it makes goes to `out`, unless to the file that it names. Returns 0,
   or -1 with `error`. */
int kx_region_run(kx_region *region, const kx_source *source, kx_sink *out, kx_error *error);

#endif
