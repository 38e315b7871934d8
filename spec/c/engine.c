/* An engine's turns; and an engine and its worker in a forked child: they are let go of, and go on
   in the parent. */
#include "config.h"

#include "check.h"
#include "net/engine.h"
#include "net/poller.h"
#include "emulator/repaint.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

/* Begins to make a picture fit; returns the id. */
static uint64_t begin(kx_engine *engine) {
  kx_repaint_options options;
  unsigned char *bytes = NULL;
  kx_work_input picture = {NULL, NULL, 0, NULL};
  const char *why;
  uint64_t id;
  kx_fit fit;

  memset(&options, 0, sizeof options);
  options.width = options.height = 64;
  if (!kx_repaint(&options, &bytes, &picture.size, &why)) abort();
  picture.bytes = bytes;
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
    if (t->id != id || t->error.kind || kx_sink_size(t->work->out) == 0) return 0;
    kx_engine_drop_ended(engine);
    return 1;
  }
  return 0;
}

static void test_fork(kx_engine *engine) {
  uint64_t id = begin(engine);
  int fd = kx_engine_fd(engine), status;
  pid_t child;

  /* A leak checker's locks must not be held by the worker's thread when the child gets a copy. */
  kx_engine_wait(engine, kx_now() + 10 * SECOND);
  usleep(50000);
  child = fork();
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

/* A worker's tasks of several kinds, through the engine. */
static void test_digest(kx_engine *engine) {
  static const char abc[] =
      "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23"
      "\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
  kx_work_input bytes = {NULL, "abc", 3, NULL}, missing = {"/nowhere/at/all", NULL, 0, NULL};
  uint64_t fit = begin(engine), digest = kx_engine_digest(engine, &bytes);
  uint64_t unread = kx_engine_digest(engine, &missing), seen = 0;
  int64_t limit = kx_now() + 10 * SECOND;
  int good = 1;

  while (seen < 3 && kx_now() < limit) {
    const kx_transfer *t;
    kx_engine_wait(engine, kx_now() + SECOND / 10);
    kx_engine_step(engine, SECOND / 1000);
    for (; (t = kx_engine_ended(engine)); kx_engine_drop_ended(engine), seen++) {
      if (t->id == fit) good = good && !t->error.kind && t->work->kind == KX_WORK_FIT;
      if (t->id == digest) good = good && !t->error.kind && !memcmp(t->work->digest, abc, 32);
      if (t->id == unread) good = good && t->error.kind && !strcmp(t->error.kind, "file") &&
                                  !strcmp(t->error.code, "ENOENT");
    }
  }
  CHECK("the worker makes digests between pictures, and tells what it cannot read",
        seen == 3 && good);
}

static void test_due(kx_engine *engine) {
  int64_t soon = kx_now() + 60 * SECOND, limit = kx_now() + 10 * SECOND;

  kx_engine_alarm(engine, soon);
  CHECK("the host's alarm is what is due", kx_engine_due(engine) <= soon);
  kx_engine_alarm(engine, KX_NEVER);
  while (kx_engine_due(engine) <= kx_now() && kx_now() < limit) kx_engine_step(engine, SECOND);
  CHECK("and then nothing is", !KX_EPOLL || kx_engine_due(engine) == KX_NEVER);
}

/* Reads all that comes on any connection, and answers nothing, or this as soon as something came;
   ends with its parent at the latest. */
static void swallow(int listener, const char *answer) {
  static char bytes[262144];
  struct pollfd fds[32] = {{listener, POLLIN, 0}};
  nfds_t count = 1, i;
  pid_t parent = getppid();

  while (getppid() == parent) {
    (void)poll(fds, count, 100);
    for (i = 1; i < count; i++) {
      if (!fds[i].revents) continue;
      if (read(fds[i].fd, bytes, sizeof bytes) <= 0) fds[i].events = 0;
      else if (answer && write(fds[i].fd, answer, strlen(answer)) < 0) fds[i].events = 0;
    }
    if ((fds[0].revents & POLLIN) && count < 32) {
      fds[count].fd = accept(listener, NULL, NULL);
      fds[count++].events = POLLIN;
    }
  }
}

/* Starts a server that swallows; returns its process, and its URL in `url`. */
static pid_t serve(char *url, size_t room, const char *answer) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  pid_t child;

  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 32) != 0) abort();
  if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) abort();
  snprintf(url, room, "http://127.0.0.1:%d/", ntohs(address.sin_port));
  child = fork();
  if (child == 0) {
    swallow(listener, answer);
    _exit(0);
  }
  close(listener);
  return child;
}

