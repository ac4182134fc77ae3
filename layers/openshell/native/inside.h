/* What the parts of the launcher share: faults, kernel structures newer than the headers, and one function per step. */
#ifndef NEMOCLAW_INSIDE_H
#define NEMOCLAW_INSIDE_H

#include "fault.h"
#include "launch.h"
#include "netlink.h"
#include "plan.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Packets that only the launch itself uses on exec_fd, before the init protocol starts. */
enum { REPORT_READY = 101, REPORT_FAULT = 102, REPORT_PROBE = 103, REPORT_GO = 104 };
/* Inodes of the host's namespaces, for the probe. */
struct host_namespaces {
  uint64_t net, pid, mnt, ipc, uts;
};
/* To the init, with what was made while it built the view: [its network namespace][files of control groups to join]. */
#define GO_FDS 9
struct go {
  uint32_t kind;
  uint32_t has_network;
  struct host_namespaces host;
};
struct report {
  uint32_t kind;
  uint32_t count; /* phases or probes */
  uint32_t twins; /* descriptors after those of `count` */
  double ms[LAUNCH_PHASES_MAX];
  unsigned char stopped[LAUNCH_PROBES_MAX];
  char code[24];
  char text[400];
};
/* READY carries these descriptors in this order; absent ones are left out and their bit is clear in `count`'s place of the mask. */
#define CANARY_DIR ".probe"
#define CANARY_OPEN "open"
#define CANARY_ROOT "root"
enum { READY_NOTIFY, READY_TCP, READY_DNS, READY_PTS, READY_ROOT, READY_FDS };

/* What the child learnt before it lost sight of the host. */
struct host_facts {
  uid_t uid; /* rootless: who we are outside */
  gid_t gid;
  char workspace[4096]; /* rootless: where the folder is, and which it is */
  dev_t workspace_dev;
  ino_t workspace_inode;
  pid_t parent;
  struct host_namespaces namespaces; /* comes with the go-ahead */
};

/* join to confine are measured in the child, the rest outside. */
enum { PHASE_JOIN, PHASE_NETWORK, PHASE_VIEW, PHASE_GO, PHASE_CONFINE, PHASE_PREPARE, PHASE_CLONE, PHASE_PROBE, PHASE_TOTAL, PHASES };

/* launch-rootless.c */
int rootless_know_workspace(int workspace_fd, struct host_facts *host, struct fault *f);
int rootless_map(const struct host_facts *host, struct fault *f);
int rootless_workspace(const struct host_facts *host, struct fault *f); /* detached mount, or -1 */

int join_open_v2(const struct launch_in *in); /* directory of the v2 group to clone into, or -1 */
int join_groups(const struct launch_in *in, bool v2_entered, struct fault *f);

/* launch-outside.c: what the launcher makes in the meantime, with the go-ahead for the init. */
struct outside {
  int listeners[2]; /* as in launched */
  int scoped;       /* probe_listen() */
};
int outside_prepare(const struct plan *plan, const struct launch_in *in, int sock, struct outside *out, struct fault *f);
int outside_take(const struct plan *plan, int sock, struct host_namespaces *host, struct fault *f); /* the init's side */

int idmap_clone(const struct launch_in *in, pid_t *helper, struct fault *f); /* detached mount of the workspace, or -1; then idmap_reap(*helper) in any case */
void idmap_reap(pid_t helper);
int idmap_layer(const struct launch_in *in, struct fault *f); /* the same of the layer: what is LAYER_UID's on disk is the agent's */

int view_build(const struct plan *plan, const struct launch_in *in, int workspace_mount, int layer_mount, int *pts_fd, int *proc_fd, struct launch_twins *twins, struct fault *f);
/* binds.c: sources of bind and concat steps, opened before the host disappears. `fds[i]` belongs to step i, -1 where there is none. */
int binds_open(const struct plan *plan, const struct launch_in *in, int *fds, struct fault *f);

int limits_set(const struct plan *plan, struct fault *f);
int identity_drop(const struct plan *plan, const struct launch_in *in, int proc_fd, struct fault *f);
int landlock_enforce(const struct plan *plan, struct fault *f);
int landlock_abi(void); /* 0: none */
int seccomp_enforce(const struct plan *plan, int *notify_fd, struct fault *f);

/* Runs every try; `stopped[i]` belongs to probe_name(i). Returns how many. */
size_t probe_run(const struct plan *plan, const struct launch_in *in, const struct host_facts *host, unsigned char *stopped);
size_t probe_count(void);
const char *probe_name(size_t index);
bool probe_needs_root(size_t index); /* tries what only an own host uid stops */
#define PROBE_LEFT_OUT 2
int probe_listen(void); /* abstract socket outside the sandbox's Landlock domain, for the scoping try */

_Noreturn void inside_run(const struct plan *plan, const struct launch_in *in, struct host_facts *host, bool v2_entered, int workspace_mount, int layer_mount, int sock);

int send_packet(int sock, const void *data, size_t length, const int *fds, size_t fd_count);
/* Bytes received (0: peer gone) or -1; `*fd_count` in: room, out: received, all O_CLOEXEC. EMSGSIZE when truncated. */
ssize_t receive_packet(int sock, void *data, size_t room, int *fds, size_t *fd_count);
double now_ms(void);

/* Newer than Debian 12's headers. */
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
struct mount_attributes {
  uint64_t set, clear, propagation, userns_fd;
};
#define ATTR_RDONLY 0x1
#define ATTR_NOSUID 0x2
#define ATTR_NODEV 0x4
#define ATTR_NOEXEC 0x8
static inline int sys_open_tree(int dir, const char *path, unsigned flags) { return (int)syscall(428, dir, path, flags); }
static inline int sys_move_mount(int from, const char *from_path, int to, const char *to_path, unsigned flags) {
  return (int)syscall(429, from, from_path, to, to_path, flags);
}
static inline int sys_mount_setattr(int dir, const char *path, unsigned flags, const struct mount_attributes *attr) {
  return (int)syscall(442, dir, path, flags, attr, sizeof *attr);
}
#define TREE_CLONE 1
#define TREE_CLOEXEC O_CLOEXEC
#define MOVE_FROM_EMPTY 4
#define MOVE_TO_EMPTY 0x40

struct open_rules {
  uint64_t flags, mode, resolve;
};
#define RULE_NO_MAGICLINKS 0x02
#define RULE_NO_SYMLINKS 0x04
#define RULE_BENEATH 0x08
static inline int sys_openat2(int dir, const char *path, const struct open_rules *how) { return (int)syscall(437, dir, path, how, sizeof *how); }

#endif
