/* Asked between the steps of long work: whether anybody still wants it. */
#ifndef KX_WANTED_H
#define KX_WANTED_H

typedef struct kx_wanted {
  int (*ask)(void *context); /* NULL: it is wanted */
  void *context;
} kx_wanted;

#define KX_WANTED(wanted) (!(wanted)->ask || (wanted)->ask((wanted)->context))

#endif
