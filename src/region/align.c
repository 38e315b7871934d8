#include "config.h"

#include "region/align.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 4           /* each half as large as the one before */
#define LEAST_SIDE 24      /* of a level that is of use */
#define REACH 4            /* pixels of the smallest level that are searched to each side */
#define LEAST_POINTS 400   /* of the margin, for an estimate worth having */
#define MOST_POINTS 60000  /* that are looked at in one level */
#define LEAST_ENDS 50      /* of the margin's points that are black or white */
#define ROUNDS 12
#define MOST_ZOOM 0.06
#define WORST 32.0         /* levels that the margins differ by where nothing matches */
#define PI 3.14159265358979323846

/* A picture's brightness at one scale, and where its margin is. */
typedef struct level {
  int width, height;
  float *picture, *answer;
  unsigned char *margin;
} level;

/* What is looked for: where the answer lies, and its brightness. */
typedef struct guess {
  double shift[2], zoom[2]; /* zoom is 0 for none */
  double gain, offset, cost;
} guess;

/* Points of one level's margin that are compared. */
typedef struct points {
  int count;
  int *at; /* y · width + x */
  float *error;
} points;

void kx_alignment_none(kx_alignment *a) {
  int k;

  memset(a, 0, sizeof *a);
  a->zoom_x = a->zoom_y = 1;
  for (k = 0; k < 3; k++) a->gain[k] = 1;
}

double kx_aligned_position(double position, double shift, double zoom, int size) {
  double middle = (size - 1) / 2.0;

  return (position - middle) * zoom + middle + shift;
}

static double lanczos(double x) {
  if (fabs(x) < 1e-9) return 1;
  if (fabs(x) >= 3) return 0;
  return 3 * sin(PI * x) * sin(PI * x / 3) / (PI * PI * x * x);
}

void kx_resample_weights(double position, int *first, float weights[KX_TAPS]) {
  double sum = 0, part[KX_TAPS];
  int base = (int)floor(position), i;

  *first = base - 2;
  for (i = 0; i < KX_TAPS; i++) sum += part[i] = lanczos(position - (base - 2 + i));
  for (i = 0; i < KX_TAPS; i++) weights[i] = (float)(part[i] / sum);
}

/* Levels -------------------------------------------------------------------------------------- */

static void free_level(level *l) {
  free(l->picture);
  free(l->answer);
  free(l->margin);
}

static int make_level(level *l, int width, int height) {
  size_t area = (size_t)width * (size_t)height;

  l->width = width;
  l->height = height;
  l->picture = (float *)calloc(area, sizeof(float));
  l->answer = (float *)calloc(area, sizeof(float));
  l->margin = (unsigned char *)malloc(area);
  return l->picture && l->answer && l->margin;
}

static void brightness(const kx_picture *from, float *to) {
  size_t area = (size_t)from->width * (size_t)from->height, i;
  const unsigned char *p = from->pixels;

  for (i = 0; i < area; i++, p += 3) {
    to[i] = 0.299f * (float)p[0] + 0.587f * (float)p[1] + 0.114f * (float)p[2];
  }
}

static void halve(const float *from, int width, float *to, int to_width, int to_height) {
  int x, y;

  for (y = 0; y < to_height; y++) {
    const float *a = from + (size_t)(2 * y) * (size_t)width, *b = a + width;
    for (x = 0; x < to_width; x++, a += 2, b += 2) *to++ = (a[0] + a[1] + b[0] + b[1]) / 4;
  }
}

static int halve_level(const level *from, level *to) {
  int x, y;
  unsigned char *margin;

  if (!make_level(to, from->width / 2, from->height / 2)) return 0;
  halve(from->picture, from->width, to->picture, to->width, to->height);
  halve(from->answer, from->width, to->answer, to->width, to->height);
  margin = to->margin;
  for (y = 0; y < to->height; y++) {
    const unsigned char *a = from->margin + (size_t)(2 * y) * (size_t)from->width;
    const unsigned char *b = a + from->width;
    for (x = 0; x < to->width; x++, a += 2, b += 2) *margin++ = a[0] && a[1] && b[0] && b[1];
  }
  return 1;
}

