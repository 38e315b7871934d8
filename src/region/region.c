#include "config.h"

#include "region/region.h"

#include "picture/jpeg.h"
#include "picture/picture.h"
#include "region/align.h"
#include "region/blend.h"
#include "region/jpeg_region.h"
#include "region/png_region.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RESULT_MAX ((uint64_t)1 << 31)
#define ENCODED_MAX ((size_t)64 << 20)
#define APPROVED_EXTRA 2048
#define STATE ((uint64_t)1 << 20) /* zlib, rows and tables, rounded up */
#define ANSWER_PIXELS ((uint64_t)3 << 20) /* of the largest comparison, rounded up */
#define LEAST_BLOCKS 10   /* libjpeg codes no unit of more */
#define MOST_FEATHER 32
#define LEAST_FEATHER 4
#define GAP 6             /* pixels of the answer between what may have changed and the margin */
#define POOR_MATCH 0.7

kx_region *kx_region_new(kx_region_kind kind) {
  kx_region *r = (kx_region *)calloc(1, sizeof *r);

  if (r) r->kind = kind;
  return r;
}

void kx_region_free(kx_region *r) {
  if (!r) return;
  free(r->answer_path);
  free(r->answer);
  free(r->mask);
  free(r->to);
  free(r);
}

/* The file ------------------------------------------------------------------------------------ */

/* The file that is edited, and what is known of it. */
typedef struct subject {
  const kx_source *source;
  kx_image_info info;
  int jpeg;
  kx_buffer approved; /* of a JPEG */
  kx_png png;
  int unended;       /* a JPEG without its end mark */
  uint64_t trailer;  /* bytes behind a JPEG's end */
} subject;

/* Returns what is wrong with a file of this status. */
static const char *complaint(kx_image_status status, const kx_image_info *info) {
  switch (status) {
    case KX_IMAGE_UNREADABLE: return strerror(info->error);
    case KX_IMAGE_NO_MEMORY: return "there is not enough memory to look at it";
    case KX_IMAGE_CUT: return "it is cut: get the whole file";
    default: return info->why ? info->why : "it is no picture whose region can be edited";
  }
}

/* Returns what keeps a picture of this header from being edited by region, or NULL. */
static const char *refusal(const kx_image_info *info) {
  if (info->mcu_width) {
    if (!kx_jpeg_region_built()) {
      return "this build has no libjpeg-turbo, which edits of a JPEG's region need: install it "
             "and build again, or convert the picture to PNG";
    }
    if (info->channels == 4) {
      return "it is a CMYK JPEG; convert it to RGB";
    }
    if (info->channels > 1 && info->blocks > LEAST_BLOCKS) {
      return "its colours are sampled in a rare way: save it again as an ordinary JPEG";
    }
    return NULL;
  }
  if (strcmp(info->format, "png") == 0) return NULL;
  if (strcmp(info->format, "webp") == 0) {
    return "it is WebP; convert it first, such as with `dwebp in.webp -o out.png`";
  }
  return "it is neither JPEG nor PNG; convert it to one of them";
}

/* Reads the chunks before a PNG's pixels; returns NULL, or what is wrong. */
static const char *read_png_head(kx_png *png, const kx_source *source) {
  const char *why = kx_png_read_head(png, source);

  return !why && png->animated ? "it is an animated PNG; save one of its frames alone" : why;
}

const char *kx_region_look(const kx_source *source, kx_image_info *info) {
  kx_image_status status = kx_image_read(source, info);
  const char *why;
  kx_png png;

  if (status != KX_IMAGE_OK && (status != KX_IMAGE_FOREIGN || !info->format)) {
    return complaint(status, info);
  }
  why = refusal(info);
  return why || info->mcu_width > 0 ? why : read_png_head(&png, source);
}

uint64_t kx_region_memory(const kx_image_info *info, uint64_t bytes, int window_width,
                          int window_height) {
  uint64_t area = (uint64_t)window_width * (uint64_t)window_height;
  uint64_t compared = area < ANSWER_PIXELS ? area : ANSWER_PIXELS;
  uint64_t whole, aligning;

  if (info->mcu_width) {
    whole = bytes + kx_jpeg_region_memory(info) + area; /* a mask */
    aligning = bytes + compared * 20;
    return STATE + compared * 6 + (whole > aligning ? whole : aligning);
  }
  whole = (uint64_t)info->width * 32 + (info->layers ? area * 3 : 0) + area * 3; /* a mask */
  return STATE + compared * 26 + whole;
}

