/* An engine and its worker in a forked child: they are let go of, and go on in the parent. */
#include "kx_config.h"

#include "check.h"
#include "kx_engine.h"
#include "kx_poller.h"
#include "kx_repaint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

/* Begins to make a picture fit; returns the id. */
static uint64_t begin(kx_engine *engine) {
  kx_repaint_options options;
  unsigned char *bytes = NULL;
  kx_piece picture = {KX_BYTES, NULL, 0, NULL};
  const char *why;
  uint64_t id;
  kx_fit fit;

  memset(&options, 0, sizeof options);
  options.width = options.height = 64;
  if (!kx_repaint(&options, &bytes, &picture.size, &why)) abort();
  picture.text = (const char *)bytes;
  memset(&fit, 0, sizeof fit);
  fit.width = fit.height = 16;
  fit.memory = (uint64_t)8 << 20;
  id = kx_engine_fit(engine, &fit, &picture);
  free(bytes);
  return id;
}

/* Returns 1 when that picture's end comes, within ten seconds. */
static int ends(kx_engine *engine, uint64_t id) {
  int64_t limit = kx_now() + 10 * SECOND;

  while (kx_now() < limit) {
    kx_transfer *t;
    kx_engine_wait(engine, kx_now() + SECOND / 10);
    kx_engine_step(engine, SECOND / 1000);
    t = kx_engine_ended(engine);
    if (!t) continue;
    if (t->id != id || t->error.kind || kx_sink_size(t->sink) == 0) return 0;
    kx_engine_drop_ended(engine);
    return 1;
  }
  return 0;
}

static void test_fork(kx_engine *engine) {
  uint64_t id = begin(engine);
  int fd = kx_engine_fd(engine), status;
  pid_t child = fork();

  if (child == 0) {
    int known = kx_engine_forked(engine);
    kx_engine_free(engine);
    exit(known && (fd < 0 || (fcntl(fd, F_GETFD) < 0 && errno == EBADF)) ? 0 : 1);
  }
  CHECK("a child knows whose engine it is, and keeps none of its descriptors",
        waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK("the parent's is its own", !kx_engine_forked(engine));
  CHECK("a picture in the worker still comes", ends(engine, id));
}

static void test_cancel(kx_engine *engine) {
  uint64_t first = begin(engine), second = begin(engine), third = begin(engine);

  kx_engine_cancel(engine, first);
  kx_engine_cancel(engine, second);
  CHECK("what is cancelled never comes, what is not does", ends(engine, third));
  kx_engine_cancel(engine, third);
  CHECK("an id that is over is none", !kx_engine_held(engine, third) &&
        !kx_engine_take(engine, third));
}

static void test_due(kx_engine *engine) {
  int64_t soon = kx_now() + 60 * SECOND;

  kx_engine_alarm(engine, soon);
  CHECK("the host's alarm is what is due", kx_engine_due(engine) <= soon);
  kx_engine_alarm(engine, KX_NEVER);
  CHECK("and then nothing is", !KX_EPOLL || kx_engine_due(engine) == KX_NEVER);
}

/* Waits for the end of the worker's thread, which a leak checker cannot look into while it ends. */
static void settle(void) {
  int turn, threads = 0;

  for (turn = 0; turn < 200 && threads != 1; turn++) {
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return;
    for (threads = -2; readdir(tasks);) threads++; /* "." and ".." are none */
    closedir(tasks);
    if (threads != 1) usleep(10000);
  }
}

int main(void) {
  kx_settings settings;
  kx_engine *engine;

  memset(&settings, 0, sizeof settings);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  engine = kx_engine_new(&settings);
  if (!engine) return 1;
  test_fork(engine);
  test_cancel(engine);
  test_due(engine);
  kx_engine_free(engine);
  kx_engine_free(NULL);
  settle();
  return report();
}
