/* The lower bound with two promises that kontext keeps: see bench/clients.lua. */
#define CAREFUL
#include "lower_bound.c"