static const char *approve(subject *s) {
  kx_image_info again = s->info;
  kx_cursor cursor;
  kx_image_status status;

  again.blocks = 0; /* what walks add up */
  s->approved.cap = (size_t)s->source->size + APPROVED_EXTRA;
  kx_buffer_room(&s->approved, s->approved.cap);
  kx_cursor_begin(&cursor, s->source);
  cursor.reads = UINT_MAX;
  status = kx_jpeg_approve(&cursor, &again, &s->approved, NULL);
  s->unended = again.unended;
  if (status != KX_IMAGE_OK) {
    s->info.error = cursor.error;
    s->info.why = again.why;
    return complaint(status, &s->info);
  }
  if (again.width != s->info.width || again.height != s->info.height) {
    return "it changed while it was read";
  }
  if (s->source->size > cursor.at) s->trailer = s->source->size - cursor.at;
  return NULL;
}

/* Opens a file whose window is to be read; returns NULL, or what is wrong. */
static const char *open_subject(subject *s, const kx_source *source, const kx_rect *window,
                                uint64_t memory) {
  const char *why;
  int turned, width, height;

  memset(s, 0, sizeof *s);
  s->source = source;
  why = kx_region_look(source, &s->info);
  if (why) return why;
  s->jpeg = s->info.mcu_width > 0;
  turned = s->info.orientation >= 5;
  width = (int)(turned ? s->info.height : s->info.width);
  height = (int)(turned ? s->info.width : s->info.height);
  if (!kx_rect_inside(window, width, height)) return "the window is not inside of it";
  if (kx_region_memory(&s->info, source->size, window->width, window->height) > memory) {
    return "it takes more memory to edit a region of it than is allowed";
  }
  return s->jpeg ? approve(s) : read_png_head(&s->png, source);
}

static void close_subject(subject *s) { kx_buffer_free(&s->approved); }

static kx_rect stored(const subject *s, kx_rect upright) {
  return kx_rect_stored(upright, s->info.orientation, (int)s->info.width, (int)s->info.height);
}

/* Reads a window of the stored picture, made smaller to `width` by `height`. */
static const char *read_window(const subject *s, const kx_rect *window, int width, int height,
                               kx_picture *to, const kx_wanted *wanted) {
  uint64_t memory = s->jpeg ? kx_jpeg_region_memory(&s->info) * 2 : 0;
  kx_reducer reducer;
  const char *why;

  if (!kx_reducer_begin(&reducer, window->width, window->height, width, height)) {
    return "there is not enough memory";
  }
  why = s->jpeg ? kx_jpeg_region_read(&s->approved, s->unended, window, memory, &reducer,
                                      wanted)
                : kx_png_region_read(&s->png, window, &reducer, wanted);
  kx_reducer_end(&reducer, why ? NULL : to);
  return why;
}

/* Cutting ------------------------------------------------------------------------------------- */

static const char *encode(const subject *s, const kx_region *r, const kx_picture *picture,
                          kx_sink *out) {
  kx_buffer encoded = {NULL, 0, 0, ENCODED_MAX, 0}, profile = {NULL, 0, 0, 0, 0};
  const char *why = NULL;

  kx_profile_read(s->source, &s->info, &profile);
  if (!kx_picture_write(picture, r->quality, &encoded) ||
      !kx_profile_insert(&encoded, r->quality == 0, &profile) ||
      kx_sink_write(out, encoded.bytes, encoded.size) != 0) {
    why = "there is not enough memory to encode its window";
  }
  kx_buffer_free(&encoded);
  kx_buffer_free(&profile);
  return why;
}

