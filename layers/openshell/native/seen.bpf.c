/*
 * Sees every system call of the sandboxes at its exit (calls that seccomp refuses never reach sys_enter), and the end of every task.
 * Identity is the host uid, which belongs to one sandbox and which an agent without capabilities cannot change.
 * Compiled by seen-program.sh into seen_program.h, twice: with DIRECT the registers are read without a helper, which needs the kernel's BTF.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define EPERM 1
#define ENOENT 2
#define EACCES 13
#define EBUSY 16
#define EROFS 30
#define ENOSYS 38
#define ENETUNREACH 101
#define ECONNREFUSED 111
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define NR_OPEN 2
#define NR_RT_SIGRETURN 15
#define NR_CONNECT 42
#define NR_SENDTO 44
#define NR_CLONE 56
#define NR_VFORK 58
#define NR_EXIT 60
#define NR_RENAME 82
#define NR_MKDIR 83
#define NR_CREAT 85
#define NR_LINK 86
#define NR_SYMLINK 88
#define NR_MKNOD 133
#define NR_EXIT_GROUP 231
#define NR_OPENAT 257
#define NR_MKDIRAT 258
#define NR_MKNODAT 259
#define NR_FCHOWNAT 260
#define NR_NEWFSTATAT 262
#define NR_UNLINKAT 263
#define NR_RENAMEAT 264
#define NR_LINKAT 265
#define NR_FCHMODAT 268
#define NR_UTIMENSAT 280
#define NR_RENAMEAT2 316
#define NR_STATX 332
#define NR_CLONE3 435
#define NR_OPENAT2 437
#define O_CREAT 0100
#define AT_FDCWD -100
#define AF_INET 2
#define AF_INET6 10
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __s32 int32_t;
typedef __u64 uint64_t;
typedef unsigned int uid_t;
#define _STDINT_H
#define _SYS_TYPES_H
#define _STDBOOL_H
#define bool _Bool
#include "seen.h"

/* Map descriptors are patched in by the loader, by name. */
/* Arrays that openshelld maps, since changing a table of maps waits for every processor (8 to 30 ms). How long each one is the loader says. */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SEEN_PLACES); __type(key, __u32); __type(value, __u64); } slots SEC(".maps"); /* uid << 32 | slot + 1; 0: none */
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SEEN_ROW); __type(key, __u32); __type(value, struct seen_count); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, SEEN_FILTER_MAX); __type(key, __u32); __type(value, __u64); } filters SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } events SEC(".maps");

/* struct pt_regs of x86-64, the members used; the layout is kernel ABI (arch/x86/include/asm/ptrace.h). */
#define REGS_R9 64
#define REGS_R8 72
#define REGS_R10 56
#define REGS_DX 96
#define REGS_SI 104
#define REGS_DI 112
#define REGS_ORIG_AX 120

#ifdef DIRECT
#define REG(at) (*(const __u64 *)(regs + (at)))
#else
static __always_inline __u64 reg_at(const char *from) {
  __u64 value = 0;
  bpf_probe_read_kernel(&value, sizeof value, from);
  return value;
}
#define REG(at) reg_at(regs + (at))
#endif

/* The first four bytes of a path as the little-endian number they are in memory. */
#define HEAD(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/*
 * A name that is not there is news only where the view may have hidden it. Programs look for hundreds of files that are nowhere,
 * nearly all below these folders, which user space would not tell of either: left out here, they cannot fill the ring.
 */
#define CLIMBS_WITHIN 16
/* "/.." right behind such a folder's name: the path leads out of it. Programs that mean what is in it write that later, if at all. */
static __always_inline int climbs_out(const void *path) {
  char text[CLIMBS_WITHIN] = {0};
  if (bpf_probe_read_user_str(text, sizeof text, path) < 0) return 0;
  for (int i = 3; i < CLIMBS_WITHIN - 2; i++)
    if (text[i] == '/' && text[i + 1] == '.' && text[i + 2] == '.') return 1;
  return 0;
}

/* `makes`: nobody makes a name by habit where its folder is not. */
static __always_inline int looked_up_by_habit(const void *path, int makes) {
  __u32 head = 0;
  if (bpf_probe_read_user(&head, sizeof head, path) < 0 || (head & 0xff) != '/') return 1;
  if (makes) return 0;
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
  case HEAD('/', 'w', 'o', 'r'): return !climbs_out(path);
  }
  return 0;
}

static __always_inline int has_two_names(__u32 call) { return call == NR_RENAMEAT || call == NR_RENAMEAT2 || call == NR_LINKAT; }

