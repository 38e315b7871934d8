/* A URL is judged by the same parser that later connects. */
#include "config.h"

#include "check.h"
#include "net/url.h"

#include <string.h>

static kx_url url;

static CURLUcode read_url(const char *text, const char *base) {
  return kx_url_read(&url, text, strlen(text), base);
}

/* Returns 1 when the text is read as these parts. */
static int is(const char *text, const char *base, const char *scheme, const char *host,
              const char *port, const char *whole) {
  return read_url(text, base) == CURLUE_OK && !strcmp(url.scheme, scheme) &&
         !strcmp(url.host, host) && !strcmp(url.port, port) && !strcmp(url.url, whole);
}

static void test_parts(void) {
  CHECK("a URL has a scheme, a host, its port and the whole",
        is("https://api.bfl.ai/v1/x?id=a%2Fb", NULL, "https", "api.bfl.ai", "443",
           "https://api.bfl.ai/v1/x?id=a%2Fb"));
  CHECK("a port of its own is kept",
        is("http://127.0.0.1:8080/", NULL, "http", "127.0.0.1", "8080", "http://127.0.0.1:8080/"));
  CHECK("an IPv6 address keeps its brackets",
        is("http://[::1]:9/", NULL, "http", "[::1]", "9", "http://[::1]:9/"));
  CHECK("an address in another notation is the address",
        is("http://2130706433/", NULL, "http", "127.0.0.1", "80", "http://127.0.0.1/"));
  CHECK("a user is seen", read_url("https://a@b.example/", NULL) == CURLUE_OK && url.user);
  CHECK("and so is none", read_url("https://b.example/@", NULL) == CURLUE_OK && !url.user);
}

static void test_dots(void) {
  CHECK("a signed URL is asked for as it came",
        is("https://a.example/x/../y/./z", NULL, "https", "a.example", "443",
           "https://a.example/x/../y/./z"));
  CHECK("a relative one goes up from its base",
        is("../y?z", "https://a.example/b/c/d", "https", "a.example", "443",
           "https://a.example/b/y?z"));
  CHECK("and may name another host",
        is("//c.example/", "https://a.example/", "https", "c.example", "443",
           "https://c.example/"));
  CHECK("a base that is no URL is no base", read_url("x", "nowhere") != CURLUE_OK);
}

static void test_refused(void) {
  static const char *const bad[] = {"", "x", "/x", "http://", "https://a b/", "http://a:99999/",
                                    "http://a:x/", "http://[::1/", "https://0%36.example@/"};
  static char text[KX_URL_MAX + 64];
  size_t i;

  for (i = 0; i < sizeof bad / sizeof *bad; i++) {
    CHECK(bad[i], read_url(bad[i], NULL) != CURLUE_OK);
  }
  CHECK("a NUL byte ends no URL early",
        kx_url_read(&url, "https://a.example/\0b", 20, NULL) == CURLUE_MALFORMED_INPUT);
  CHECK("what reads as another host a second time is refused",
        read_url("http://0%36/", NULL) == CURLUE_MALFORMED_INPUT);
  memset(text, 'a', sizeof text - 1);
  memcpy(text, "https://a.example/", 18);
  text[KX_URL_MAX - 1] = '\0';
  CHECK("the longest URL is read", read_url(text, NULL) == CURLUE_OK);
  text[KX_URL_MAX - 1] = 'a';
  text[KX_URL_MAX] = '\0';
  CHECK("a longer one is refused", read_url(text, NULL) == CURLUE_MALFORMED_INPUT);
  memset(text, 'a', sizeof text - 1);
  memcpy(text, "https://", 8);
  memcpy(text + 400, "/", 2);
  CHECK("a host that no name server knows is refused",
        read_url(text, NULL) == CURLUE_MALFORMED_INPUT);
}

int main(void) {
  test_parts();
  test_dots();
  test_refused();
  return report();
}
