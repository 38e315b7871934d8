#include "config.h"

#include "emulator/repaint.h"

#include "emulator/font.h"
#include "emulator/webp_write.h"
#include "picture/picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIN_SIDE 16
#define MAX_SIDE 16384
#define MAX_AREA ((size_t)64 << 20)
#define JPEG_QUALITY 90
#define DEFAULT_MEMORY ((uint64_t)512 << 20)
#define MARK "EMULATED"
#define LABEL_MAX 256

typedef struct rgb {
  float r, g, b;
} rgb;

/* Returns the next of a seed's numbers, 0 … 1. */
static float chance(uint32_t *state) {
  uint32_t z = *state += 0x9E3779B9u;
  z = (z ^ z >> 16) * 0x85EBCA6Bu;
  z = (z ^ z >> 13) * 0xC2B2AE35u;
  return (float)((z ^ z >> 16) >> 8) / 16777216.0f;
}

/* Returns a hue from teal over blue, purple and red to amber: no picture gains by being green. */
static float pleasant(uint32_t *state) {
  return 0.47f + 0.64f * chance(state);
}

static float clamp(float v) {
  return v < 0 ? 0 : v > 1 ? 1 : v;
}

static float mix(float a, float b, float t) {
  return a + (b - a) * t;
}

static rgb blend(rgb a, rgb b, float t) {
  rgb c;
  c.r = mix(a.r, b.r, t), c.g = mix(a.g, b.g, t), c.b = mix(a.b, b.b, t);
  return c;
}

/* Returns the colour of a hue (turns, any number), saturation and value. */
static rgb hsv(float hue, float saturation, float value) {
  rgb c;
  hue = (hue - floorf(hue)) * 6;
  c.r = value * mix(1, clamp(fabsf(hue - 3) - 1), saturation);
  c.g = value * mix(1, clamp(2 - fabsf(hue - 2)), saturation);
  c.b = value * mix(1, clamp(2 - fabsf(hue - 4)), saturation);
  return c;
}

static unsigned char level(float v) {
  return (unsigned char)(clamp(v) * 255 + 0.5f);
}

static void set(unsigned char *p, rgb c) {
  p[0] = level(c.r), p[1] = level(c.g), p[2] = level(c.b);
}

static rgb get(const unsigned char *p) {
  rgb c;
  c.r = (float)p[0] / 255, c.g = (float)p[1] / 255, c.b = (float)p[2] / 255;
  return c;
}

/* Returns smooth noise, 0 … 1, of one dimension. */
static float ridge(uint32_t seed, float x) {
  float sum = 0, part = 0.5f;
  int octave;

  for (octave = 0; octave < 6; octave++) {
    float whole = floorf(x), t = x - whole;
    uint32_t a = seed + (uint32_t)octave * 7919u + (uint32_t)(int)whole * 31u, b = a + 31u;
    sum += part * mix(chance(&a), chance(&b), t * t * (3 - 2 * t));
    part *= 0.5f;
    x *= 2;
  }
  return sum;
}

/* Paints mountains before a low sun, for an edit that has no picture. */
static void landscape(kx_picture *picture, uint32_t seed) {
  enum { RIDGES = 6 };
  int w = picture->width, h = picture->height, x, y, i;
  float hue = 0.08f + 0.8f * pleasant(&seed), sun_x = mix(0.2f, 0.8f, chance(&seed)) * (float)w;
  float sun_y = mix(0.22f, 0.42f, chance(&seed)) * (float)h, side = (float)(w < h ? w : h);
  float sun = side * mix(0.05f, 0.09f, chance(&seed));
  rgb zenith = hsv(hue, 0.62f, 0.48f), horizon = hsv(hue + 0.15f, 0.34f, 0.98f);
  rgb light = hsv(hue + 0.2f, 0.12f, 1), ground = hsv(hue + 0.04f, 0.7f, 0.14f);

  for (x = 0; x < w; x++) {
    float top[RIDGES];
    for (i = 0; i < RIDGES; i++) {
      float near = (float)i / (RIDGES - 1), rough = mix(0.30f, 0.22f, near);
      float at = (float)x / side * mix(3.2f, 1.3f, near) + (float)i * 17;
      float height = rough * (ridge(seed + (uint32_t)i * 104729u, at) - 0.3f);
      top[i] = (mix(0.46f, 0.88f, near) - height) * (float)h;
    }
    for (y = 0; y < h; y++) {
      float dx = (float)x - sun_x, dy = (float)y - sun_y, away = sqrtf(dx * dx + dy * dy);
      float glow = expf(-away / (side * 0.28f)) * 0.65f;
      rgb c = blend(zenith, horizon, clamp((float)y / (0.62f * (float)h)));
      c = blend(c, light, clamp(glow + clamp(sun - away + 0.5f)));
      for (i = 0; i < RIDGES; i++) {
        float cover = clamp((float)y - top[i] + 0.5f), near = (float)(i + 1) / RIDGES;
        float mist = clamp(((float)y - top[i]) / (0.34f * (float)h)) * 0.35f * (1 - 0.5f * near);
        rgb rock = blend(blend(horizon, ground, 0.18f + 0.82f * near * near), horizon, mist);
        if (cover > 0) c = blend(c, rock, cover);
      }
      set(picture->pixels + ((size_t)y * (size_t)w + (size_t)x) * 3, c);
    }
  }
}

