/* Edits of a region of any bytes within some MiB: strip, mask, cut, compose. What is made must be a
   picture of the same size and way up; where it was possible to cut, it must be possible to
   compose. */
#include "config.h"

#include "picture/picture.h"
#include "region/region.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY ((uint64_t)8 << 20)
#define ROOM ((size_t)32 << 20)
#define SIDE 40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Runs a job; returns 1 with the size of the picture that it made in `made`, 0 where it refused. */
static int run(kx_region *job, const kx_source *source, kx_image_info *made) {
  kx_sink *sink = kx_sink_memory(ROOM);
  kx_error error;
  kx_source result;
  int done;

  memset(&error, 0, sizeof error);
  done = kx_region_run(job, source, sink, &error) == 0;
  if (!done && (!error.kind || !*error.detail)) abort();
  if (done && job->kind != KX_REGION_MASK) {
    kx_sink_source(sink, &result);
    if (kx_image_read(&result, made) != KX_IMAGE_OK) abort();
  }
  kx_sink_free(sink);
  return done;
}

/* Returns the bytes of a small picture, the same for all inputs. */
static const kx_buffer *answer(void) {
  static kx_buffer bytes;
  kx_picture picture;
  int i;

  if (bytes.size > 0) return &bytes;
  bytes.cap = ROOM;
  if (!kx_picture_make(&picture, SIDE, SIDE, 3)) abort();
  for (i = 0; i < SIDE * SIDE * 3; i++) picture.pixels[i] = (unsigned char)(i * 7);
  if (!kx_picture_write(&picture, 0, &bytes)) abort();
  kx_picture_free(&picture);
  return &bytes;
}

static void edit(const kx_source *source, const kx_image_info *info, int seed) {
  int turned = info->orientation >= 5, can_cut;
  int width = (int)(turned ? info->height : info->width);
  int height = (int)(turned ? info->width : info->height);
  kx_image_info made;
  kx_region job;

  memset(&job, 0, sizeof job);
  job.memory = MEMORY;
  job.metadata = (kx_metadata)(seed % 3);
  job.window.x = seed % 5 * width / 16;
  job.window.y = seed % 7 * height / 16;
  job.window.width = width - job.window.x;
  job.window.height = height - job.window.y;
  job.width = job.window.width > SIDE ? SIDE : job.window.width;
  job.height = job.window.height > SIDE ? SIDE : job.window.height;
  job.kind = KX_REGION_CUT;
  can_cut = run(&job, source, &made);
  if (can_cut && ((int)made.width != job.width || (int)made.height != job.height)) abort();
  job.kind = KX_REGION_COMPOSE;
  job.answer = answer()->bytes;
  job.answer_size = answer()->size;
  if (!run(&job, source, &made)) {
    if (can_cut) abort();
    return;
  }
  if (made.width != info->width || made.height != info->height) abort();
  if (made.orientation != info->orientation) abort();
  if (!(job.match >= 0 && job.match <= 1)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kx_image_info info, made;
  kx_source source;
  kx_region job;

  kx_source_memory(&source, data, size);
  if (kx_image_read(&source, &info) != KX_IMAGE_OK) return 0;
  if ((uint64_t)info.width * info.height > 1u << 18) return 0;
  memset(&job, 0, sizeof job);
  job.kind = KX_REGION_STRIP;
  if (run(&job, &source, &made) && (made.width != info.width || made.height != info.height ||
                                    made.orientation != info.orientation)) {
    abort();
  }
  job.kind = KX_REGION_MASK;
  run(&job, &source, &made);
  edit(&source, &info, size > 0 ? data[size - 1] + (int)size : 0);
  return 0;
}
