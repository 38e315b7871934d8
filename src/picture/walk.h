/* The picture check: finds what a source holds by its header, and never by its name. It does not
   know the limits of a service (20 MP, 20 MB). */
#ifndef KX_IMAGE_H
#define KX_IMAGE_H

#include "file/source.h"

typedef enum kx_image_status {
  KX_IMAGE_OK,
  KX_IMAGE_EMPTY,      /* no bytes */
  KX_IMAGE_CUT,        /* ends before its header does; `format` is known */
  KX_IMAGE_UNKNOWN,    /* no picture, nor anything else that is known */
  KX_IMAGE_FOREIGN,    /* something else than JPEG, PNG or WebP; `format` and `label` say what,
                           the `width` of a BMP that it can be decoded */
  KX_IMAGE_NO_SIZE,    /* a width or height of zero */
  KX_IMAGE_HUGE,       /* more than 2^28 pixels or 2^24 in a row; `width` and `height` are set */
  KX_IMAGE_DAMAGED,    /* a header that no decoder takes; `why` says what is wrong */
  KX_IMAGE_ODD,        /* a lawful variant that hardly any decoder takes; `why` says which */
  KX_IMAGE_UNREADABLE, /* reading failed; `error` is the errno */
  KX_IMAGE_NO_MEMORY,
  KX_IMAGE_NO_DECODER, /* of decoding alone: a format that is recognised and not decoded here */
  KX_IMAGE_TOO_BIG     /* of decoding alone: needs more memory than it may take */
} kx_image_status;

/* What the walk found; what does not apply is zero. Strings are static. */
typedef struct kx_image_info {
  const char *format; /* "jpeg", "png", "webp"; a foreign one's name: "tiff", "heic" … */
  const char *label;  /* the same for people: "JPEG", "TIFF", "JPEG XL" */
  const char *why;    /* completes "the file is damaged: " or "… is not usable: " */
  int error;
  uint32_t width, height; /* as stored; orientation 5 … 8 swaps them for the eye */
  uint64_t pixels;        /* JPEG: where the walk stopped, its first scan if it is good; 0: cut */
  int orientation;        /* Exif's 1 … 8; 1 where nothing is said before a PNG's pixels */
  int channels;           /* as stored: 1, 3 or 4 in a JPEG, 1 … 4 in a PNG (a palette is 3) */
  int depth;              /* bits of a sample */
  int layers;             /* progressive (JPEG) or interlaced (PNG) */
  int unended;            /* of decoding alone: a JPEG without its end mark, which may be whole */
  int blocks, mcu_width, mcu_height; /* JPEG: 8x8 blocks of a coded unit, its size in pixels */
} kx_image_info;

/* Reads the header of `source` and fills `info`, always. Reads some hundred bytes, and 64 more for
   each segment or chunk that stands before the picture, or behind the pixels of a PNG that has told
   no orientation yet. Allocates nothing but for Exif that a PNG keeps as text (110 KB). */
kx_image_status kx_image_read(const kx_source *source, kx_image_info *info);

/* The same with at most so many reads of at most 512 bytes. */
kx_image_status kx_image_look(const kx_source *source, unsigned reads, kx_image_info *info);

/* Returns the status in a word: "ok", "empty", "cut", "unknown", "foreign", "no_size", "huge",
   "damaged", "odd", "file", "memory", "no_decoder" or "too_big". */
const char *kx_image_status_name(kx_image_status status);

/* Returns the format's name by the first bytes ("jpeg", "tiff" …), or NULL. Meant to tell a
   picture's bytes from a path: `n` is the size of all of it, and a format whose first bytes are
   plain text (GIF, BMP, PDF …) is believed only when a NUL byte is near or when `n` exceeds the
   longest path. */
const char *kx_image_sniff(const void *bytes, size_t n);

#endif
