#include "config.h"

#include "picture/sniff.h"

#include <string.h>

#define LONGEST_PATH 4096
#define NEAR 64 /* where binary formats that begin with text show a NUL byte */

/* First bytes and, where they are not enough, second ones at an offset. `text`: what could begin a
   path as well. A row that is more special stands before the general one. */
static const struct row {
  const char *name, *label;
  unsigned char size, at, also_size, text;
  const char *magic, *also;
} rows[] = {
  {"jpeg", "JPEG", 3, 0, 0, 0, "\xFF\xD8\xFF", ""},
  {"png", "PNG", 8, 0, 0, 0, "\x89PNG\r\n\x1A\n", ""},
  {"webp", "WebP", 4, 8, 4, 1, "RIFF", "WEBP"},
  {"gif", "GIF", 6, 0, 0, 1, "GIF89a", ""},
  {"gif", "GIF", 6, 0, 0, 1, "GIF87a", ""},
  {"cr2", "Canon raw (CR2)", 4, 8, 2, 0, "II*\0", "CR"},
  {"tiff", "TIFF", 4, 0, 0, 0, "II*\0", ""},
  {"tiff", "TIFF", 4, 0, 0, 0, "MM\0*", ""},
  {"tiff", "TIFF", 4, 0, 0, 0, "II+\0", ""},
  {"tiff", "TIFF", 4, 0, 0, 0, "MM\0+", ""},
  {"heic", "HEIC", 0, 4, 8, 0, "", "ftypheic"},
  {"heic", "HEIC", 0, 4, 8, 0, "", "ftypheix"},
  {"heic", "HEIC", 0, 4, 8, 0, "", "ftyphevc"},
  {"heic", "HEIC", 0, 4, 8, 0, "", "ftyphevx"},
  {"avif", "AVIF", 0, 4, 8, 0, "", "ftypavif"},
  {"avif", "AVIF", 0, 4, 8, 0, "", "ftypavis"},
  {"avif", "AVIF", 0, 16, 4, 0, "", "avif"},
  {"heif", "HEIF", 0, 4, 8, 0, "", "ftypmif1"},
  {"heif", "HEIF", 0, 4, 8, 0, "", "ftypmsf1"},
  {"cr3", "Canon raw (CR3)", 0, 4, 8, 0, "", "ftypcrx "},
  {"mp4", "a video (MP4)", 0, 4, 4, 0, "", "ftyp"},
  {"jxl", "JPEG XL", 12, 0, 0, 0, "\0\0\0\x0CJXL \r\n\x87\n", ""},
  {"jxl", "JPEG XL", 2, 0, 0, 0, "\xFF\x0A", ""},
  {"jp2", "JPEG 2000", 8, 0, 0, 0, "\0\0\0\x0CjP  ", ""},
  {"jp2", "JPEG 2000", 4, 0, 0, 0, "\xFF\x4F\xFF\x51", ""},
  {"bmp", "BMP", 2, 6, 4, 1, "BM", "\0\0\0\0"},
  {"psd", "Photoshop (PSD)", 4, 0, 0, 1, "8BPS", ""},
  {"ico", "ICO", 4, 0, 0, 0, "\0\0\1\0", ""},
  {"tga", "TGA", 8, 0, 0, 0, "\0\0\2\0\0\0\0\0", ""},
  {"tga", "TGA", 8, 0, 0, 0, "\0\0\x0A\0\0\0\0\0", ""},
  {"icns", "ICNS", 4, 0, 0, 1, "icns", ""},
  {"jng", "JNG", 4, 0, 0, 0, "\x8BJNG", ""},
  {"mng", "MNG", 4, 0, 0, 0, "\x8AMNG", ""},
  {"xcf", "GIMP (XCF)", 9, 0, 0, 1, "gimp xcf ", ""},
  {"exr", "OpenEXR", 4, 0, 0, 0, "\x76\x2F\x31\x01", ""},
  {"hdr", "Radiance HDR", 10, 0, 0, 1, "#?RADIANCE", ""},
  {"dds", "DDS", 4, 0, 0, 1, "DDS ", ""},
  {"qoi", "QOI", 4, 0, 0, 1, "qoif", ""},
  {"raf", "Fujifilm raw (RAF)", 15, 0, 0, 1, "FUJIFILMCCD-RAW", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P1\n", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P2\n", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P3\n", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P4\n", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P5\n", ""},
  {"pnm", "PNM", 3, 0, 0, 1, "P6\n", ""},
  {"pdf", "PDF", 5, 0, 0, 1, "%PDF-", ""},
  {"eps", "PostScript", 4, 0, 0, 1, "%!PS", ""},
  {"eps", "PostScript", 4, 0, 0, 0, "\xC5\xD0\xD3\xC6", ""},
  {"zip", "a ZIP archive", 4, 0, 0, 0, "PK\3\4", ""},
  {"gzip", "gzip", 2, 0, 0, 0, "\x1F\x8B", ""},
  {"webm", "a video (Matroska)", 4, 0, 0, 0, "\x1A\x45\xDF\xA3", ""},
  {"base64", "the base64 text of a JPEG", 4, 0, 0, 1, "/9j/", ""},
  {"base64", "the base64 text of a PNG", 11, 0, 0, 1, "iVBORw0KGgo", ""},
  {"base64", "the base64 text of a WebP", 5, 0, 0, 1, "UklGR", ""},
  {"base64", "a data URL", 11, 0, 0, 1, "data:image/", ""},
};

static int fits(const struct row *row, const unsigned char *bytes, size_t n) {
  size_t also_end = (size_t)row->at + row->also_size;

  return n >= row->size && n >= also_end && memcmp(bytes, row->magic, row->size) == 0 &&
         memcmp(bytes + row->at, row->also, row->also_size) == 0;
}

/* Returns whether `text` begins with `tag`, which is in lower case. */
static int begins(const unsigned char *text, size_t n, const char *tag) {
  for (; *tag; tag++, text++, n--) {
    int c = n == 0 ? 0 : *text >= 'A' && *text <= 'Z' ? *text | 32 : *text;
    if (c != *tag) return 0;
  }
  return 1;
}

/* SVG and HTML may begin with white space, an XML declaration and comments. */
static const char *markup(const unsigned char *text, size_t n, const char **label) {
  size_t i, first = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;

  while (first < n && strchr(" \t\r\n", text[first]) && text[first]) first++;
  if (first == n || text[first] != '<') return NULL;
  for (i = first; i < n; i++) {
    if (text[i] != '<') continue;
    if (begins(text + i, n - i, "<svg")) return *label = "SVG", "svg";
    if (begins(text + i, n - i, "<html") || begins(text + i, n - i, "<!doctype html")) {
      return *label = "a web page (HTML)", "html";
    }
  }
  return NULL;
}

const char *kx_sniff(const unsigned char *bytes, size_t n, const char **label, int *text) {
  size_t i;

  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    if (fits(&rows[i], bytes, n)) {
      *label = rows[i].label;
      *text = rows[i].text;
      return rows[i].name;
    }
  }
  *text = 0;
  return markup(bytes, n, label);
}

const char *kx_image_sniff(const void *bytes, size_t n) {
  size_t some = n < KX_SNIFF_BYTES ? n : KX_SNIFF_BYTES;
  const char *label, *name;
  int text;

  name = kx_sniff((const unsigned char *)bytes, some, &label, &text);
  if (name && text && n < LONGEST_PATH && !memchr(bytes, 0, n < NEAR ? n : NEAR)) return NULL;
  return name;
}