/* Points -------------------------------------------------------------------------------------- */

/* Collects the margin's points that are `edge` pixels away from the level's edge, at most
   MOST_POINTS, evenly; returns 1, or 0 without memory. */
static int collect(points *p, const level *l, int edge) {
  int x, y, every, seen = 0;
  size_t area = (size_t)l->width * (size_t)l->height, i, all = 0;

  for (i = 0; i < area; i++) all += l->margin[i] != 0;
  every = (int)(all / MOST_POINTS) + 1;
  p->count = 0;
  if (all > MOST_POINTS) all = MOST_POINTS;
  p->at = (int *)malloc((all + 1) * sizeof *p->at);
  p->error = (float *)malloc((all + 1) * sizeof *p->error);
  if (!p->at || !p->error) return 0;
  for (y = edge; y < l->height - edge; y++) {
    const unsigned char *margin = l->margin + (size_t)y * (size_t)l->width;
    for (x = edge; x < l->width - edge; x++) {
      if (!margin[x]) continue;
      if (seen++ % every == 0 && p->count < MOST_POINTS) p->at[p->count++] = y * l->width + x;
    }
  }
  return 1;
}

static void free_points(points *p) {
  free(p->at);
  free(p->error);
  memset(p, 0, sizeof *p);
}

/* Searching ----------------------------------------------------------------------------------- */

/* Returns how alike the margins are, -1 … 1, where the answer is moved by whole pixels. */
static double correlation(const level *l, const points *p, int dx, int dy) {
  double n = p->count, a = 0, b = 0, aa = 0, bb = 0, ab = 0, spread;
  int i, move = dy * l->width + dx;

  for (i = 0; i < p->count; i++) {
    double u = l->picture[p->at[i]], v = l->answer[p->at[i] + move];
    a += u, b += v, aa += u * u, bb += v * v, ab += u * v;
  }
  spread = (aa - a * a / n) * (bb - b * b / n);
  return spread > 1e-3 ? (ab - a * b / n) / sqrt(spread) : 0;
}

/* Finds the whole-pixel shift that fits best, near ones being preferred: a sky fits anywhere. */
static void search(const level *l, const points *p, guess *g) {
  double best = correlation(l, p, 0, 0);
  int dx, dy;

  g->shift[0] = g->shift[1] = 0;
  for (dy = -REACH; dy <= REACH; dy++) {
    for (dx = -REACH; dx <= REACH; dx++) {
      double value = correlation(l, p, dx, dy) - 0.0005 * (dx * dx + dy * dy);
      if (value <= best + 1e-4) continue;
      best = value;
      g->shift[0] = dx;
      g->shift[1] = dy;
    }
  }
}

/* Refining ------------------------------------------------------------------------------------ */

/* Fills the weights of four neighbours for a place `t`, 0 to 1, between the middle two, and how
   they change with it (Catmull and Rom's). */
static void cubic(double t, double w[4], double d[4]) {
  w[0] = t * (-0.5 + t * (1 - 0.5 * t));
  w[1] = 1 + t * t * (-2.5 + 1.5 * t);
  w[2] = t * (0.5 + t * (2 - 1.5 * t));
  w[3] = t * t * (-0.5 + 0.5 * t);
  d[0] = -0.5 + t * (2 - 1.5 * t);
  d[1] = t * (-5 + 4.5 * t);
  d[2] = 0.5 + t * (4 - 4.5 * t);
  d[3] = t * (-1 + 1.5 * t);
}

