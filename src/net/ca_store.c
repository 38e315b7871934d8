#include "config.h"

#include "net/ca_store.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>

#define NAMES_MAX 4096 /* read of a directory that has none */

/* Returns 1 for a name such as "4042bcee.0". */
static int is_hash(const char *name) {
  size_t i;

  for (i = 0; i < 8; i++) {
    if (!isxdigit((unsigned char)name[i])) return 0;
  }
  return name[8] == '.' && isdigit((unsigned char)name[9]);
}

int kx_ca_store_hashed(const char *directory) {
  DIR *names = directory ? opendir(directory) : NULL;
  const struct dirent *entry;
  int found = 0, i;

  if (!names) return 0;
  for (i = 0; i < NAMES_MAX && !found && (entry = readdir(names)); i++) {
    found = is_hash(entry->d_name);
  }
  closedir(names);
  return found;
}
