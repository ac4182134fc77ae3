/* Loads the programs of seen.bpf.c, keeps their maps, hands out their events (Documentation/bpf/ringbuf.rst). */
#include "seen.h"
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "seen_btf.h"
#include "seen_calls.h"
#include "seen_program.h"

enum { RING_BYTES = 1 << 20, PROGRAM_MAX = 2048 };

enum { SLOTS, COUNTS, FILTERS, EVENTS };
static int maps[SEEN_MAP_FDS] = {-1, -1, -1, -1}, links[SEEN_LINK_FDS] = {-1, -1};
static const char *const map_names[SEEN_MAP_FDS] = {"slots", "counts", "filters", "events"};
static uint32_t slot_count, next_slot;
static uint64_t *slots = MAP_FAILED; /* by the low bits of the uid: uid << 32 | slot + 1 */
static bool *used; /* by slot */
static struct seen_count *counts = MAP_FAILED;
static struct sock_filter *filters = MAP_FAILED;
static unsigned long *consumer = MAP_FAILED, *producer = MAP_FAILED;

struct program {
  const char *tracepoint, *type;
  const uint64_t *code;
  size_t bytes;
  const struct seen_relocation *maps;
};
static const struct program direct[SEEN_LINK_FDS] = {
  {"sys_exit", "btf_trace_sys_exit", seen_exit_direct, sizeof seen_exit_direct, seen_exit_direct_maps},
  {"sched_process_exit", "btf_trace_sched_process_exit", seen_end_direct, sizeof seen_end_direct, seen_end_direct_maps},
};
static const struct program plain[SEEN_LINK_FDS] = {
  {"sys_exit", NULL, seen_exit_plain, sizeof seen_exit_plain, seen_exit_plain_maps},
  {"sched_process_exit", NULL, seen_end_plain, sizeof seen_end_plain, seen_end_plain_maps},
};

static int bpf(int command, union bpf_attr *attr) {
  return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int make_map(uint32_t type, uint32_t value, uint32_t entries, uint32_t flags, const char *name) {
  union bpf_attr attr = {.map_type = type, .key_size = value ? 4 : 0, .value_size = value, .max_entries = entries, .map_flags = flags};
  memcpy(attr.map_name, name, strnlen(name, BPF_OBJ_NAME_LEN - 1));
  return bpf(BPF_MAP_CREATE, &attr);
}

/* What seen.bpf.c reads of the kernel's own structures. */
static struct btf_member_place members[] = {
  {.name = "task_struct.fs"}, {.name = "task_struct.files"}, {.name = "files_struct.fdt"}, {.name = "fdtable.max_fds"}, {.name = "fdtable.fd"}, {.name = "file.f_path"},
  {.name = "fs_struct.pwd"}, {.name = "fs_struct.root"}, {.name = "path.mnt"}, {.name = "path.dentry"}, {.name = "dentry.d_parent"}, {.name = "dentry.d_name"}, {.name = "qstr.name"},
  {.name = "vfsmount.mnt_root"}, {.name = "mount.mnt"}, {.name = "mount.mnt_parent"}, {.name = "mount.mnt_mountpoint"},
};
enum { MEMBERS = sizeof members / sizeof *members };

/* 0 for all of them where one is not known: then no folder is told. */
static int32_t place_of_member(const char *name) {
  int32_t place = 0;
  for (int i = 0; i < MEMBERS; i++) {
    if (!members[i].known) return 0;
    if (strcmp(members[i].name, name) == 0) place = (int32_t)members[i].offset;
  }
  return place;
}

static int load(const struct program *program, uint32_t type) {
  struct bpf_insn code[PROGRAM_MAX];
  size_t length = program->bytes / sizeof *code;
  if (length > PROGRAM_MAX) {
    errno = E2BIG;
    return -1;
  }
  memcpy(code, program->code, program->bytes);
  for (const struct seen_relocation *one = program->maps; one->map; one++) {
    if (strchr(one->map, '.')) {
      code[one->at].imm = place_of_member(one->map);
      continue;
    }
    code[one->at].src_reg = BPF_PSEUDO_MAP_FD;
    for (int i = 0; i < SEEN_MAP_FDS; i++)
      if (strcmp(map_names[i], one->map) == 0) code[one->at].imm = maps[i];
  }
  union bpf_attr attr = {
    .prog_type = type ? BPF_PROG_TYPE_TRACING : BPF_PROG_TYPE_RAW_TRACEPOINT,
    .insns = (uint64_t)(uintptr_t)code,
    .insn_cnt = (uint32_t)length,
    .license = (uint64_t)(uintptr_t) "Dual MIT/GPL",
    .expected_attach_type = type ? BPF_TRACE_RAW_TP : 0,
    .attach_btf_id = type,
  };
  strcpy(attr.prog_name, "nemoclaw_seen");
  return bpf(BPF_PROG_LOAD, &attr);
}

static int attach(const struct program *program, uint32_t type) {
  int fd = load(program, type);
  if (fd < 0) return -1;
  union bpf_attr attr = {.raw_tracepoint = {.name = type ? 0 : (uint64_t)(uintptr_t)program->tracepoint, .prog_fd = (uint32_t)fd}};
  int link = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr), saved = errno;
  close(fd); /* the link keeps it */
  errno = saved;
  return link;
}

