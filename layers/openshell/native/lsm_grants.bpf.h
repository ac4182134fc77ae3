/* A yes is for one call: what it is bound to, and its use. */
#pragma once
#include "lsm_walk.bpf.h"

/* One operation: on what, and what stands against it. */
struct question {
  struct lsm_grant_key key;
  uint32_t deny, ask; /* of the rights that the operation needs */
  uint32_t rule, reason, number;
};

/* What a call gives beside its objects, by addresses in the kernel: whoever shares its memory can write another thing there before it goes on. 0: nothing. */
struct given {
  uint64_t text;       /* ends with a 0 */
  uint64_t data, size; /* bytes; size at most 64 KiB */
  uint64_t number;
};

static __always_inline uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9fb21c651e98df25ull;
  return hash ^ hash >> 32;
}

struct hashing {
  uint64_t at, left, hash;
};

static long hash_part(uint32_t index, struct hashing *h) {
  uint64_t words[4] = {0};
  uint32_t size = h->left < sizeof words ? (uint32_t)h->left : sizeof words;
  if (!size) return 1;
  if (bpf_probe_read_kernel(words, size & 63, (const void *)h->at) < 0) return 1;
  for (int w = 0; w < 4; w++) h->hash = mix(h->hash, words[w]);
  h->at += size;
  h->left -= size;
  return 0;
}

__noinline uint64_t hash_bytes(uint64_t address, uint64_t size, uint64_t hash) {
  struct hashing h = {.at = address, .left = size, .hash = hash};
  bpf_loop(2049, hash_part, &h, 0);
  return mix(h.hash, size);
}

static long hash_text_part(uint32_t index, struct hashing *h) {
  uint64_t words[4] = {0};
  long length = bpf_probe_read_kernel_str(words, sizeof words, (const void *)h->at);
  for (int w = 0; w < 4; w++) h->hash = mix(h->hash, words[w]);
  if (length < (long)sizeof words) return 1;
  h->at += sizeof words - 1;
  return 0;
}

__noinline uint64_t hash_text(uint64_t address, uint64_t hash) {
  struct hashing h = {.at = address, .hash = hash};
  bpf_loop(140, hash_text_part, &h, 0);
  return h.hash;
}

/* With a secret key, so that nobody can find two things of one hash. */
static __always_inline uint64_t secret_key(void) {
  __u32 zero = 0;
  __u64 *key = bpf_map_lookup_elem(&secret, &zero);
  return key ? *key : 0;
}

static __always_inline void name_key(struct question *q, uint64_t d, uint64_t to) {
  q->key.names = hash_bytes((uint64_t)BPF_CORE_READ((struct dentry *)d, d_name.name), BPF_CORE_READ((struct dentry *)d, d_name.len), secret_key());
  if (to) q->key.names = hash_bytes((uint64_t)BPF_CORE_READ((struct dentry *)to, d_name.name), BPF_CORE_READ((struct dentry *)to, d_name.len), q->key.names);
}

__noinline int value_key(struct question *q, const struct given *given) {
  if (!q || !given) return 0;
  uint64_t hash = mix(secret_key(), given->number);
  if (given->text) hash = hash_text(given->text, hash);
  if (given->data) hash = hash_bytes(given->data, given->size, hash);
  q->key.value = hash;
  return 0;
}

/*
 * A call that is started again has all its registers again, and stands at the same place on the same stack; another call of this thread,
 * as that of a handler of the signal that wakes it, has not. Its flags and numbers are in the registers.
 */
static __always_inline void call_key(struct question *q) {
  struct task_struct *task = bpf_get_current_task_btf();
  struct pt_regs *regs = (void *)bpf_task_pt_regs(task);
  uint64_t hash = mix(secret_key(), regs->orig_ax);
  hash = mix(hash, regs->di);
  hash = mix(hash, regs->si);
  hash = mix(hash, regs->dx);
  hash = mix(hash, regs->r10);
  hash = mix(hash, regs->r8);
  hash = mix(hash, regs->r9);
  hash = mix(hash, regs->bx);
  hash = mix(hash, regs->cx);
  hash = mix(hash, regs->bp);
  hash = mix(hash, regs->ip);
  q->key.call = mix(hash, regs->sp);
  q->key.tid = (uint32_t)bpf_get_current_pid_tgid();
}

/* Whoever deletes the grant has used it. 1 allowed, -1 refused, 0: there is none. */
static __always_inline int use_grant(struct question *q) {
  struct lsm_grant *grant = bpf_map_lookup_elem(&grants, &q->key);
  if (!grant) return 0;
  uint64_t expires = grant->expires;
  uint32_t allow = grant->allow;
  if (bpf_map_delete_elem(&grants, &q->key) != 0 || expires < bpf_ktime_get_boot_ns()) return 0;
  return allow ? 1 : -1;
}