/* Grades the picture as film is graded: a seed's own colours for shadows, middle and lights, more
   contrast, a light from one side and darker corners. */
static void grade(kx_picture *picture, uint32_t seed) {
  int w = picture->width, h = picture->height, x, y, i;
  float hue = pleasant(&seed), strength = mix(0.52f, 0.66f, chance(&seed));
  float turn = chance(&seed) * 6.2831853f, side = (float)(w > h ? w : h);
  float light_x = (0.5f + 0.55f * cosf(turn)) * (float)w;
  float light_y = (0.4f + 0.5f * sinf(turn)) * (float)h;
  rgb shadow = hsv(hue + 0.56f, 0.75f, 0.16f), middle = hsv(hue, 0.5f, 0.62f);
  rgb high = hsv(hue + 0.09f, 0.16f, 1), light = hsv(hue + 0.05f, 0.55f, 1), tone[256];
  unsigned char *p = picture->pixels;

  for (i = 0; i < 256; i++) {
    float v = (float)i / 255, curve = mix(v, v * v * (3 - 2 * v), 0.6f);
    tone[i] = curve < 0.5f ? blend(shadow, middle, curve * 2) : blend(middle, high, curve * 2 - 1);
  }
  for (y = 0; y < h; y++) {
    for (x = 0; x < w; x++, p += 3) {
      float u = ((float)x / (float)w - 0.5f) * 2, v = ((float)y / (float)h - 0.5f) * 2;
      float dx = ((float)x - light_x) / side, dy = ((float)y - light_y) / side;
      float corner = 1 - 0.17f * (u * u + v * v), shine = 0.34f * expf(-6 * (dx * dx + dy * dy));
      rgb c = get(p);
      c = blend(c, tone[level(0.299f * c.r + 0.587f * c.g + 0.114f * c.b)], strength);
      c.r = 1 - (1 - c.r * corner) * (1 - light.r * shine);
      c.g = 1 - (1 - c.g * corner) * (1 - light.g * shine);
      c.b = 1 - (1 - c.b * corner) * (1 - light.b * shine);
      set(p, c);
    }
  }
}

/* Returns the ASCII character nearest to a UTF-8 one, which has `*length` bytes where it is whole;
   '?' where none is near. */
