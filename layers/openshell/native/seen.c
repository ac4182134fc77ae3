/* Loads the programs of seen.bpf.c, keeps their maps, hands out their events (Documentation/bpf/ringbuf.rst, map_of_maps.rst). */
#include "seen.h"
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "seen_btf.h"
#include "seen_calls.h"
#include "seen_program.h"

enum { RING_BYTES = 1 << 20, MARK_OF_FIRST_UID = 0x5eed5eed, PROGRAM_MAX = 2048 };

enum { SANDBOXES, FILTERS, EVENTS };
static int maps[SEEN_MAP_FDS] = {-1, -1, -1}, links[SEEN_LINK_FDS] = {-1, -1};
static const char *const map_names[SEEN_MAP_FDS] = {"sandboxes", "filters", "events"};
static uid_t first_uid;
static unsigned long *consumer = MAP_FAILED, *producer = MAP_FAILED;
static const size_t counts_bytes = sizeof(struct seen_count) * (SEEN_CALLS + 1);

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

static int make_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags, int inner, const char *name) {
  union bpf_attr attr = {.map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags, .inner_map_fd = (uint32_t)(inner < 0 ? 0 : inner)};
  memcpy(attr.map_name, name, strnlen(name, BPF_OBJ_NAME_LEN - 1));
  return bpf(BPF_MAP_CREATE, &attr);
}

static int set_map(int map, uint32_t key, const void *value) {
  union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uint64_t)(uintptr_t)&key, .value = (uint64_t)(uintptr_t)value, .flags = BPF_ANY};
  return bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

static int counts_map(void) { return make_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct seen_count), SEEN_CALLS + 1, BPF_F_MMAPABLE, -1, "seen_counts"); }
static int filter_map(size_t length) { return make_map(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct sock_filter), (uint32_t)length, BPF_F_INNER_MAP, -1, "seen_filter"); }

static int load(const struct program *program, uint32_t type) {
  struct bpf_insn code[PROGRAM_MAX];
  size_t length = program->bytes / sizeof *code;
  if (length > PROGRAM_MAX) {
    errno = E2BIG;
    return -1;
  }
  memcpy(code, program->code, program->bytes);
  for (const struct seen_relocation *one = program->maps; one->map; one++) {
    code[one->at].src_reg = BPF_PSEUDO_MAP_FD;
    for (int i = 0; i < SEEN_MAP_FDS; i++)
      if (strcmp(map_names[i], one->map) == 0) code[one->at].imm = maps[i];
  }
  for (size_t i = 0; i + 1 < length; i++)
    if (code[i].code == (BPF_LD | BPF_IMM | BPF_DW) && code[i].imm == MARK_OF_FIRST_UID && code[i + 1].imm == MARK_OF_FIRST_UID) {
      code[i].imm = (int)first_uid;
      code[i + 1].imm = 0;
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
  if (btf_typedefs(names, types, SEEN_LINK_FDS) == 0 && types[0] && types[1] && attach_all(direct, types) == 0) return 0;
  return attach_all(plain, NULL);
}

static int map_ring(void) {
  long page = sysconf(_SC_PAGESIZE);
  consumer = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, maps[EVENTS], 0);
  producer = mmap(NULL, (size_t)page + 2 * RING_BYTES, PROT_READ, MAP_SHARED, maps[EVENTS], page);
  return consumer == MAP_FAILED || producer == MAP_FAILED ? -1 : 0;
}

/* The number in the programs cannot be read back: the table's name says which first uid they were made for. */
static const char *table_name(char name[BPF_OBJ_NAME_LEN]) {
  (void)snprintf(name, BPF_OBJ_NAME_LEN, "seen_%u", first_uid);
  return name;
}

int seen_start(uid_t first, uid_t count) {
  char table[BPF_OBJ_NAME_LEN];
  first_uid = first;
  uint32_t places = count > SEEN_UIDS_MAX ? SEEN_UIDS_MAX : count;
  int counts = counts_map(), filter = filter_map(1);
  if (counts >= 0 && filter >= 0) {
    maps[SANDBOXES] = make_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, places, 0, counts, table_name(table));
    maps[FILTERS] = make_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, places, 0, filter, "seen_filters");
    maps[EVENTS] = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES, 0, -1, "seen_events");
  }
  int saved = errno;
  if (counts >= 0) close(counts);
  if (filter >= 0) close(filter);
  errno = saved;
  if (maps[SANDBOXES] >= 0 && maps[FILTERS] >= 0 && maps[EVENTS] >= 0 && map_ring() == 0 && attach_best() == 0) return 0;
  saved = errno;
  seen_stop();
  errno = saved;
  return -1;
}

