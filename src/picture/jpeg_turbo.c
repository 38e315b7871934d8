/* The only file that knows libjpeg, and the only one with setjmp: libjpeg's way of ending. */
#include "config.h"

#include "picture/jpeg_turbo.h"

#ifdef KX_LIBJPEG

#include <limits.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* A decoder and what its errors need. */
typedef struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  jmp_buf back;
  unsigned char *pixels;
  int whole; /* nothing may be missing */
} decoder;

/* Ends the decoding with the error that libjpeg has set. */
static void leave(j_common_ptr jpeg) {
  longjmp(((decoder *)jpeg->client_data)->back, 1);
}

/* Takes a warning (level -1) or a trace. Of the warnings those that decoders pass over are none of
   ours; a code that no table has means that what follows is not the picture, and a marker within
   the codes means that some of them are missing. */
static void warn(j_common_ptr jpeg, int level) {
  int code = jpeg->err->msg_code;

  if (level >= 0) return;
  if (code == JWRN_HUFF_BAD_CODE) leave(jpeg);
  if (code == JWRN_HIT_MARKER && ((decoder *)jpeg->client_data)->whole) leave(jpeg);
}

/* Returns whether the scans of a progressive JPEG brought all bits of all coefficients. */
static int all_scans(const struct jpeg_decompress_struct *jpeg) {
  int part, k;

  for (part = 0; jpeg->coef_bits && part < jpeg->num_components; part++) {
    for (k = 0; k < DCTSIZE2; k++) {
      if (jpeg->coef_bits[part][k] != 0) return 0;
    }
  }
  return 1;
}

/* Turns a row of inks, stored as Adobe does, 255 for none, into RGB. */
static void mix(const unsigned char *inks, unsigned char *to, size_t width) {
  size_t x;
  int k;

  for (x = 0; x < width; x++, inks += 4) {
    for (k = 0; k < 3; k++) *to++ = (unsigned char)((inks[k] * inks[3] + 127) / 255);
  }
}

/* Chooses the scale, in eighths, which are libjpeg's own: with half as much again as is wanted what
   is scaled further loses at most 0.6 dB against all of the picture; without, up to 2.6. */
static void choose_scale(struct jpeg_decompress_struct *jpeg, int least_width,
                         int least_height) {
  jpeg->scale_denom = 8;
  for (jpeg->scale_num = 1; jpeg->scale_num < 8; jpeg->scale_num++) {
    jpeg_calc_output_dimensions(jpeg);
    if (least_width > 0 && jpeg->output_width * 2 >= (unsigned)least_width * 3 &&
        jpeg->output_height * 2 >= (unsigned)least_height * 3) {
      break;
    }
  }
}

/* Decodes; returns only where all went well, 0 where the pixels are over the budget or -1. */
static int decode(decoder *d, const unsigned char *bytes, size_t size, size_t budget,
                  int least_width, int least_height) {
  struct jpeg_decompress_struct *jpeg = &d->jpeg;
  JSAMPARRAY inks = NULL;
  size_t row, area;

  jpeg_create_decompress(jpeg);
  jpeg_mem_src(jpeg, bytes, (unsigned long)size);
  jpeg_read_header(jpeg, TRUE);
  jpeg->out_color_space = jpeg->num_components == 4 ? JCS_CMYK : JCS_RGB;
  choose_scale(jpeg, least_width, least_height);
  jpeg_calc_output_dimensions(jpeg);
  row = (size_t)jpeg->output_width * 3;
  area = row * jpeg->output_height; /* the walk allows 2^28 pixels */
  if (area >= budget) return 0;
  budget -= area;
  jpeg->mem->max_memory_to_use = budget < LONG_MAX ? (long)budget : LONG_MAX;
  d->pixels = (unsigned char *)malloc(area);
  if (!d->pixels) return -1;
  jpeg_start_decompress(jpeg);
  if (jpeg->out_color_space == JCS_CMYK) {
    inks = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4, 1);
  }
  while (jpeg->output_scanline < jpeg->output_height) {
    JSAMPROW line = d->pixels + jpeg->output_scanline * row;
    jpeg_read_scanlines(jpeg, inks ? inks : &line, 1);
    if (inks) mix(inks[0], line, jpeg->output_width);
  }
  return !d->whole || all_scans(jpeg); /* what follows the picture is not looked at */
}

int kx_jpeg_turbo_decode(const unsigned char *bytes, size_t size, size_t budget, int whole,
                         int least_width, int least_height, unsigned char **pixels,
                         int *width, int *height) {
  decoder d;
  int done;

  memset(&d, 0, sizeof d);
  d.jpeg.err = jpeg_std_error(&d.errors);
  d.jpeg.client_data = &d;
  d.errors.error_exit = leave;
  d.errors.emit_message = warn;
  d.whole = whole;
  if (setjmp(d.back) == 0) {
    done = decode(&d, bytes, size, budget, least_width, least_height);
  } else {
    done = d.errors.msg_code == JERR_OUT_OF_MEMORY ? -1 : 0;
  }
  *width = (int)d.jpeg.output_width;
  *height = (int)d.jpeg.output_height;
  jpeg_destroy_decompress(&d.jpeg);
  if (done != 1) {
    free(d.pixels);
    d.pixels = NULL;
  }
  *pixels = d.pixels;
  return done;
}

#define TEXT(version) #version
#define VERSION(version) TEXT(version)

const char *kx_jpeg_turbo_name(void) {
#ifdef LIBJPEG_TURBO_VERSION
  return "libjpeg-turbo " VERSION(LIBJPEG_TURBO_VERSION);
#else
  return "libjpeg " VERSION(JPEG_LIB_VERSION);
#endif
}

#else

const char *kx_jpeg_turbo_name(void) { return "stb_image"; }

#endif