/* Reads the answer at a place between pixels, and its slopes; returns 0 outside. */
static int look(const level *l, double x, double y, double *value, double slope[2]) {
  int column = (int)floor(x), row = (int)floor(y), i, k;
  double wx[4], dx[4], wy[4], dy[4];
  const float *p;

  if (column < 1 || row < 1 || column + 2 >= l->width || row + 2 >= l->height) return 0;
  cubic(x - column, wx, dx);
  cubic(y - row, wy, dy);
  p = l->answer + (size_t)(row - 1) * (size_t)l->width + column - 1;
  *value = slope[0] = slope[1] = 0;
  for (i = 0; i < 4; i++, p += l->width) {
    double across = 0, change = 0;
    for (k = 0; k < 4; k++) across += wx[k] * (double)p[k], change += dx[k] * (double)p[k];
    *value += wy[i] * across;
    slope[0] += wy[i] * change;
    slope[1] += dy[i] * across;
  }
  return 1;
}

/* Solves n linear equations, each with its right side behind it; returns 0 where they say too
   little. */
static int solve(double m[6][7], int n, double *x) {
  int i, j, k;

  for (i = 0; i < n; i++) {
    int best = i;
    for (j = i + 1; j < n; j++) {
      if (fabs(m[j][i]) > fabs(m[best][i])) best = j;
    }
    if (fabs(m[best][i]) < 1e-9) return 0;
    for (k = i; k <= n; k++) {
      double t = m[i][k];
      m[i][k] = m[best][k], m[best][k] = t;
    }
    for (j = i + 1; j < n; j++) {
      double f = m[j][i] / m[i][i];
      for (k = i; k <= n; k++) m[j][k] -= f * m[i][k];
    }
  }
  for (i = n - 1; i >= 0; i--) {
    x[i] = m[i][n];
    for (k = i + 1; k < n; k++) x[i] -= m[i][k] * x[k];
    x[i] /= m[i][i];
  }
  return 1;
}

/* Returns the middle one of the errors' sizes, which are put into 512 boxes. */
static double typical(const float *error, int count) {
  int boxes[512] = {0}, i, sum = 0, valid = 0;

  for (i = 0; i < count; i++) {
    double size = fabs((double)error[i]);
    if (size > 1e8) continue; /* outside */
    boxes[size >= 127.5 ? 511 : (int)(size * 4)]++;
    valid++;
  }
  for (i = 0; i < 511 && sum * 2 < valid; i++) sum += boxes[i];
  return i / 4.0;
}

/* Fills the errors under a guess and its cost, the mean of what is bounded. */
static void measure(const level *l, points *p, guess *g) {
  double value, slope[2], sum = 0;
  int i, valid = 0;

  for (i = 0; i < p->count; i++) {
    int column = p->at[i] % l->width, row = p->at[i] / l->width;
    double x = kx_aligned_position(column, g->shift[0], 1 + g->zoom[0], l->width);
    double y = kx_aligned_position(row, g->shift[1], 1 + g->zoom[1], l->height), e;
    p->error[i] = 1e9f;
    if (!look(l, x, y, &value, slope)) continue;
    e = g->gain * value + g->offset - (double)l->picture[p->at[i]];
    p->error[i] = (float)e;
    e = fabs(e);
    sum += e < WORST ? e : WORST;
    valid++;
  }
  g->cost = valid > p->count / 2 ? sum / valid : WORST;
}

/* Moves the guess towards the least error by Gauss and Newton; what does not fit at all weighs
   little. `zooming`: the zoom is looked for too. */
