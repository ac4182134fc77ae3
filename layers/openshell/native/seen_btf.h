/* Finds a type in the running kernel's own description (Documentation/bpf/btf.rst). */
#pragma once
#include <stdint.h>

/* Ids of typedefs by name; 0 where there is none. -1 with errno: this kernel describes itself to nobody. */
int btf_typedefs(const char *const *names, uint32_t *ids, int count);