static void close_links(void) {
  for (int i = 0; i < SEEN_LINK_FDS; i++) {
    if (links[i] >= 0) close(links[i]);
    links[i] = -1;
  }
}

static int attach_all(const struct program *programs, const uint32_t *types) {
  for (int i = 0; i < SEEN_LINK_FDS; i++)
    if ((links[i] = attach(&programs[i], types ? types[i] : 0)) < 0) {
      int saved = errno;
      close_links();
      errno = saved;
      return -1;
    }
  return 0;
}

static int attach_best(void) {
  uint32_t types[SEEN_LINK_FDS];
  const char *const names[] = {direct[0].type, direct[1].type};
  if (btf_find(names, types, SEEN_LINK_FDS, members, MEMBERS) == 0 && types[0] && types[1] && attach_all(direct, types) == 0) return 0;
  return attach_all(plain, NULL);
}

/* What each map is made of. The number in the name is changed with the meaning of what stands in a map: another one's is not taken over. */
static void shape_of(int map, uint32_t *value, uint32_t *entries, char name[BPF_OBJ_NAME_LEN]) {
  const uint32_t values[] = {sizeof *slots, sizeof *counts, sizeof *filters, 0};
  const uint32_t lengths[] = {SEEN_PLACES, slot_count * SEEN_ROW, slot_count * SEEN_FILTER_MAX, RING_BYTES};
  *value = values[map];
  *entries = lengths[map];
  (void)snprintf(name, BPF_OBJ_NAME_LEN, "seen2_%s", map_names[map]);
}

static void *memory_of(int map) {
  uint32_t value, entries;
  char name[BPF_OBJ_NAME_LEN];
  shape_of(map, &value, &entries, name);
  void *memory = mmap(NULL, (size_t)value * entries, PROT_READ | PROT_WRITE, MAP_SHARED, maps[map], 0);
  /* Tens of thousands of pages, of which no child needs one: copying their table was most of what a fork cost (madvise(2)). */
  if (memory != MAP_FAILED) (void)madvise(memory, (size_t)value * entries, MADV_DONTFORK);
  return memory;
}

static int map_memory(void) {
  long page = sysconf(_SC_PAGESIZE);
  slots = memory_of(SLOTS);
  counts = memory_of(COUNTS);
  filters = memory_of(FILTERS);
  consumer = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, maps[EVENTS], 0);
  producer = mmap(NULL, (size_t)page + 2 * RING_BYTES, PROT_READ, MAP_SHARED, maps[EVENTS], page);
  used = calloc(slot_count, sizeof *used);
  if (consumer != MAP_FAILED) (void)madvise(consumer, (size_t)page, MADV_DONTFORK);
  if (producer != MAP_FAILED) (void)madvise(producer, (size_t)page + 2 * RING_BYTES, MADV_DONTFORK);
  if (!used || slots == MAP_FAILED || counts == MAP_FAILED || filters == MAP_FAILED || consumer == MAP_FAILED || producer == MAP_FAILED) return -1;
  for (uint32_t i = 0; i < SEEN_PLACES; i++)
    if ((uint32_t)slots[i] > 0 && (uint32_t)slots[i] <= slot_count) used[(uint32_t)slots[i] - 1] = true;
  return 0;
}

