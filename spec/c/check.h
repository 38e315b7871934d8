/* Counts promises kept and broken; main ends with report(). */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static int passed, failed;

#define CHECK(promise, condition) check(promise, (condition) != 0, #condition, __LINE__)

static void check(const char *promise, int kept, const char *condition, int line) {
  if (kept) passed++;
  else failed++, printf("%s: broken (%s, line %d)\n", promise, condition, line);
}

static int report(void) {
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}

#endif