static const char *cut(kx_region *r, const kx_source *source, kx_sink *out) {
  subject s;
  kx_picture picture;
  kx_rect window;
  const char *why = open_subject(&s, source, &r->window, r->memory);
  int turned = s.info.orientation >= 5;

  memset(&picture, 0, sizeof picture);
  if (!why && (r->width < 1 || r->height < 1 || r->width > r->window.width ||
               r->height > r->window.height)) {
    why = "its window cannot be made larger";
  }
  if (!why) {
    window = stored(&s, r->window);
    why = read_window(&s, &window, turned ? r->height : r->width, turned ? r->width : r->height,
                      &picture, &r->wanted);
  }
  if (!why && s.jpeg) {
    why = kx_jpeg_region_prove(&s.approved, kx_jpeg_region_memory(&s.info) * 2, &r->wanted);
  }
  if (!why && !kx_picture_orient(&picture, s.info.orientation)) why = "there is not enough memory";
  if (!why) why = encode(&s, r, &picture, out);
  kx_picture_free(&picture);
  close_subject(&s);
  return why;
}

/* Composing ----------------------------------------------------------------------------------- */

static int smaller(int a, int b) { return a < b ? a : b; }

/* Decodes the service's picture, upright, no larger than the window. */
static const char *read_answer(const kx_region *r, kx_picture *to) {
  kx_picture decoded;
  kx_image_info info;
  kx_source source;
  kx_image_status status;
  const char *why = NULL;
  int width, height;

  memset(to, 0, sizeof *to);
  if (r->answer_path) {
    int error = kx_source_open(&source, r->answer_path);
    if (error) return strerror(error);
  } else {
    kx_source_memory(&source, r->answer, r->answer_size);
  }
  status = kx_picture_read(&decoded, &source, r->memory, NULL, &info);
  kx_source_close(&source);
  if (status == KX_IMAGE_NO_DECODER) return "its format cannot be decoded here";
  if (status == KX_IMAGE_TOO_BIG) return "it takes more memory to decode than is allowed";
  if (status != KX_IMAGE_OK) return complaint(status, &info);
  kx_picture_flatten(&decoded);
  if (!kx_picture_orient(&decoded, info.orientation)) why = "there is not enough memory";
  width = smaller(decoded.width, r->window.width);
  height = smaller(decoded.height, r->window.height);
  if (!why && width == decoded.width && height == decoded.height) {
    *to = decoded;
    return NULL;
  }
  if (!why && !kx_picture_scale(to, &decoded, width, height, 0)) why = "there is not enough memory";
  kx_picture_free(&decoded);
  return why;
}

/* Reads the mask's window, as the picture is stored. */
static const char *read_mask(const kx_region *r, const subject *s, kx_blend *blend) {
  kx_picture turn;
  kx_source source;
  kx_image_info info;
  kx_png png;
  kx_rect box;
  unsigned char *bytes;
  const char *why;
  size_t area = (size_t)r->window.width * (size_t)r->window.height, i;
  int error = kx_source_open(&source, r->mask), turned = s->info.orientation >= 5;

  if (error) return strerror(error);
  bytes = (unsigned char *)calloc(1, area);
  memset(&turn, 0, sizeof turn);
  why = !bytes                                            ? "there is not enough memory"
        : kx_image_read(&source, &info) != KX_IMAGE_OK ? "it is no PNG"
                                                         : kx_png_read_head(&png, &source);
  if (!why && (png.width != (int)(turned ? s->info.height : s->info.width) ||
               png.height != (int)(turned ? s->info.width : s->info.height))) {
    why = "it has another size than the picture";
  }
  if (!why) why = kx_png_mask_read(&png, &r->window, bytes, &box, &r->wanted);
  if (!why && kx_picture_make(&turn, r->window.width, r->window.height, 1)) {
    memcpy(turn.pixels, bytes, area);
    if (!kx_picture_orient(&turn, kx_orientation_back(s->info.orientation))) {
      why = "there is not enough memory";
    }
    for (i = 0; !why && i < area; i++) bytes[i] = turn.pixels[i];
  } else if (!why) {
    why = "there is not enough memory";
  }
  kx_picture_free(&turn);
  kx_source_close(&source);
  if (why) free(bytes);
  else blend->mask = bytes;
  return why;
}