/* Uploads `count` times `size` bytes at once, in steps with a pause of so many microseconds;
   returns how many have sent something when the first is sent whole, or -1 when none was within ten
   seconds. */
static int begun_at_first_end(kx_engine *engine, const char *url, int count, size_t size,
                              useconds_t pause) {
  int64_t limit = kx_now() + 10 * SECOND;
  char *bytes = (char *)calloc(1, size);
  kx_piece piece = {KX_BYTES, bytes, size, NULL};
  uint64_t first = kx_engine_next_id(engine);
  const char *no_wait = "Expect:";
  int i, whole = 0, begun = -1;
  size_t which;

  for (i = 0; i < count; i++) {
    kx_request request;
    memset(&request, 0, sizeof request);
    request.url = url;
    request.headers = &no_wait;
    request.header_count = 1;
    request.deadline = KX_NEVER;
    request.allow_http = request.no_proxy = 1;
    request.body = kx_body_new(&piece, 1, &which);
    request.sink = kx_sink_memory(1024);
    if (!kx_engine_start(engine, &request, 0)) abort();
  }
  while (!whole && kx_now() < limit) {
    kx_transfer *t;
    kx_engine_wait(engine, kx_now() + SECOND / 100);
    kx_engine_step(engine, 1);
    if (pause > 0) usleep(pause);
    begun = 0;
    for (t = kx_engine_active(engine); t; t = t->next) {
      uint64_t total, sent = kx_transfer_sent(t, &total);
      begun += sent > 0;
      whole |= sent == total;
    }
  }
  for (i = 0; i < count; i++) kx_engine_cancel(engine, first + (uint64_t)i);
  free(bytes);
  return whole ? begun : -1;
}

static void test_turns(kx_engine *engine) {
  char url[64];
  pid_t server = serve(url, sizeof url, NULL);
  int small = begun_at_first_end(engine, url, 24, 100000, 0);
  int large = begun_at_first_end(engine, url, 3, 4000000, 2000);

  CHECK("what is begun goes first", small >= 1 && small <= 12);
  CHECK("but keeps nobody waiting for long where steps are few", large == 3);
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
}

/* Begins a request, with a small body or none; returns its id. */
static uint64_t ask(kx_engine *engine, const char *url, int upload, int64_t deadline) {
  kx_piece piece = {KX_TEXT, "{}", 2, NULL};
  kx_request request;
  size_t which;
  uint64_t id;

  memset(&request, 0, sizeof request);
  request.url = url;
  request.deadline = deadline;
  request.allow_http = request.no_proxy = 1;
  if (upload) request.body = kx_body_new(&piece, 1, &which);
  request.sink = kx_sink_memory(1024);
  id = kx_engine_start(engine, &request, 0);
  if (!id) abort();
  return id;
}

/* Steps until the request is under way and its body has gone out, for ten seconds at most. */
static void send_whole(kx_engine *engine) {
  int64_t limit = kx_now() + 10 * SECOND;

  while (kx_now() < limit) {
    const kx_transfer *t;
    uint64_t total;
    kx_engine_step(engine, SECOND / 1000);
    t = kx_engine_active(engine);
    if (t && t->active != KX_NEVER && (!t->body || kx_transfer_sent(t, &total) == total)) return;
    if (kx_engine_ended(engine)) return;
    kx_engine_wait(engine, kx_now() + SECOND / 100);
  }
  abort();
}