int seen_start(uint32_t given) {
  slot_count = given;
  for (int i = 0; i < SEEN_MAP_FDS; i++) {
    uint32_t value, entries;
    char name[BPF_OBJ_NAME_LEN];
    shape_of(i, &value, &entries, name);
    maps[i] = make_map(i == EVENTS ? BPF_MAP_TYPE_RINGBUF : BPF_MAP_TYPE_ARRAY, value, entries, i == EVENTS ? 0 : BPF_F_MMAPABLE, name);
    if (maps[i] < 0) goto failed;
  }
  if (map_memory() == 0 && attach_best() == 0) return 0;
failed:;
  int saved = errno;
  seen_stop();
  errno = saved;
  return -1;
}

static bool map_fits(int map) {
  uint32_t value, entries;
  char name[BPF_OBJ_NAME_LEN];
  struct bpf_map_info info = {0};
  union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)maps[map], .info_len = sizeof info, .info = (uint64_t)(uintptr_t)&info}};
  shape_of(map, &value, &entries, name);
  return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0 && info.value_size == value && info.max_entries == entries && strcmp(info.name, name) == 0;
}

int seen_adopt_maps(const int *fds, int count, uint32_t given) {
  slot_count = given;
  bool good = count == SEEN_MAP_FDS;
  for (int i = 0; i < count; i++) {
    if (i >= SEEN_MAP_FDS) close(fds[i]);
    else good = (maps[i] = fds[i], map_fits(i)) && good;
  }
  if (good && map_memory() == 0) return 0;
  seen_stop();
  return -1;
}

int seen_adopt_links(const int *fds, int count) {
  for (int i = 0; i < count && i < SEEN_LINK_FDS; i++) links[i] = fds[i];
  for (int i = SEEN_LINK_FDS; i < count; i++) close(fds[i]);
  return count == SEEN_LINK_FDS ? 0 : -1;
}

void seen_fds(int of_maps[SEEN_MAP_FDS], int of_links[SEEN_LINK_FDS]) {
  memcpy(of_maps, maps, sizeof maps);
  memcpy(of_links, links, sizeof links);
}

void seen_stop(void) {
  close_links();
  for (int i = 0; i < SEEN_MAP_FDS; i++) {
    if (maps[i] >= 0) close(maps[i]);
    maps[i] = -1;
  }
  long page = sysconf(_SC_PAGESIZE);
  if (slots != MAP_FAILED) munmap(slots, sizeof *slots * SEEN_PLACES);
  if (counts != MAP_FAILED) munmap(counts, sizeof *counts * slot_count * SEEN_ROW);
  if (filters != MAP_FAILED) munmap(filters, sizeof *filters * slot_count * SEEN_FILTER_MAX);
  if (consumer != MAP_FAILED) munmap(consumer, (size_t)page);
  if (producer != MAP_FAILED) munmap(producer, (size_t)page + 2 * RING_BYTES);
  free(used);
  used = NULL;
  slots = MAP_FAILED;
  counts = MAP_FAILED;
  filters = MAP_FAILED;
  consumer = producer = MAP_FAILED;
}

/* The one that was given longest ago; its former sandbox has long left the programs. */
static int64_t free_slot(void) {
  for (uint32_t i = 0; i < slot_count; i++) {
    uint32_t slot = (next_slot + i) % slot_count;
    if (used[slot]) continue;
    next_slot = slot + 1;
    return slot;
  }
  errno = ENOSPC;
  return -1;
}

static struct seen_count *row_of(uint32_t slot) { return counts + (size_t)slot * SEEN_ROW; }