static bool map_is(int fd, uint32_t type, uint32_t value, uint32_t entries, const char *name) {
  struct bpf_map_info info = {0};
  union bpf_attr attr = {.info = {.bpf_fd = (uint32_t)fd, .info_len = sizeof info, .info = (uint64_t)(uintptr_t)&info}};
  return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) == 0 && info.type == type && info.value_size == value && info.max_entries == entries && strcmp(info.name, name) == 0;
}

int seen_adopt_maps(const int *fds, int count, uid_t first, uid_t uids) {
  uint32_t places = uids > SEEN_UIDS_MAX ? SEEN_UIDS_MAX : uids;
  for (int i = 0; i < count && i < SEEN_MAP_FDS; i++) maps[i] = fds[i];
  for (int i = SEEN_MAP_FDS; i < count; i++) close(fds[i]);
  first_uid = first;
  char table[BPF_OBJ_NAME_LEN];
  if (count == SEEN_MAP_FDS && map_is(maps[SANDBOXES], BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, places, table_name(table)) && map_is(maps[FILTERS], BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, places, "seen_filters") &&
      map_is(maps[EVENTS], BPF_MAP_TYPE_RINGBUF, 0, RING_BYTES, "seen_events") && map_ring() == 0)
    return 0;
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
  if (consumer != MAP_FAILED) munmap(consumer, (size_t)page);
  if (producer != MAP_FAILED) munmap(producer, (size_t)page + 2 * RING_BYTES);
  consumer = producer = MAP_FAILED;
}

static int place_filter(uint32_t place, const struct sock_filter *filter, size_t length) {
  int map = filter_map(length);
  if (map < 0) return -1;
  int result = 0;
  for (uint32_t i = 0; i < length && result == 0; i++) result = set_map(map, i, &filter[i]);
  if (result == 0) result = set_map(maps[FILTERS], place, &map);
  close(map);
  return result;
}

static void forget_place(int map, uint32_t place) {
  union bpf_attr attr = {.map_fd = (uint32_t)map, .key = (uint64_t)(uintptr_t)&place};
  if (map >= 0) (void)bpf(BPF_MAP_DELETE_ELEM, &attr);
}

int seen_add(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner, const struct sock_filter *filter, size_t length, bool told) {
  uint32_t place = uid - first_uid;
  int map = maps[SANDBOXES] >= 0 ? counts_map() : -1;
  if (map < 0) return -1;
  *sandbox = (struct seen_sandbox){.uid = uid, .counts = mmap(NULL, counts_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0)};
  int result = sandbox->counts == MAP_FAILED ? -1 : 0;
  forget_place(maps[FILTERS], place);
  if (result == 0) {
    for (uint32_t nr = 0; nr < SEEN_CALLS; nr++) {
      struct seen_count *count = &sandbox->counts[nr];
      if (filter) count->filter = (uint8_t)(nr == SEEN_OTHER ? FILTER_DEPENDS : seen_filter_of(filter, length, nr, &count->leaf));
      count->told = told && seen_call((int)nr) != NULL;
    }
    seen_meta(sandbox)->owner = owner;
    if (filter) result = place_filter(place, filter, length);
  }
  if (result == 0) result = set_map(maps[SANDBOXES], place, &map);
  int saved = errno;
  close(map); /* the table keeps it, and the mapping */
  if (result < 0 && sandbox->counts != MAP_FAILED) munmap(sandbox->counts, counts_bytes);
  if (result < 0) sandbox->counts = NULL;
  errno = saved;
  return result;
}

int seen_find(struct seen_sandbox *sandbox, uid_t uid, uint64_t owner) {
  uint32_t place = uid - first_uid, id = 0;
  union bpf_attr attr = {.map_fd = (uint32_t)maps[SANDBOXES], .key = (uint64_t)(uintptr_t)&place, .value = (uint64_t)(uintptr_t)&id};
  if (maps[SANDBOXES] < 0 || bpf(BPF_MAP_LOOKUP_ELEM, &attr) < 0) return -1;
  union bpf_attr by_id = {.map_id = id};
  int map = bpf(BPF_MAP_GET_FD_BY_ID, &by_id);
  if (map < 0) return -1;
  *sandbox = (struct seen_sandbox){.uid = uid, .counts = mmap(NULL, counts_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0)};
  close(map);
  if (sandbox->counts == MAP_FAILED) {
    sandbox->counts = NULL;
    return -1;
  }
  if (seen_meta(sandbox)->owner == owner) return 0;
  munmap(sandbox->counts, counts_bytes);
  sandbox->counts = NULL;
  return -1;
}

void seen_remove(struct seen_sandbox *sandbox) {
  if (!sandbox->counts) return;
  forget_place(maps[SANDBOXES], sandbox->uid - first_uid);
  forget_place(maps[FILTERS], sandbox->uid - first_uid);
  munmap(sandbox->counts, counts_bytes);
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
