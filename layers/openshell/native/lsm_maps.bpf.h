/* The maps of lsm.bpf.c, and who the calling process belongs to. */
#pragma once
#include "lsm_types.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "lsm.h"

/* Newer than Debian 12's headers (Linux 6.2). */
#define MAP_TYPE_CGRP_STORAGE 32

extern void *bpf_rdonly_cast(void *obj, __u32 btf_id) __ksym;
extern struct cgroup *bpf_cgroup_ancestor(struct cgroup *cgrp, int level) __ksym;
extern void bpf_cgroup_release(struct cgroup *cgrp) __ksym;

/* Which sandbox a control group is; a process cannot leave its group. */
struct { __uint(type, MAP_TYPE_CGRP_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, struct lsm_sandbox); } sandboxes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(max_entries, LSM_RULES); __type(key, struct lsm_rule_key); __type(value, struct lsm_rule); } rules SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(max_entries, LSM_RULES); __type(key, struct lsm_child_key); __type(value, struct lsm_rule); } named_rules SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(max_entries, LSM_RULES); __type(key, struct lsm_name_key); __type(value, struct lsm_name); } protected_names SEC(".maps");
/* Where it is full the oldest goes: answers that nobody used (a process that was killed) keep no place from others, and who finds none asks again. */
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 8192); __type(key, struct lsm_grant_key); __type(value, struct lsm_grant); } grants SEC(".maps");
/* Questions and denials apart: a flood of denials takes no question's place. */
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 21); } asks SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } denials SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, LSM_COUNTS); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
/* One number that nobody outside openshelld knows. */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } secret SEC(".maps");

static __always_inline void count(uint32_t which) {
  uint64_t *value = bpf_map_lookup_elem(&counts, &which);
  if (value) __sync_fetch_and_add(value, 1);
}

static __always_inline struct lsm_sandbox *sandbox_of(struct task_struct *task) {
  return bpf_cgrp_storage_get(&sandboxes, task->cgroups->dfl_cgrp, 0, 0);
}

static __always_inline struct lsm_sandbox *caller(void) {
  return sandbox_of(bpf_get_current_task_btf());
}
