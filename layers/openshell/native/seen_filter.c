/* Runs a seccomp program for one call number as far as the number alone decides (man 2 seccomp, linux/filter.h). */
#include "seen.h"
#include <linux/seccomp.h>

int seen_filter_of(const struct sock_filter *filter, size_t length, uint32_t nr, uint16_t *leaf) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < length; pc++) {
    const struct sock_filter *one = &filter[pc];
    switch (one->code) {
    case BPF_LD | BPF_W | BPF_ABS:
      if (one->k == offsetof(struct seccomp_data, nr)) a = nr;
      else if (one->k == offsetof(struct seccomp_data, arch)) a = 0xc000003e; /* AUDIT_ARCH_X86_64: the filter kills the others, and the dead leave no call */
      else {
        *leaf = (uint16_t)pc;
        return FILTER_DEPENDS;
      }
      break;
    case BPF_ALU | BPF_AND | BPF_K: a &= one->k; break;
    case BPF_JMP | BPF_JA: pc += one->k; break;
    case BPF_JMP | BPF_JEQ | BPF_K: pc += a == one->k ? one->jt : one->jf; break;
    case BPF_JMP | BPF_JGE | BPF_K: pc += a >= one->k ? one->jt : one->jf; break;
    case BPF_RET | BPF_K: return one->k == SECCOMP_RET_ALLOW ? FILTER_PASSES : one->k == SECCOMP_RET_USER_NOTIF ? FILTER_NOTIFIES : FILTER_REFUSES;
    default: return FILTER_PASSES;
    }
  }
  return FILTER_PASSES;
}