static void refine(const level *l, points *p, guess *g, int zooming) {
  int round, i, j, k, n = zooming ? 6 : 4;

  for (round = 0; round < ROUNDS; round++) {
    double m[6][7], step[6], scale, moved;
    memset(m, 0, sizeof m);
    measure(l, p, g);
    scale = 3 * typical(p->error, p->count) + 2;
    for (i = 0; i < p->count; i++) {
      int column = p->at[i] % l->width, row = p->at[i] / l->width;
      double x = kx_aligned_position(column, g->shift[0], 1 + g->zoom[0], l->width);
      double y = kx_aligned_position(row, g->shift[1], 1 + g->zoom[1], l->height);
      double value, slope[2], d[6], weight, e = p->error[i];
      if (e > 1e8 || !look(l, x, y, &value, slope)) continue;
      weight = e / scale;
      weight = 1 / (1 + weight * weight);
      weight *= weight;
      d[0] = g->gain * slope[0], d[1] = g->gain * slope[1], d[2] = value, d[3] = 1;
      d[4] = d[0] * (column - (l->width - 1) / 2.0), d[5] = d[1] * (row - (l->height - 1) / 2.0);
      for (j = 0; j < n; j++) {
        for (k = j; k < n; k++) m[j][k] += weight * d[j] * d[k];
        m[j][n] -= weight * d[j] * e;
      }
    }
    for (j = 0; j < n; j++) {
      for (k = 0; k < j; k++) m[j][k] = m[k][j];
    }
    for (j = 0; j < n; j++) m[j][j] *= 1 + 1e-6;
    m[2][2] += 16.0 * p->count / 16; /* a margin of one tone says little of the gain */
    m[2][n] += 16.0 * p->count / 16 * (1 - g->gain);
    if (!solve(m, n, step)) break;
    moved = fabs(step[0]) > fabs(step[1]) ? fabs(step[0]) : fabs(step[1]);
    if (moved > 2) {
      for (j = 0; j < n; j++) step[j] *= 2 / moved;
    }
    g->shift[0] += step[0], g->shift[1] += step[1];
    g->gain += step[2], g->offset += step[3];
    if (zooming) g->zoom[0] += step[4], g->zoom[1] += step[5];
    if (moved < 0.002) break;
  }
  measure(l, p, g);
}

static int sane(const guess *g, const level *l) {
  return fabs(g->shift[0]) < l->width / 8.0 && fabs(g->shift[1]) < l->height / 8.0 &&
         fabs(g->zoom[0]) <= MOST_ZOOM && fabs(g->zoom[1]) <= MOST_ZOOM && g->gain > 0.4 &&
         g->gain < 2.5;
}

/* Follows a guess of the smallest level down to the largest; returns 1, or 0 without memory. */
static int follow(level *levels, int count, guess *g, int zooming, const kx_wanted *wanted) {
  int i, done = 1;

  for (i = count - 1; i >= 0 && done; i--) {
    points p = {0, NULL, NULL};
    if (!KX_WANTED(wanted)) return 0;
    done = collect(&p, &levels[i], 3);
    if (done && p.count >= 100) refine(&levels[i], &p, g, zooming);
    free_points(&p);
    if (i > 0) g->shift[0] *= 2, g->shift[1] *= 2;
  }
  return done;
}

/* Colours ------------------------------------------------------------------------------------- */

/* Reads the three channels of the answer where the picture's point is found; returns 0 outside. */
static int look_colours(const kx_alignment *a, const kx_picture *answer, int column, int row,
                        double rgb[3]) {
  double x = kx_aligned_position(column, a->shift_x, a->zoom_x, answer->width);
  double y = kx_aligned_position(row, a->shift_y, a->zoom_y, answer->height);
  float wx[KX_TAPS], wy[KX_TAPS];
  int left, top, i, k;

  rgb[0] = rgb[1] = rgb[2] = 0;
  kx_resample_weights(x, &left, wx);
  kx_resample_weights(y, &top, wy);
  if (left < 0 || top < 0 || left + KX_TAPS > answer->width || top + KX_TAPS > answer->height) {
    return 0;
  }
  for (i = 0; i < KX_TAPS; i++) {
    const unsigned char *p =
        answer->pixels + ((size_t)(top + i) * (size_t)answer->width + (size_t)left) * 3;
    for (k = 0; k < KX_TAPS; k++, p += 3) {
      double weight = (double)wy[i] * (double)wx[k];
      rgb[0] += weight * p[0], rgb[1] += weight * p[1], rgb[2] += weight * p[2];
    }
  }
  return 1;
}

/* The answer's colours at the points, -1 where it has none; for free(), or NULL. */
static float *read_colours(const kx_alignment *a, const kx_picture *answer, const points *p) {
  float *values = (float *)malloc(((size_t)p->count * 3 + 1) * sizeof *values);
  double rgb[3];
  int i, k;

  for (i = 0; values && i < p->count; i++) {
    int inside = look_colours(a, answer, p->at[i] % answer->width, p->at[i] / answer->width, rgb);
    for (k = 0; k < 3; k++) values[i * 3 + k] = inside ? (float)rgb[k] : -1000;
  }
  return values;
}

