/* Does the slow first use of TLS before the first transfer. */
#ifndef KX_TLS_WARMUP_H
#define KX_TLS_WARMUP_H

#include "net/transfer.h"

/* Begins a TLS connection to itself, through a local socket and without waiting: code is loaded,
   and `multi` keeps the certificates. A call of the first transfer's took 4 ms, and 30 ms more
   where there is only a bundle of certificates. */
void kx_tls_warmup(CURLM *multi, const kx_settings *settings);

#endif
