/* One HTTP exchange without a network: libcurl talks to the other end of a pair of sockets. */
#ifndef WIRE_H
#define WIRE_H

#include "net/transfer.h"

/* Makes a transfer that goes over a pair of sockets; owns the sink. `proxy` may be NULL. */
kx_transfer *wire_new(const char *url, const char *proxy, kx_sink *sink);

/* Performs it with a server that has said `answer` before it was asked, and says nothing more. What
   it was asked is in `heard`, NUL-terminated. */
void wire_perform(kx_transfer *transfer, const void *answer, size_t size, char *heard, size_t room);

#endif
