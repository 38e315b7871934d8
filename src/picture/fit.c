#include "config.h"

#include "picture/fit.h"

#include "picture/picture.h"

#include <string.h>

#define RESULT_MAX ((size_t)64 * 1024 * 1024)

/* Returns what is wrong with a picture of this status, or NULL. */
static const char *complaint(kx_image_status status, const kx_image_info *info) {
  switch (status) {
    case KX_IMAGE_OK: return NULL;
    case KX_IMAGE_CUT: return "it is cut: a part of the picture is missing; get the whole file";
    case KX_IMAGE_UNREADABLE: return strerror(info->error);
    case KX_IMAGE_TOO_BIG: return "it takes more memory to decode than is allowed";
    case KX_IMAGE_NO_DECODER: return "its format cannot be decoded here: convert it to JPEG or PNG";
    case KX_IMAGE_NO_MEMORY: return "there is not enough memory to decode it";
    default: return info->why ? info->why : "it is no picture that can be decoded";
  }
}

/* Scales and turns the decoded picture; returns 1, or 0 without memory. */
static int reshape(const kx_fit *fit, const kx_picture *decoded, int orientation, kx_picture *to) {
  int turned = orientation >= 5; /* width and height change places */

  return kx_picture_scale(to, decoded, turned ? fit->height : fit->width,
                          turned ? fit->width : fit->height, 0) &&
         kx_picture_orient(to, orientation);
}

int kx_fit_picture(const kx_fit *fit, const kx_source *source, kx_sink *out, kx_error *error) {
  kx_image_info info;
  kx_picture decoded, fitted;
  kx_buffer encoded;
  kx_size least;
  const char *why;

  least.width = fit->width;
  least.height = fit->height;
  memset(&fitted, 0, sizeof fitted);
  memset(&encoded, 0, sizeof encoded);
  encoded.cap = RESULT_MAX;
  why = complaint(kx_picture_read(&decoded, source, fit->memory, &least, &info), &info);
  if (!why && !reshape(fit, &decoded, info.orientation, &fitted)) {
    why = "there is not enough memory to scale it";
  }
  kx_picture_give_colours(&fitted, &decoded);
  kx_picture_free(&decoded);
  if (!why && fit->quality > 0) kx_picture_flatten(&fitted);
  if (!why && !kx_picture_write(&fitted, fit->quality, &encoded)) {
    why = "there is not enough memory to encode it";
  }
  kx_picture_free(&fitted);
  if (!why && kx_sink_write(out, encoded.bytes, encoded.size) != 0) {
    why = "there is not enough memory to keep it";
  }
  kx_buffer_free(&encoded);
  if (why) kx_error_own(error, "image", NULL, why);
  return why ? -1 : 0;
}
