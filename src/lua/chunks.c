#include "lua/chunks.h"

const kx_chunk kx_chunks[] = {{NULL, NULL, 0}};