/* Steps until the only transfer has ended; returns the kind of its error, "none" for success, or
   "pending" after so many nanoseconds. */
static const char *outcome(kx_engine *engine, int64_t patience) {
  int64_t limit = kx_now() + patience;
  kx_transfer *t = kx_engine_ended(engine);
  const char *kind;

  while (!t && kx_now() < limit) {
    kx_engine_wait(engine, limit);
    kx_engine_step(engine, SECOND / 1000);
    t = kx_engine_ended(engine);
  }
  if (!t) return "pending";
  kind = t->error.kind ? t->error.kind : "none";
  kx_engine_drop_ended(engine);
  return kind;
}

static void test_time(void) {
  static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
  char quick[64], silent[64];
  pid_t answers = serve(quick, sizeof quick, good);
  pid_t swallows = serve(silent, sizeof silent, NULL);
  kx_settings settings;
  kx_engine *engine;
  uint64_t id;
  int64_t begun;

  memset(&settings, 0, sizeof settings);
  settings.stall_ns = SECOND / 5;
  engine = kx_engine_new(&settings);
  if (!engine) abort();

  ask(engine, quick, 1, KX_NEVER);
  send_whole(engine);
  usleep(600000);
  kx_engine_step(engine, SECOND / 10);
  CHECK("an answer that came while the host was busy is no stall",
        !strcmp(outcome(engine, 0), "none"));
  ask(engine, quick, 0, kx_now() + SECOND / 2);
  send_whole(engine);
  usleep(600000);
  kx_engine_step(engine, SECOND / 10);
  CHECK("nor is it late because the host looks after the deadline",
        !strcmp(outcome(engine, 0), "none"));

  id = ask(engine, silent, 1, KX_NEVER);
  send_whole(engine);
  CHECK("a service may think about a whole edit for longer than a stall",
        !strcmp(outcome(engine, SECOND), "pending"));
  kx_engine_cancel(engine, id);
  begun = kx_now();
  ask(engine, silent, 1, kx_now() + SECOND / 2);
  CHECK("but not beyond the deadline", !strcmp(outcome(engine, 5 * SECOND), "timeout") &&
        kx_now() - begun < 2 * SECOND);

  begun = kx_now();
  ask(engine, silent, 0, KX_NEVER);
  CHECK("a poll that gets no answer stalls", !strcmp(outcome(engine, 5 * SECOND), "timeout") &&
        kx_now() - begun < 2 * SECOND);
  ask(engine, silent, 0, KX_NEVER);
  send_whole(engine);
  usleep(600000);
  kx_engine_step(engine, SECOND / 10);
  CHECK("time that nobody watched is no stall", !strcmp(outcome(engine, 0), "pending"));
  CHECK("time that was watched is", !strcmp(outcome(engine, 5 * SECOND), "timeout"));

  ask(engine, quick, 1, KX_NEVER);
  send_whole(engine);
  usleep(100000);
  begun = kx_now();
  kx_engine_settle(engine, SECOND / 10);
  CHECK("what lies in the sockets is found before a cancel", !strcmp(outcome(engine, 0), "none"));
  id = ask(engine, silent, 1, KX_NEVER);
  send_whole(engine);
  kx_engine_settle(engine, SECOND);
  CHECK("without waiting for what does not", !strcmp(outcome(engine, 0), "pending") &&
        kx_now() - begun < SECOND / 2);
  kx_engine_cancel(engine, id);
  kx_engine_free(engine);
  kill(answers, SIGKILL);
  kill(swallows, SIGKILL);
  waitpid(answers, NULL, 0);
  waitpid(swallows, NULL, 0);
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
  test_digest(engine);
  test_due(engine);
  test_turns(engine);
  test_time();
  kx_engine_free(engine);
  kx_engine_free(NULL);
  settle();
  return report();
}
