/* Finds types and members in the running kernel's own description (Documentation/bpf/btf.rst). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* "struct.member": where it stands, in bytes. */
struct btf_member_place {
  const char *name;
  uint32_t offset;
  bool known;
};

/* Ids of typedefs by name, 0 where there is none, and the places of members. -1 with errno: this kernel describes itself to nobody. */
int btf_find(const char *const *names, uint32_t *ids, int count, struct btf_member_place *members, int member_count);