/* Returns 1 where a level may stand for any beyond it. */
static int is_end(double value) { return value < 1.5 || value > 253.5; }

/* Finds what is to be added where the answer is black or white: there the tint may have cut it off,
   and the margin tells what stands in the picture. */
static void fit_ends(kx_alignment *a, const kx_picture *picture, const points *p,
                     const float *values, int k) {
  double sum[2] = {0, 0}, lacking;
  int count[2] = {0, 0}, i;

  for (i = 0; i < p->count; i++) {
    double value = values[i * 3 + k], truth = picture->pixels[(size_t)p->at[i] * 3 + (size_t)k];
    if (value < -500 || !is_end(value)) continue;
    lacking = truth - ((double)a->gain[k] * (value < 128 ? 0 : 255) + (double)a->offset[k]);
    if (fabs(lacking) > WORST) continue;
    sum[value > 128] += lacking;
    count[value > 128]++;
  }
  a->black[k] = count[0] >= LEAST_ENDS ? (float)(sum[0] / count[0]) : 0;
  a->white[k] = count[1] >= LEAST_ENDS ? (float)(sum[1] / count[1]) : 0;
}

/* Finds a channel's gain and offset by least squares; what does not fit weighs little, and what may
   be cut off nothing. */
static void fit_channel(kx_alignment *a, const kx_picture *picture, points *p, const float *values,
                        int k) {
  double gain = 1, offset = 0;
  int round, i;

  for (round = 0; round < 6; round++) {
    double n = 0, u = 0, v = 0, uu = 0, uv = 0, scale, spread;
    for (i = 0; i < p->count; i++) {
      double value = values[i * 3 + k], truth = picture->pixels[(size_t)p->at[i] * 3 + (size_t)k];
      p->error[i] = value < -500 ? 1e9f : (float)(gain * value + offset - truth);
    }
    scale = round ? 3 * typical(p->error, p->count) + 2 : 64;
    for (i = 0; i < p->count; i++) {
      double value = values[i * 3 + k], truth = picture->pixels[(size_t)p->at[i] * 3 + (size_t)k];
      double weight = (double)p->error[i] / scale;
      if (p->error[i] > 1e8f || is_end(value)) continue;
      weight = 1 / (1 + weight * weight);
      weight *= weight;
      n += weight, u += weight * value, v += weight * truth;
      uu += weight * value * value, uv += weight * value * truth;
    }
    if (n < 1) return;
    u /= n, v /= n;
    spread = uu / n - u * u;
    /* The gain is drawn to 1 where the margin has hardly more than one tone. */
    gain = (uv / n - u * v + 4) / (spread + 4);
    if (gain < 0.6) gain = 0.6;
    if (gain > 1.6) gain = 1.6;
    offset = v - gain * u;
  }
  a->gain[k] = (float)gain;
  a->offset[k] = (float)offset;
}

/* Returns how far the margins are apart on average, in levels. */
static double distance(const kx_alignment *a, const kx_picture *picture, const points *p,
                       const float *values) {
  double sum = 0;
  int i, k, count = 0;

  for (i = 0; i < p->count; i++) {
    if (values[i * 3] < -500) continue;
    for (k = 0; k < 3; k++) {
      double made = (double)kx_aligned_level(a, k, values[i * 3 + k]);
      made = made < 0 ? 0 : made > 255 ? 255 : made;
      sum += fabs(made - picture->pixels[(size_t)p->at[i] * 3 + (size_t)k]);
    }
    count += 3;
  }
  return count ? sum / count : WORST;
}