/* Returns how wide the seam is: as half of the margin, where there is one. */
static int choose_feather(const kx_rect *region, const kx_blend *b, int open) {
  int gaps[4], i, least = 2 * MOST_FEATHER;

  gaps[0] = region->x, gaps[1] = region->y;
  gaps[2] = b->width - region->x - region->width;
  gaps[3] = b->height - region->y - region->height;
  for (i = 0; i < 4; i++) {
    if (!(open & 1 << i)) least = smaller(least, gaps[i]);
  }
  return least / 2 < LEAST_FEATHER ? LEAST_FEATHER : smaller(least / 2, MOST_FEATHER);
}

/* Returns which sides of the window are the picture's own. */
static int open_sides(const subject *s, const kx_rect *window) {
  return (window->x == 0) | (window->y == 0) << 1 |
         (window->x + window->width == (int)s->info.width) << 2 |
         (window->y + window->height == (int)s->info.height) << 3;
}

/* Sets sizes and weights of the blend in the stored picture. */
static const char *prepare_blend(const kx_region *r, const subject *s, const kx_rect *window,
                                 kx_blend *b) {
  kx_rect region = r->region;
  int open = open_sides(s, window);

  b->width = window->width;
  b->height = window->height;
  b->allowed = s->jpeg ? kx_jpeg_region_allowed(&s->info, window) : *window;
  b->allowed.x -= window->x;
  b->allowed.y -= window->y;
  if (region.width > 0) {
    region = stored(s, region);
    region.x -= window->x;
    region.y -= window->y;
    if (!kx_rect_inside(&region, b->width, b->height)) return "the region is not in the window";
  } else {
    int left = open & 1 ? 0 : MOST_FEATHER, top = open & 2 ? 0 : MOST_FEATHER;
    region.x = smaller(left, b->width / 4);
    region.y = smaller(top, b->height / 4);
    region.width = b->width - region.x - smaller(open & 4 ? 0 : MOST_FEATHER, b->width / 4);
    region.height = b->height - region.y - smaller(open & 8 ? 0 : MOST_FEATHER, b->height / 4);
  }
  if (r->mask) { /* the mask alone says what changes */
    const char *why = read_mask(r, s, b);
    if (why) return why;
    region = b->allowed;
    if (region.width < 1 || region.height < 1) region.width = region.height = 1;
    if (!kx_blend_soften(b)) return "there is not enough memory";
  }
  if (!kx_blend_weights(b, &region, choose_feather(&region, b, open), open)) {
    return "there is not enough memory";
  }
  return NULL;
}

/* Takes what is within GAP of a 0 out of a line of ones. */
static void shrink(unsigned char *line, size_t step, int count) {
  int i, last = -GAP - 1;

#define AT(i) line[(size_t)(i) * step]
  for (i = 0; i < count; i++) { /* 2: what was a one */
    if (AT(i) == 0) last = i;
    else if (i - last <= GAP) AT(i) = 2;
  }
  for (last = count + GAP, i = count - 1; i >= 0; i--) {
    if (AT(i) == 0) last = i;
    else if (last - i <= GAP) AT(i) = 2;
  }
  for (i = 0; i < count; i++) AT(i) = AT(i) == 1;
#undef AT
}

/* Marks what of the answer's pixels is the margin: with nothing near that may change. */
static unsigned char *find_margin(const kx_blend *b) {
  int w = b->answer.width, h = b->answer.height, x, y;
  size_t area = (size_t)w * (size_t)h;
  unsigned char *margin = (unsigned char *)malloc(area);

  if (!margin) return NULL;
  memset(margin, 1, area);
  for (y = 0; y < b->height; y++) {
    unsigned char *row = margin + (size_t)((int64_t)y * h / b->height) * (size_t)w;
    for (x = 0; x < b->width; x++) {
      if (kx_blend_weight(b, x, y) > 0) row[(int64_t)x * w / b->width] = 0;
    }
  }
  for (y = 0; y < h; y++) shrink(margin + (size_t)y * (size_t)w, 1, w);
  for (x = 0; x < w; x++) shrink(margin + x, (size_t)w, h);
  return margin;
}

