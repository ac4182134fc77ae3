/*
 * Sees every system call of the sandboxes at its exit (raw tracepoint sys_exit: calls that seccomp refuses never reach sys_enter).
 * Identity is the host uid, which belongs to one sandbox and which an agent without capabilities cannot change.
 * Compiled by `make seen-program` into seen_program.h, which is what the build uses: no clang is needed to build.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define EPERM 1
#define ENOENT 2
#define EACCES 13
#define EROFS 30
#define ENETUNREACH 101
typedef __u8 uint8_t;
typedef __u32 uint32_t;
typedef __s32 int32_t;
typedef __u64 uint64_t;
typedef unsigned int uid_t;
#define _STDINT_H
#define _SYS_TYPES_H
#define _STDBOOL_H
#define bool _Bool
#include "seen.h"

/* Map descriptors are patched in by the loader, in this order. */
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, SEEN_SLOTS); __type(key, __u32); __type(value, __u32); } sandboxes SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SEEN_SLOTS * SEEN_CALLS); __type(key, __u32); __type(value, struct seen_count); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } dropped SEC(".maps");

/* struct pt_regs of x86-64, the members used; the layout is kernel ABI (arch/x86/include/asm/ptrace.h). */
#define REGS_DX 96
#define REGS_SI 104
#define REGS_DI 112
#define REGS_ORIG_AX 120

/* The first four bytes of a path as the little-endian number they are in memory. */
#define HEAD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/*
 * A name that is not there is news only where the view may have hidden it. Programs look for hundreds of files that are nowhere,
 * nearly all below these folders, which user space would not tell of either: left out here, they cannot fill the ring.
 */
static int looked_up_by_habit(const void *path) {
  __u32 head = 0;
  if (bpf_probe_read_user(&head, sizeof head, path) < 0 || (head & 0xff) != '/') return 1;
  switch (head) {
  case HEAD('/', 'u', 's', 'r'):
  case HEAD('/', 'o', 'p', 't'):
  case HEAD('/', 'l', 'i', 'b'):
  case HEAD('/', 'b', 'i', 'n'):
  case HEAD('/', 's', 'b', 'i'):
  case HEAD('/', 's', 'y', 's'):
  case HEAD('/', 'p', 'r', 'o'):
  case HEAD('/', 'd', 'e', 'v'):
  case HEAD('/', 't', 'm', 'p'):
  case HEAD('/', 'r', 'u', 'n'):
  case HEAD('/', 'w', 'o', 'r'): return 1;
  }
  return 0;
}

SEC("raw_tracepoint/sys_exit")
int sys_exit(struct bpf_raw_tracepoint_args *ctx) {
  __u32 uid = (__u32)bpf_get_current_uid_gid();
  if (uid < SEEN_LOWEST_UID) return 0; /* people, services and root pay one comparison */
  __u32 *slot = bpf_map_lookup_elem(&sandboxes, &uid);
  if (!slot) return 0;
  const char *regs = (const char *)ctx->args[0];
  long ret = (long)ctx->args[1];
  __u64 nr = 0;
  bpf_probe_read_kernel(&nr, sizeof nr, regs + REGS_ORIG_AX);
  /* x32 numbers and nonsense share the last counter */
  __u32 call = nr < SEEN_CALLS ? (__u32)nr : SEEN_CALLS - 1;
  __u32 at = *slot * SEEN_CALLS + call;
  struct seen_count *count = bpf_map_lookup_elem(&counts, &at);
  if (!count) return 0;
  if (ret >= 0 || ret < -4095) {
    __sync_fetch_and_add(&count->done, 1);
    return 0;
  }
  int error = (int)-ret;
  int refused = error == EPERM || error == EACCES || error == EROFS;
  __sync_fetch_and_add(refused ? &count->refused : &count->failed, 1);
  if (!refused && error != ENOENT && error != ENETUNREACH) return 0;
  __u64 first = 0, second = 0, third = 0;
  bpf_probe_read_kernel(&first, sizeof first, regs + REGS_DI);
  bpf_probe_read_kernel(&second, sizeof second, regs + REGS_SI);
  bpf_probe_read_kernel(&third, sizeof third, regs + REGS_DX);
  if (error == ENOENT && looked_up_by_habit((const void *)first) && looked_up_by_habit((const void *)second)) return 0;
  struct seen_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    __u32 zero = 0;
    __u64 *lost = bpf_map_lookup_elem(&dropped, &zero);
    if (lost) __sync_fetch_and_add(lost, 1);
    return 0;
  }
  event->boottime_ns = bpf_ktime_get_boot_ns();
  event->uid = uid;
  event->pid = (__u32)(bpf_get_current_pid_tgid() >> 32);
  event->nr = (__s32)call;
  event->error = error;
  bpf_get_current_comm(event->comm, sizeof event->comm);
  event->args[0] = first;
  event->args[1] = second;
  event->args[2] = third;
  if (bpf_probe_read_user_str(event->first, sizeof event->first, (const void *)first) < 0) event->first[0] = 0;
  if (bpf_probe_read_user_str(event->second, sizeof event->second, (const void *)second) < 0) event->second[0] = 0;
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
  return 0;
}
char licence_of_program[] SEC("license") = "Dual MIT/GPL";