static __always_inline int makes_a_name(__u32 call, const __u64 *args) {
  switch (call) {
  case NR_OPEN: return (args[1] & O_CREAT) != 0;
  case NR_OPENAT: return (args[2] & O_CREAT) != 0;
  case NR_RENAME:
  case NR_MKDIR:
  case NR_CREAT:
  case NR_LINK:
  case NR_SYMLINK:
  case NR_MKNOD:
  case NR_MKDIRAT:
  case NR_MKNODAT: return 1;
  }
  return has_two_names(call);
}

/* The address that a call names; NULL: it is no call of a socket. */
static __always_inline const char *address_of(__u32 call, const __u64 *args) {
  return (const char *)(call == NR_CONNECT ? args[1] : call == NR_SENDTO ? args[4] : 0);
}

static __always_inline int on_loopback(const char *address) {
  __u64 head = 0;
  if (!address || bpf_probe_read_user(&head, sizeof head, address) < 0) return 0;
  return (__u16)head == AF_INET6 || ((__u16)head == AF_INET && (head >> 32 & 0xff) == 127);
}

#ifdef DIRECT
/* Where a member stands in its struct: the loader puts the number in, from the kernel's own description (seen_btf.c). All 0: it does not tell. */
#define MEMBER(name, of) extern const char name[] __asm__(of) __attribute__((weak))
MEMBER(task_fs, "task_struct.fs");
MEMBER(task_files, "task_struct.files");
MEMBER(files_fdt, "files_struct.fdt");
MEMBER(fdt_max, "fdtable.max_fds");
MEMBER(fdt_fd, "fdtable.fd");
MEMBER(file_path, "file.f_path");
MEMBER(fs_pwd, "fs_struct.pwd");
MEMBER(fs_root, "fs_struct.root");
MEMBER(path_mnt, "path.mnt");
MEMBER(path_dentry, "path.dentry");
MEMBER(dentry_parent, "dentry.d_parent");
MEMBER(dentry_name, "dentry.d_name");
MEMBER(qstr_name, "qstr.name");
MEMBER(mnt_root, "vfsmount.mnt_root");
MEMBER(mount_mnt, "mount.mnt");
MEMBER(mount_parent, "mount.mnt_parent");
MEMBER(mount_point, "mount.mnt_mountpoint");

static __always_inline __u64 word(__u64 base, const char *member) {
  __u64 value = 0;
  bpf_probe_read_kernel(&value, sizeof value, (const void *)(base + (__u64)member));
  return value;
}

static __always_inline int folder_argument(__u32 call, const __u64 *args) {
  switch (call) {
  case NR_OPENAT:
  case NR_MKDIRAT:
  case NR_MKNODAT:
  case NR_FCHOWNAT:
  case NR_NEWFSTATAT:
  case NR_UNLINKAT:
  case NR_RENAMEAT:
  case NR_LINKAT:
  case NR_FCHMODAT:
  case NR_UTIMENSAT:
  case NR_RENAMEAT2:
  case NR_STATX:
  case NR_OPENAT2: return (int)args[0];
  }
  return AT_FDCWD;
}

#define FOLDER_STEPS 40
#define FOLDER_PART 64
#define FOLDER_ROOM 128 /* and one part more: SEEN_PATH */
/* The folder that a relative name begins at: the process may be gone when user space looks. Its names, innermost first, up to the process's root. */
static __always_inline void tell_folder(struct seen_event *event, int fd) {
  __u64 task = bpf_get_current_task(), used = 0;
  if (!(__u64)task_fs) return;
  __u64 fs = word(task, task_fs), at = fs + (__u64)fs_pwd;
  if (fd != AT_FDCWD) {
    __u64 table = word(word(task, task_files), files_fdt);
    if (fd < 0 || (__u32)fd >= (__u32)word(table, fdt_max)) return;
    at = word(word(table, fdt_fd) + 8 * (__u64)(__u32)fd, 0);
    if (!at) return;
    at += (__u64)file_path;
  }
  __u64 d = word(at, path_dentry), mnt = word(at, path_mnt);
  __u64 root = word(fs + (__u64)fs_root, path_dentry), root_mnt = word(fs + (__u64)fs_root, path_mnt);
  __u32 parts = 1;
  for (int i = 0; i < FOLDER_STEPS; i++) {
    if (d == root && mnt == root_mnt) {
      event->folder_parts = parts;
      return;
    }
    if (d == word(mnt, mnt_root)) {
      __u64 mount = mnt - (__u64)mount_mnt, above = word(mount, mount_parent);
      if (above == mount) return;
      d = word(mount, mount_point);
      mnt = above + (__u64)mount_mnt;
      continue;
    }
    __u64 parent = word(d, dentry_parent);
    if (parent == d || used >= FOLDER_ROOM) return;
    long n = bpf_probe_read_kernel_str(event->folder + (used & (FOLDER_ROOM - 1)), FOLDER_PART, (const void *)word(d + (__u64)dentry_name, qstr_name));
    if (n <= 1 || n >= FOLDER_PART) return;
    used += n;
    parts++;
    d = parent;
  }
}
#endif

