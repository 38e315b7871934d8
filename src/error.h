/* An error for programs and for people: a kind, a name and a sentence. */
#ifndef KX_ERROR_H
#define KX_ERROR_H

#define KX_ERROR_DETAIL 256 /* libcurl's messages fit into it */

/* How something ended: a kind of the errors' closed list, libcurl's or the system's name for it,
   and a sentence of one line. All three are NULL or empty after success. */
typedef struct kx_error {
  const char *kind, *code;
  char detail[KX_ERROR_DETAIL];
} kx_error;

/* Fills `error` from errno, as kind "file", of the file that `what` names. */
void kx_error_file(kx_error *error, int number, const char *what);

/* Fills `error` from our own findings; `code` may be NULL. */
void kx_error_own(kx_error *error, const char *kind, const char *code, const char *detail);

/* Returns "ENOENT" and the like, "EUNKNOWN" for what is not in the table. */
const char *kx_errno_name(int number);

#endif
