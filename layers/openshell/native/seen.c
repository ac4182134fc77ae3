/* Loads the program of seen.bpf.c, keeps its maps, hands out its events (Documentation/bpf/ringbuf.rst). */
#include "seen.h"
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "seen_program.h"

enum { RING_BYTES = 1 << 20 };

static int sandboxes_fd = -1, counts_fd = -1, events_fd = -1, dropped_fd = -1, program_fd = -1, link_fd = -1;
static struct seen_count *counts = MAP_FAILED;
static unsigned long *consumer = MAP_FAILED, *producer = MAP_FAILED;
static const size_t counts_bytes = sizeof(struct seen_count) * SEEN_SLOTS * SEEN_CALLS;

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int make_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags, const char *name) {
  union bpf_attr attr = {.map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags};
  strncpy(attr.map_name, name, BPF_OBJ_NAME_LEN - 1);
  return bpf(BPF_MAP_CREATE, &attr);
}

static int map_named(const char *name) {
  if (strcmp(name, "sandboxes") == 0) return sandboxes_fd;
  if (strcmp(name, "counts") == 0) return counts_fd;
  if (strcmp(name, "events") == 0) return events_fd;
  return strcmp(name, "dropped") == 0 ? dropped_fd : -1;
}

static int load_program(void) {
  struct bpf_insn code[sizeof seen_program / sizeof *seen_program];
  memcpy(code, seen_program, sizeof seen_program);
  for (size_t i = 0; i < sizeof seen_program_maps / sizeof *seen_program_maps; i++) {
    struct bpf_insn *insn = &code[seen_program_maps[i].at];
    insn->src_reg = BPF_PSEUDO_MAP_FD;
    insn->imm = map_named(seen_program_maps[i].map);
  }
  union bpf_attr attr = {
    .prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
    .insns = (uint64_t)(uintptr_t)code,
    .insn_cnt = sizeof seen_program / sizeof *seen_program,
    .license = (uint64_t)(uintptr_t) "Dual MIT/GPL",
  };
  strcpy(attr.prog_name, "nemoclaw_seen");
  return bpf(BPF_PROG_LOAD, &attr);
}

static int map_memory(void) {
  long page = sysconf(_SC_PAGESIZE);
  counts = mmap(NULL, counts_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, counts_fd, 0);
  consumer = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, events_fd, 0);
  producer = mmap(NULL, (size_t)page + 2 * RING_BYTES, PROT_READ, MAP_SHARED, events_fd, page);
  return counts == MAP_FAILED || consumer == MAP_FAILED || producer == MAP_FAILED ? -1 : 0;
}

int seen_start(void) {
  sandboxes_fd = make_map(BPF_MAP_TYPE_HASH, 4, 4, SEEN_SLOTS, 0, "sandboxes");
  counts_fd = make_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct seen_count), SEEN_SLOTS * SEEN_CALLS, BPF_F_MMAPABLE, "counts");
  events_fd = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES, 0, "events");
  dropped_fd = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0, "dropped");
  if (sandboxes_fd >= 0 && counts_fd >= 0 && events_fd >= 0 && dropped_fd >= 0 && map_memory() == 0 && (program_fd = load_program()) >= 0) {
    union bpf_attr attr = {.raw_tracepoint = {.name = (uint64_t)(uintptr_t) "sys_exit", .prog_fd = (uint32_t)program_fd}};
    link_fd = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
    if (link_fd >= 0) return 0;
  }
  int saved = errno;
  seen_stop();
  errno = saved;
  return -1;
}

void seen_stop(void) {
  int *fds[] = {&link_fd, &program_fd, &sandboxes_fd, &counts_fd, &events_fd, &dropped_fd};
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
    if (*fds[i] >= 0) close(*fds[i]);
    *fds[i] = -1;
  }
  long page = sysconf(_SC_PAGESIZE);
  if (counts != MAP_FAILED) munmap(counts, counts_bytes);
  if (consumer != MAP_FAILED) munmap(consumer, (size_t)page);
  if (producer != MAP_FAILED) munmap(producer, (size_t)page + 2 * RING_BYTES);
  counts = MAP_FAILED;
  consumer = producer = MAP_FAILED;
}

int seen_add(uid_t uid, uint32_t slot) {
  if (counts == MAP_FAILED || slot >= SEEN_SLOTS || uid < SEEN_LOWEST_UID) {
    errno = EINVAL;
    return -1;
  }
  memset(counts + (size_t)slot * SEEN_CALLS, 0, sizeof(struct seen_count) * SEEN_CALLS);
  union bpf_attr attr = {.map_fd = (uint32_t)sandboxes_fd, .key = (uint64_t)(uintptr_t)&uid, .value = (uint64_t)(uintptr_t)&slot, .flags = BPF_ANY};
  return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

void seen_remove(uid_t uid) {
  union bpf_attr attr = {.map_fd = (uint32_t)sandboxes_fd, .key = (uint64_t)(uintptr_t)&uid};
  if (sandboxes_fd >= 0) bpf(BPF_MAP_DELETE_ELEM, &attr);
}

void seen_poll(void (*take)(const struct seen_event *)) {
  if (consumer == MAP_FAILED) return;
  const char *data = (const char *)producer + sysconf(_SC_PAGESIZE);
  unsigned long at = *consumer, end = __atomic_load_n(producer, __ATOMIC_ACQUIRE);
  while (at < end) {
    const uint32_t *header = (const uint32_t *)(data + (at & (RING_BYTES - 1)));
    uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
    if (length & BPF_RINGBUF_BUSY_BIT) break;
    if (!(length & BPF_RINGBUF_DISCARD_BIT)) take((const struct seen_event *)(header + 2));
    at += ((length & ~BPF_RINGBUF_DISCARD_BIT) + BPF_RINGBUF_HDR_SZ + 7) & ~7ul;
    __atomic_store_n(consumer, at, __ATOMIC_RELEASE);
  }
}

const struct seen_count *seen_counts(uint32_t slot) {
  return counts == MAP_FAILED || slot >= SEEN_SLOTS ? NULL : counts + (size_t)slot * SEEN_CALLS;
}

uint64_t seen_dropped(void) {
  uint32_t zero = 0;
  uint64_t value = 0;
  union bpf_attr attr = {.map_fd = (uint32_t)dropped_fd, .key = (uint64_t)(uintptr_t)&zero, .value = (uint64_t)(uintptr_t)&value};
  if (dropped_fd >= 0) bpf(BPF_MAP_LOOKUP_ELEM, &attr);
  return value;
}
