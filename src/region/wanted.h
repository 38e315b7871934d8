/* Asks, between the steps of long work, whether its result is still wanted. */
#ifndef KX_WANTED_H
#define KX_WANTED_H

typedef struct kx_wanted {
  int (*ask)(void *context); /* NULL: it is wanted */
  void *context;
} kx_wanted;

#define KX_WANTED(wanted) (!(wanted)->ask || (wanted)->ask((wanted)->context))

#endif