/* Finds how the answer lies on the picture. */
static const char *match(kx_region *r, const subject *s, const kx_rect *window, kx_blend *b) {
  kx_picture picture;
  unsigned char *margin = NULL;
  const char *why;

  memset(&picture, 0, sizeof picture);
  why = read_window(s, window, b->answer.width, b->answer.height, &picture, &r->wanted);
  if (!why) margin = find_margin(b);
  if (!why && (!margin || !kx_align(&b->alignment, &picture, &b->answer, margin, &r->wanted))) {
    why = KX_WANTED(&r->wanted) ? "there is not enough memory" : "it was cancelled";
  }
  kx_picture_free(&picture);
  free(margin);
  return why;
}

static void warn(kx_region *r, const char *text) {
  size_t used = strlen(r->warning);

  snprintf(r->warning + used, sizeof r->warning - used, "%s%s", used ? "; " : "", text);
}

/* Fills what came of it, in the upright picture's directions. */
static void tell(kx_region *r, const subject *s, const kx_rect *window, const kx_blend *b) {
  double x = b->alignment.shift_x * window->width / b->answer.width;
  double y = b->alignment.shift_y * window->height / b->answer.height;
  int o = s->info.orientation, turned = o >= 5;

  r->matched = b->alignment.known;
  r->match = b->alignment.match;
  /* A picture is stored mirrored in columns for 2, 3, 7, 8 and in rows for 3, 4, 6, 7. */
  if (o == 2 || o == 3 || o == 7 || o == 8) x = -x;
  if (o == 3 || o == 4 || o == 6 || o == 7) y = -y;
  r->shift_x = turned ? y : x;
  r->shift_y = turned ? x : y;
  r->zoom_x = turned ? b->alignment.zoom_y : b->alignment.zoom_x;
  r->zoom_y = turned ? b->alignment.zoom_x : b->alignment.zoom_y;
  if (!b->alignment.known) {
    warn(r, "the window has no margin to match the answer on: it was put in as it came");
  } else if (r->match < POOR_MATCH) {
    warn(r, "the answer changed what it was to leave: the region's edge may show");
  }
  if (s->info.channels < 3 && s->info.depth > 0) {
    warn(r, "the picture is grey: the answer's colours became grey");
  }
}

/* Gives a new file the times of the one that it was made from. */
static void keep_time(const kx_source *source, kx_sink *out) {
  struct stat st;
  struct timespec times[2];
  int fd = kx_sink_dup(out);

  if (fd < 0) return;
  memset(times, 0, sizeof times);
  if (source->fd >= 0 && fstat(source->fd, &st) == 0) {
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_sec = (time_t)source->stamp.mtime_s;
    times[1].tv_nsec = (long)source->stamp.mtime_ns;
    (void)futimens(fd, times);
  }
  close(fd);
}

/* Writes the file with the answer in it. */
static const char *write_file(kx_region *r, const subject *s, const kx_rect *window, kx_blend *b,
                              kx_sink *out, int *error) {
  kx_buffer segments = {NULL, 0, 0, (size_t)s->source->size + APPROVED_EXTRA, 0};
  unsigned dropped = 0;
  const char *why = NULL;

  if (!kx_blend_begin(b)) return "there is not enough memory";
  if (s->jpeg) {
    why = kx_jpeg_segments(s->source, &s->info, r->metadata, &segments, &dropped);
    if (!why) {
      why = kx_jpeg_region_write(&s->approved, window, b, &segments,
                                 kx_jpeg_region_memory(&s->info) * 2, out, error, &r->wanted);
    }
    if (s->trailer > 64 && r->metadata == KX_METADATA_KEEP) dropped |= KX_DROPPED_TRAILER;
  } else {
    why = kx_png_region_write(&s->png, window, b, r->metadata, s->info.orientation, out, error,
                              &dropped, &r->wanted);
  }
  kx_buffer_free(&segments);
  if (dropped & KX_DROPPED_CREDENTIALS) {
    warn(r, "its content credentials vouch for the untouched picture and were not kept");
  }
  if (dropped & KX_DROPPED_TRAILER) {
    warn(r, "what stands behind the picture (a motion photo's film, a depth map) was not kept");
  }
  return why;
}