/* The classic instructions that our filters are made of (linux/filter.h). */
#define CODE_LOAD 0x20
#define CODE_AND 0x54
#define CODE_JUMP 0x05
#define CODE_EQUAL 0x15
#define CODE_GREATER_EQUAL 0x35
#define CODE_RETURN 0x06
#define RETURNS_ALLOW 0x7fff0000
#define RETURNS_NOTIFY 0x7fc00000
#define FILTER_STEPS 64

/* What the sandbox's own filter said of this call: it runs again, over the same registers. Only after an error that it may have made. */
static __always_inline int filter_says(__u32 slot, __u32 pc, __u32 nr, const __u64 *args) {
  __u32 a = nr;
  for (int i = 0; i < FILTER_STEPS; i++) {
    __u32 at = slot * SEEN_FILTER_MAX + (pc & (SEEN_FILTER_MAX - 1));
    __u64 *word = bpf_map_lookup_elem(&filters, &at);
    if (!word) return FILTER_PASSES;
    __u64 instruction = *word;
    __u32 code = instruction & 0xffff, k = instruction >> 32, go = 0;
    __u32 yes = instruction >> 16 & 0xff, no = instruction >> 24 & 0xff;
    if (code == CODE_RETURN) return k == RETURNS_ALLOW ? FILTER_PASSES : k == RETURNS_NOTIFY ? FILTER_NOTIFIES : FILTER_REFUSES;
    if (code == CODE_LOAD) {
      /* struct seccomp_data: nr, arch, instruction pointer, six arguments */
      if (k == 0) a = nr;
      else if (k == 4) a = 0xc000003e; /* AUDIT_ARCH_X86_64: who comes by another way is killed */
      else if (k >= 16 && k < 64) a = (__u32)(args[(k - 16) >> 3 & 7] >> (k & 4 ? 32 : 0));
      else return FILTER_PASSES;
    } else if (code == CODE_AND) a &= k;
    else if (code == CODE_JUMP) go = k;
    else if (code == CODE_EQUAL) go = a == k ? yes : no;
    else if (code == CODE_GREATER_EQUAL) go = a >= k ? yes : no;
    else return FILTER_PASSES;
    pc = pc + 1 + go;
  }
  return FILTER_PASSES;
}

static __always_inline struct seen_count *count_of(__u32 slot, __u32 place) {
  __u32 at = slot * SEEN_ROW + place;
  return bpf_map_lookup_elem(&counts, &at);
}

/* The caller's slot, counted from 1; 0: it is of no sandbox. */
static __always_inline __u32 slot_of(__u32 uid) {
  __u32 place = uid & (SEEN_PLACES - 1);
  __u64 *slot = bpf_map_lookup_elem(&slots, &place);
  return slot && *slot >> 32 == uid ? (__u32)*slot : 0;
}