/* Finds the colours for where the answer lies, and how well all fits. */
static int fit_colours(kx_alignment *a, const kx_picture *picture, const kx_picture *answer,
                       points *p) {
  float *values = read_colours(a, answer, p);
  int k;

  if (!values) return 0;
  for (k = 0; k < 3; k++) {
    a->gain[k] = 1;
    a->offset[k] = a->black[k] = a->white[k] = 0;
    fit_channel(a, picture, p, values, k);
    /* Half a level is the rounding's. */
    if (fabs((double)a->gain[k] - 1) < 0.004 && fabs((double)a->offset[k]) < 0.5) {
      a->gain[k] = 1;
      a->offset[k] = 0;
    } else {
      fit_ends(a, picture, p, values, k);
    }
  }
  a->match = 1 - distance(a, picture, p, values) / WORST;
  if (a->match < 0) a->match = 0;
  free(values);
  return 1;
}

/* Chooses between where the answer was found and where it should be: without a gain worth having,
   nothing is moved and so nothing resampled. */
static int settle(kx_alignment *a, const kx_picture *picture, const kx_picture *answer, points *p,
                  const guess *g) {
  kx_alignment still, moved;

  kx_alignment_none(&still);
  still.known = 1;
  if (!fit_colours(&still, picture, answer, p)) return 0;
  moved = still;
  moved.shift_x = g->shift[0], moved.shift_y = g->shift[1];
  moved.zoom_x = 1 + g->zoom[0], moved.zoom_y = 1 + g->zoom[1];
  if (!fit_colours(&moved, picture, answer, p)) return 0;
  *a = moved;
  if (moved.match < still.match + 0.003 ||
      (fabs(g->shift[0]) < 0.05 && fabs(g->shift[1]) < 0.05 && fabs(g->zoom[0]) < 1e-4 &&
       fabs(g->zoom[1]) < 1e-4)) {
    *a = still;
  }
  if (a->match < 0.4) { /* another picture: nothing that was found of it means anything */
    double match = a->match;
    kx_alignment_none(a);
    a->known = 1;
    a->match = match;
  }
  return 1;
}

/* Aligns with levels that are made; returns 1, or 0 without memory or where it is not wanted. */
static int align_levels(kx_alignment *a, level *levels, int count, const kx_picture *picture,
                        const kx_picture *answer, const kx_wanted *wanted) {
  guess plain, zoomed;
  points p = {0, NULL, NULL};
  int done = collect(&p, &levels[count - 1], REACH + 1);

  memset(&plain, 0, sizeof plain);
  plain.gain = 1;
  if (done && p.count >= 50) search(&levels[count - 1], &p, &plain);
  free_points(&p);
  zoomed = plain;
  if (!done || !follow(levels, count, &plain, 0, wanted) ||
      !follow(levels, count, &zoomed, 1, wanted)) {
    return 0;
  }
  if (sane(&zoomed, levels) && (zoomed.cost < plain.cost * 0.97 || !sane(&plain, levels))) {
    plain = zoomed;
  }
  if (!sane(&plain, levels)) memset(&plain, 0, sizeof plain);
  done = collect(&p, levels, 4);
  if (done && p.count >= LEAST_POINTS) done = settle(a, picture, answer, &p, &plain);
  free_points(&p);
  return done;
}

int kx_align(kx_alignment *a, const kx_picture *picture, const kx_picture *answer,
             const unsigned char *margin, const kx_wanted *wanted) {
  level levels[LEVELS];
  int count = 1, i, done;

  kx_alignment_none(a);
  memset(levels, 0, sizeof levels);
  done = make_level(levels, picture->width, picture->height);
  if (done) {
    brightness(picture, levels->picture);
    brightness(answer, levels->answer);
    memcpy(levels->margin, margin, (size_t)picture->width * (size_t)picture->height);
  }
  while (done && count < LEVELS && levels[count - 1].width >= 2 * LEAST_SIDE &&
         levels[count - 1].height >= 2 * LEAST_SIDE) {
    done = halve_level(&levels[count - 1], &levels[count]);
    count++;
  }
  if (done) done = align_levels(a, levels, count, picture, answer, wanted);
  for (i = 0; i < LEVELS; i++) free_level(&levels[i]);
  return done;
}