/* Puts the result in its place; returns 0 or an errno. */
static int finish_file(const kx_region *r, const kx_source *source, kx_sink *file) {
  if (r->metadata == KX_METADATA_KEEP) keep_time(source, file);
  return kx_sink_finish(file);
}

static const char *compose(kx_region *r, const kx_source *source, kx_sink *out, const char **what,
                           int *error) {
  subject s;
  kx_blend blend;
  kx_rect window;
  kx_sink *file = NULL;
  const char *why;

  memset(&blend, 0, sizeof blend);
  kx_alignment_none(&blend.alignment);
  why = open_subject(&s, source, &r->window, r->memory);
  if (!why) {
    *what = "the answer";
    why = read_answer(r, &blend.answer);
  }
  if (!why && !kx_picture_orient(&blend.answer, kx_orientation_back(s.info.orientation))) {
    why = "there is not enough memory";
  }
  if (!why) {
    *what = r->mask ? "the mask" : NULL;
    window = stored(&s, r->window);
    why = prepare_blend(r, &s, &window, &blend);
  }
  if (!why) {
    *what = NULL;
    why = match(r, &s, &window, &blend);
  }
  if (!why) {
    tell(r, &s, &window, &blend);
    if (r->to) {
      file = kx_sink_file(r->to, RESULT_MAX, 0666, r->way);
      if (!file) *error = errno;
      else out = file;
    }
    if (!*error) *error = kx_sink_digest(out, KX_MD5);
    if (!*error) why = write_file(r, &s, &window, &blend, out, error);
  }
  if (!why && !*error) {
    r->size = kx_sink_size(out);
    r->md5_size = kx_sink_digest_value(out, r->md5);
  }
  if (!why && !*error && kx_source_changed(source)) *error = ESTALE;
  if (!why && !*error && file) *error = finish_file(r, source, file);
  kx_sink_free(file);
  kx_blend_free(&blend);
  close_subject(&s);
  return why;
}

/* Others -------------------------------------------------------------------------------------- */

static const char *strip(const kx_source *source, kx_sink *out) {
  kx_image_info info;
  kx_image_status status = kx_image_read(source, &info);
  kx_buffer stripped = {NULL, 0, 0, 0, 0};
  const char *why;

  if (status != KX_IMAGE_OK) return complaint(status, &info);
  stripped.cap = (size_t)source->size * 2 + APPROVED_EXTRA;
  why = kx_strip(source, &info, &stripped);
  if (!why && kx_sink_write(out, stripped.bytes, stripped.size) != 0) {
    why = "there is not enough memory to keep it";
  }
  kx_buffer_free(&stripped);
  return why;
}

static const char *look_at_mask(kx_region *r, const kx_source *source) {
  kx_image_info info;
  kx_image_status status = kx_image_read(source, &info);
  kx_png png;
  kx_rect all;
  const char *why;

  if (status != KX_IMAGE_OK) return complaint(status, &info);
  if (strcmp(info.format, "png") != 0) return "it is no PNG: a mask is one";
  why = kx_png_read_head(&png, source);
  if (why) return why;
  all.x = all.y = 0;
  all.width = r->picture_width = png.width;
  all.height = r->picture_height = png.height;
  why = kx_png_mask_read(&png, &all, NULL, &r->box, &r->wanted);
  if (!why && r->box.width == 0) why = "it is black everywhere: nothing may change";
  return why;
}

int kx_region_run(kx_region *r, const kx_source *source, kx_sink *out, kx_error *error) {
  const char *why = NULL, *what = NULL;
  char text[256];
  int number = 0;

  switch (r->kind) {
    case KX_REGION_CUT: why = cut(r, source, out); break;
    case KX_REGION_COMPOSE: why = compose(r, source, out, &what, &number); break;
    case KX_REGION_STRIP: why = strip(source, out); break;
    case KX_REGION_MASK: why = look_at_mask(r, source); break;
  }
  if (number) {
    kx_error_file(error, number, r->to ? r->to : "the result");
  } else if (why) {
    snprintf(text, sizeof text, "%s%s%s", what ? what : "", what ? ": " : "", why);
    kx_error_own(error, "image", NULL, text);
  }
  return number || why ? -1 : 0;
}