static char nearest(const unsigned char *p, size_t left, size_t *length) {
  static const char latin[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy";
  static const char general[] = "------|_'',\"\"\"\"++**..."; /* from U+2010: dashes, quotes … */

  *length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 1;
  if (p[0] <= ' ' || p[0] == 0x7F) return ' ';
  if (p[0] < 0x80) return (char)p[0];
  if (left >= 2 && p[0] == 0xC3) return latin[p[1] & 63];
  if (left >= 3 && memcmp(p, "\xE2\x80", 2) == 0 && p[2] - 0x90u < sizeof general - 1) {
    return general[p[2] - 0x90];
  }
  return '?';
}

/* Copies a label as printable ASCII, white space as one space. Returns its length. */
static size_t plain(char to[LABEL_MAX], const char *label, size_t size) {
  size_t at = 0, n = 0, length;

  for (; at < size && n < LABEL_MAX; at += length) {
    char c = nearest((const unsigned char *)label + at, size - at, &length);
    if (c != ' ' || (n > 0 && to[n - 1] != ' ')) to[n++] = c;
  }
  return n > 0 && to[n - 1] == ' ' ? n - 1 : n;
}

/* Cuts a text to what fits, and shows that it did. */
static size_t cut(char *text, size_t n, size_t fits) {
  if (n <= fits) return n;
  if (fits < 4) return 0;
  for (n = fits - 3; n > 0 && text[n - 1] == ' '; n--) continue;
  memset(text + n, '.', 3);
  return n + 3;
}

/* Draws the band that says what this picture is. */
static void stamp(kx_picture *picture, uint32_t seed, const char *label, size_t size) {
  int w = picture->width, h = picture->height, side = w < h ? w : h, x, y, band;
  float dot = (float)side / 260, left, top, room;
  unsigned char white[3] = {255, 255, 255}, dark[3] = {18, 18, 22};
  rgb accent = hsv(pleasant(&seed) + 0.06f, 0.34f, 1);
  char text[LABEL_MAX];
  size_t n = plain(text, label, label ? size : 0), fits;

  if (dot < 1) dot = 1;
  band = (int)(15 * dot);
  if (band > h) band = h;
  left = 10 * dot;
  top = (float)(h - band) + 4 * dot;
  for (y = h - band; y < h; y++) {
    unsigned char *p = picture->pixels + (size_t)y * (size_t)w * 3;
    for (x = 0; x < w; x++, p += 3) {
      /* a plate with round ends behind the mark, shade elsewhere */
      float from = left - dot, to = left + ((float)strlen(MARK) * KX_FONT_STEP) * dot;
      float cx = (float)x < from ? from : (float)x > to ? to : (float)x;
      float dx = (float)x - cx, dy = (float)y - (top + 3.5f * dot);
      rgb shade = {0.05f, 0.05f, 0.065f}, c = blend(get(p), shade, 0.72f);
      set(p, blend(c, accent, clamp(5.5f * dot - sqrtf(dx * dx + dy * dy) + 0.5f)));
    }
  }
  kx_font_draw(picture, MARK, strlen(MARK), left, top, dot, dark);
  left += ((float)strlen(MARK) * KX_FONT_STEP + 12) * dot;
  room = ((float)w - left - 4 * dot) / (KX_FONT_STEP * dot);
  fits = room > 0 ? (size_t)room : 0;
  kx_font_draw(picture, text, cut(text, n, fits), left, top, dot, white);
}

/* Makes the picture, all but its mark; returns 1, or 0 with `why` it cannot be. */
static int paint(kx_picture *picture, const kx_repaint_options *o, const char **why) {
  kx_image_status status = KX_IMAGE_NO_DECODER;
  kx_image_info info;
  kx_picture stored;
  int across, made;

  if (o->input) {
    status = kx_picture_read(&stored, o->input, o->memory ? o->memory : DEFAULT_MEMORY, NULL,
                             &info);
  }
  if (status == KX_IMAGE_NO_DECODER) {
    if (!kx_picture_make(picture, o->width, o->height, 3)) return 0;
    landscape(picture, o->seed);
    return 1;
  }
  if (status != KX_IMAGE_OK) {
    *why = info.why ? info.why : kx_image_status_name(status);
    return 0;
  }
  across = info.orientation >= 5;
  made = kx_picture_scale(picture, &stored, across ? o->height : o->width,
                          across ? o->width : o->height, 1);
  kx_picture_free(&stored);
  if (!made) return 0;
  kx_picture_flatten(picture);
  if (!kx_picture_orient(picture, info.orientation)) {
    kx_picture_free(picture);
    return 0;
  }
  grade(picture, o->seed);
  return 1;
}

/* Reads a picture upright and without alpha; returns 1, or 0 with `why` it cannot be. */
static int read_upright(kx_picture *picture, const kx_source *source, uint64_t memory,
                        const char **why) {
  kx_image_info info;
  kx_image_status status = kx_picture_read(picture, source, memory ? memory : DEFAULT_MEMORY, NULL,
                                           &info);

  if (status != KX_IMAGE_OK) {
    *why = info.why ? info.why : kx_image_status_name(status);
    return 0;
  }
  kx_picture_flatten(picture);
  if (kx_picture_orient(picture, info.orientation)) return 1;
  kx_picture_free(picture);
  return 0;
}

static int is_black(const unsigned char *p) {
  return p[0] + p[1] + p[2] < 3 * 128;
}

/* Copies the input over the result: where the mask is black, or all of it. */
static void put_back(kx_picture *to, const kx_picture *from, const kx_picture *mask, int left,
                     int top) {
  int x, y;

  for (y = 0; y < from->height; y++) {
    const unsigned char *p = from->pixels + (size_t)y * (size_t)from->width * 3;
    const unsigned char *m = mask ? mask->pixels + (size_t)y * (size_t)mask->width * 3 : NULL;
    long row = (long)top + y;
    if (row < 0 || row >= to->height) continue;
    for (x = 0; x < from->width; x++, p += 3, m = m ? m + 3 : NULL) {
      long column = (long)left + x;
      if (column < 0 || column >= to->width || (m && !is_black(m))) continue;
      memcpy(to->pixels + ((size_t)row * (size_t)to->width + (size_t)column) * 3, p, 3);
    }
  }
}

/* Copies the input, made as large as the result, over all but the middle third each way; returns 1,
   or 0 without memory. */
static int put_frame_back(kx_picture *to, const kx_picture *input) {
  kx_picture from;
  int w = to->width, h = to->height, y;
  size_t row = (size_t)w * 3, side = (size_t)(w / 3) * 3;

  if (!kx_picture_scale(&from, input, w, h, 1)) return 0;
  for (y = 0; y < h; y++) {
    unsigned char *p = to->pixels + (size_t)y * row;
    const unsigned char *q = from.pixels + (size_t)y * row;
    if (y < h / 3 || y >= h - h / 3) {
      memcpy(p, q, row);
    } else {
      memcpy(p, q, side);
      memcpy(p + row - side, q + row - side, side);
    }
  }
  kx_picture_free(&from);
  return 1;
}

/* Puts back what the edit must not change; returns 1, or 0 with `why` it cannot be. */
static int keep(kx_picture *picture, const kx_repaint_options *o, const char **why) {
  kx_picture input, mask;
  int done = 0;

  memset(&input, 0, sizeof input);
  memset(&mask, 0, sizeof mask);
  if (!o->input || !(o->keep || o->mask || o->inner)) return 1;
  if (!read_upright(&input, o->input, o->memory, why)) goto out;
  if (o->mask) {
    if (!read_upright(&mask, o->mask, o->memory, why)) goto out;
    if (mask.width != input.width || mask.height != input.height) {
      *why = "the mask is not as large as the picture";
      goto out;
    }
  }
  if (o->keep || o->mask) put_back(picture, &input, o->mask ? &mask : NULL, o->left, o->top);
  done = !o->inner || put_frame_back(picture, &input);
out:
  kx_picture_free(&mask);
  kx_picture_free(&input);
  return done;
}

static int encode(const kx_picture *picture, kx_repaint_format format, kx_buffer *out) {
  if (format == KX_REPAINT_WEBP) return kx_webp_write(picture, out);
  return kx_picture_write(picture, format == KX_REPAINT_PNG ? 0 : JPEG_QUALITY, out);
}

int kx_repaint(const kx_repaint_options *o, unsigned char **out, size_t *size, const char **why) {
  kx_buffer encoded = {NULL, 0, 0, SIZE_MAX, 0};
  kx_picture picture;

  *out = NULL;
  *why = "no memory";
  if (o->width < MIN_SIDE || o->height < MIN_SIDE || o->width > MAX_SIDE || o->height > MAX_SIDE
      || (size_t)o->width * (size_t)o->height > MAX_AREA) {
    *why = "the size is not 16 to 16384 pixels a side, and 64 megapixels at most";
    return 0;
  }
  if (!paint(&picture, o, why)) return 0;
  stamp(&picture, o->seed, o->label, o->label_size);
  if (!keep(&picture, o, why) || !kx_displace(&picture, &o->moved) ||
      !encode(&picture, o->format, &encoded)) {
    kx_buffer_free(&encoded);
  }
  kx_picture_free(&picture);
  *out = encoded.bytes;
  *size = encoded.size;
  return encoded.bytes != NULL;
}