static __always_inline void tell(__u32 slot, __u32 uid, __u32 call, int error, __u32 verdict, const __u64 *args) {
  struct seen_meta *meta = (struct seen_meta *)count_of(slot, SEEN_META);
  if (!meta) return;
  __u64 now = bpf_ktime_get_boot_ns();
  if (now - meta->window >= SEEN_WINDOW_NS) {
    meta->window = now;
    meta->window_events = 0;
  }
  if (meta->window_events >= SEEN_WINDOW_EVENTS) {
    __sync_fetch_and_add(&meta->withheld, 1);
    return;
  }
  __sync_fetch_and_add(&meta->window_events, 1);
  struct seen_event *event = bpf_ringbuf_reserve(&events, sizeof *event, 0);
  if (!event) {
    __sync_fetch_and_add(&meta->ring_full, 1);
    return;
  }
  event->boottime_ns = now;
  event->owner = meta->owner;
  event->uid = uid;
  event->pid = (__u32)(bpf_get_current_pid_tgid() >> 32);
  event->nr = (__s32)call;
  event->error = error;
  event->verdict = verdict;
  event->folder_parts = 0;
  bpf_get_current_comm(event->comm, sizeof event->comm);
  event->args[0] = args[0];
  event->args[1] = args[1];
  event->args[2] = args[2];
  const char *address = address_of(call, args);
  if (address) {
    /* A whole IPv6 address, or what a shorter one has of it; then what would be a Unix socket's name. */
    if (bpf_probe_read_user(event->first, SEEN_ADDRESS, address) < 0 && bpf_probe_read_user(event->first, 16, address) < 0) event->first[0] = event->first[1] = 0;
    if (bpf_probe_read_user_str(event->second, sizeof event->second, address + 2) < 0) event->second[0] = 0;
  } else {
    if (bpf_probe_read_user_str(event->first, sizeof event->first, (const void *)args[has_two_names(call) ? 3 : 0]) < 0) event->first[0] = 0;
    if (bpf_probe_read_user_str(event->second, sizeof event->second, (const void *)args[1]) < 0) event->second[0] = 0;
  }
#ifdef DIRECT
  if (verdict != SEEN_DONE && verdict != SEEN_FILTERED) tell_folder(event, folder_argument(call, args));
#endif
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

#ifdef DIRECT
SEC("tp_btf/sys_exit")
#else
SEC("raw_tracepoint/sys_exit")
#endif
int sys_exit(__u64 *ctx) {
  __u32 uid = (__u32)bpf_get_current_uid_gid(), slot = slot_of(uid);
  if (!slot) return 0; /* whoever is no sandbox leaves here */
  slot--;
  const char *regs = (const char *)ctx[0];
  long ret = (long)ctx[1];
  __u64 nr = REG(REGS_ORIG_AX);
  /* Returning from a signal handler puts -1 there (arch/x86/kernel/signal_64.c), and as result what the interrupted code had in the register. */
  __u32 call = nr < SEEN_OTHER ? (__u32)nr : nr == ~0ull ? NR_RT_SIGRETURN : SEEN_OTHER;
  struct seen_count *count = count_of(slot, call);
  if (!count) return 0;
  int success = ret >= 0 || ret < -4095 || call == NR_RT_SIGRETURN;
  if (success) {
    /* The new task leaves the call as well, with 0; the one that made it never gets 0. */
    if (ret == 0 && ((call >= NR_CLONE && call <= NR_VFORK) || call == NR_CLONE3)) return 0;
    __sync_fetch_and_add(&count->done, 1);
    if (!count->told) return 0;
  }
  int error = success ? 0 : (int)-ret;
  __u64 args[8] = {REG(REGS_DI), REG(REGS_SI), REG(REGS_DX), REG(REGS_R10), REG(REGS_R8), REG(REGS_R9)};
  if (success) {
    tell(slot, uid, call, 0, SEEN_DONE, args);
    return 0;
  }
  if (error == ERESTARTSYS || error == ERESTARTNOINTR || error == ERESTARTNOHAND || error == ERESTART_RESTARTBLOCK) {
    __sync_fetch_and_add(&count->interrupted, 1);
    return 0;
  }
  if (error == EPERM || error == ENOSYS) {
    int says = count->filter;
    if (says == FILTER_DEPENDS) says = filter_says(slot, count->leaf, (__u32)nr, args);
    if (says == FILTER_REFUSES || (says == FILTER_NOTIFIES && !count->asked)) {
      __sync_fetch_and_add(&count->filtered, 1);
      /* What is absent is asked for by habit; what the shim refuses the shim tells. */
      if (error == EPERM && says == FILTER_REFUSES) tell(slot, uid, call, error, SEEN_FILTERED, args);
      return 0;
    }
  }
  int denied = error == EPERM || error == EACCES || error == EROFS;
  __sync_fetch_and_add(denied ? &count->denied : &count->failed, 1);
  const char *address = address_of(call, args);
  if (!denied && error != ENOENT && error != EBUSY && error != ENETUNREACH && !(error == ECONNREFUSED && on_loopback(address))) return 0;
  if (error == ENOENT && !address) {
    int makes = makes_a_name(call, args);
    if (looked_up_by_habit((const void *)args[has_two_names(call) ? 3 : 0], makes) && looked_up_by_habit((const void *)args[1], makes)) return 0;
  }
  tell(slot, uid, call, error, denied ? SEEN_DENIED : SEEN_FAILED, args);
  return 0;
}

/* Every task's end; exit and exit_group, which never come back, are counted here. */
#ifdef DIRECT
SEC("tp_btf/sched_process_exit")
#else
SEC("raw_tracepoint/sched_process_exit")
#endif
int task_exit(__u64 *ctx) {
  __u32 slot = slot_of((__u32)bpf_get_current_uid_gid());
  if (!slot) return 0;
  slot--;
  struct seen_meta *meta = (struct seen_meta *)count_of(slot, SEEN_META);
  if (meta) __sync_fetch_and_add(&meta->ended, 1);
#ifdef DIRECT
  const char *regs = (const char *)bpf_task_pt_regs((struct task_struct *)ctx[0]);
  __u32 call = (__u32)REG(REGS_ORIG_AX);
  if (call != NR_EXIT && call != NR_EXIT_GROUP) return 0;
  struct seen_count *count = count_of(slot, call);
  if (count) __sync_fetch_and_add(&count->done, 1);
#endif
  return 0;
}
char licence_of_program[] SEC("license") = "Dual MIT/GPL";
