#include "config.h"

#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct errno_row {
  int number;
  const char *name;
} errno_row;

#define ROW(number) \
  { number, #number }
static const errno_row errno_rows[] = {
    ROW(EACCES),       ROW(EAGAIN),  ROW(EBADF),  ROW(EBUSY),     ROW(EDQUOT),    ROW(EEXIST),
    ROW(EFBIG),        ROW(EINTR),   ROW(EIO),    ROW(EISDIR),    ROW(ELOOP),     ROW(EMFILE),
    ROW(ENAMETOOLONG), ROW(ENFILE),  ROW(ENODEV), ROW(ENOENT),    ROW(ENOMEM),    ROW(ENOSPC),
    ROW(ENOTDIR),      ROW(ENOTSUP), ROW(ENXIO),  ROW(EPERM),     ROW(EROFS),     ROW(ESTALE),
    ROW(ETXTBSY),      ROW(EINVAL),  ROW(EXDEV),  ROW(ENOTEMPTY), ROW(EOVERFLOW), ROW(ENOLCK),
};
#undef ROW

const char *kx_errno_name(int number) {
  size_t i;

  for (i = 0; i < sizeof errno_rows / sizeof *errno_rows; i++) {
    if (errno_rows[i].number == number) return errno_rows[i].name;
  }
  return "EUNKNOWN";
}

/* Makes the detail one line: a certificate or a file's name may have characters that control a
   terminal. */
static void tame(kx_error *error) {
  char *c;

  for (c = error->detail; *c; c++) {
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  }
}

void kx_error_own(kx_error *error, const char *kind, const char *code, const char *detail) {
  error->kind = kind;
  error->code = code;
  snprintf(error->detail, sizeof error->detail, "%s", detail);
  tame(error);
}

#define WHAT_MAX (KX_ERROR_DETAIL - 80) /* a long path leaves room for the reason */

void kx_error_file(kx_error *error, int number, const char *what) {
  error->kind = "file";
  error->code = kx_errno_name(number);
  if (number == ESTALE) {
    snprintf(error->detail, sizeof error->detail, "%s has changed since it was checked", what);
  } else if (number == ENOTSUP) {
    snprintf(error->detail, sizeof error->detail, "%s is not a regular file", what);
  } else {
    snprintf(error->detail, sizeof error->detail, "%.*s: %s", WHAT_MAX, what, strerror(number));
  }
  tame(error);
}