static uint64_t *place_of(uid_t uid) { return &slots[uid & (SEEN_PLACES - 1)]; }

/* A sandbox of this uid, or none, stands at the place. */
static void clear(uid_t uid) {
  uint64_t *place = place_of(uid);
  uint32_t slot = (uint32_t)*place;
  __atomic_store_n(place, 0, __ATOMIC_RELEASE);
  if (slot > 0 && slot <= slot_count) used[slot - 1] = false;
}

int seen_add(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner, const struct sock_filter *filter, size_t length, bool told) {
  sandbox->counts = NULL;
  if (slots == MAP_FAILED || length > SEEN_FILTER_MAX || (*place_of(uid) != 0 && *place_of(uid) >> 32 != uid)) {
    errno = slots == MAP_FAILED ? EINVAL : length > SEEN_FILTER_MAX ? E2BIG : EEXIST;
    return -1;
  }
  clear(uid);
  int64_t slot = free_slot();
  if (slot < 0) return -1;
  struct seen_count *row = row_of((uint32_t)slot);
  struct sock_filter *program = filters + (size_t)slot * SEEN_FILTER_MAX;
  memset(row, 0, sizeof *row * SEEN_ROW);
  memset(program, 0, sizeof *program * SEEN_FILTER_MAX);
  if (filter) memcpy(program, filter, sizeof *program * length);
  for (uint32_t nr = 0; nr < SEEN_CALLS; nr++) {
    if (filter) row[nr].filter = (uint8_t)(nr == SEEN_OTHER ? FILTER_DEPENDS : seen_filter_of(filter, length, nr, &row[nr].leaf));
    const struct seen_call *call = nr < SEEN_OTHER ? seen_call((int)nr) : NULL;
    row[nr].told = told && call && call->kind != SEEN_LOOK;
  }
  *sandbox = (struct seen_sandbox){.counts = row, .uid = uid};
  seen_meta(sandbox)->owner = owner;
  used[slot] = true;
  __atomic_store_n(place_of(uid), (uint64_t)uid << 32 | ((uint64_t)slot + 1), __ATOMIC_RELEASE);
  return 0;
}

int seen_find(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner) {
  sandbox->counts = NULL;
  if (slots == MAP_FAILED || *place_of(uid) >> 32 != uid || (uint32_t)*place_of(uid) == 0 || (uint32_t)*place_of(uid) > slot_count) return -1;
  *sandbox = (struct seen_sandbox){.counts = row_of((uint32_t)*place_of(uid) - 1), .uid = uid};
  if (seen_meta(sandbox)->owner == owner) return 0;
  sandbox->counts = NULL;
  return -1;
}

void seen_remove(struct seen_sandbox *sandbox) {
  if (sandbox->counts) clear(sandbox->uid);
  sandbox->counts = NULL;
}

struct seen_meta *seen_meta(const struct seen_sandbox *sandbox) {
  return (struct seen_meta *)&sandbox->counts[SEEN_META];
}

static uint64_t without(uint64_t all, uint64_t part) { return all > part ? all - part : 0; }

struct seen_reading seen_read(const struct seen_sandbox *sandbox, int nr) {
  const struct seen_count *c = &sandbox->counts[nr];
  uint64_t approved = __atomic_load_n(&c->approved, __ATOMIC_RELAXED), held_denied = __atomic_load_n(&c->held_denied, __ATOMIC_RELAXED);
  /* A denied one came back with EPERM; an approved one with what openshelld was told when it did it, which is success but for rare ends. */
  return (struct seen_reading){
    .done = without(__atomic_load_n(&c->done, __ATOMIC_RELAXED), approved),
    .denied = without(__atomic_load_n(&c->denied, __ATOMIC_RELAXED), held_denied),
    .failed = __atomic_load_n(&c->failed, __ATOMIC_RELAXED),
    .filtered = __atomic_load_n(&c->filtered, __ATOMIC_RELAXED),
    .interrupted = __atomic_load_n(&c->interrupted, __ATOMIC_RELAXED),
    .held_denied = held_denied,
    .approved = approved,
  };
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
