/* From root to the agent: limits, capabilities, ids, user namespace, keyring. */
#include "inside.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

int limits_set(const struct plan *plan, struct fault *f) {
  const struct {
    int resource;
    rlim_t most;
  } limits[] = {{RLIMIT_CORE, 0}, {RLIMIT_NOFILE, plan->open_files}, {RLIMIT_NPROC, plan->pids}, {RLIMIT_RTPRIO, 0}, {RLIMIT_NICE, 0}, {RLIMIT_MEMLOCK, 8 << 20}, {RLIMIT_SIGPENDING, 4096}, {RLIMIT_MSGQUEUE, 819200}};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    struct rlimit both = {limits[i].most, limits[i].most};
    if (setrlimit(limits[i].resource, &both) != 0) return fault(f, "confine", errno, "limits: rlimit %d", limits[i].resource);
  }
  struct rlimit data = {plan->process_bytes, plan->process_bytes};
  if (plan->process_bytes > 0 && setrlimit(RLIMIT_DATA, &data) != 0) return fault(f, "confine", errno, "limits: memory of a process");
  return 0;
}

/* What may never come back; the change of uid keeps capabilities (NO_SETUID_FIXUP), so that a user namespace can still be entered where that needs one. */
static int lock_capabilities(struct fault *f) {
  unsigned long last = 0;
  unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return fault(f, "confine", errno, "capabilities: ambient");
  for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++) last = cap;
  /* EINVAL: there are no more (capabilities(7)). */
  if (last < CAP_AUDIT_READ || errno != EINVAL) return fault(f, "confine", errno, "capabilities: bounding %lu", last + 1);
  return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0 ? fault(f, "confine", errno, "capabilities: secure bits") : 0;
}

static int drop_capabilities(struct fault *f) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, data) != 0 ? fault(f, "confine", errno, "capabilities: drop") : 0;
}

static int write_at(int proc_fd, const char *name, const char *text) {
  int fd = openat(proc_fd, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text), e = errno;
  close(fd);
  errno = e;
  return ok ? 0 : -1;
}

/* A user namespace with one entry: the number seen inside stands for the sandbox's own host uid. */
static int show_as(const struct plan *plan, uid_t uid, gid_t gid, int proc_fd, struct fault *f) {
  char uids[48], gids[48];
  snprintf(uids, sizeof uids, "%u %u 1", (unsigned)plan->seen, uid);
  snprintf(gids, sizeof gids, "%u %u 1", (unsigned)plan->seen, gid);
  /* While not dumpable our own /proc files belong to root; nobody else lives here yet. */
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || unshare(CLONE_NEWUSER) != 0) return fault(f, "confine", errno, "identity: user namespace");
  if (write_at(proc_fd, "self/setgroups", "deny") != 0 || write_at(proc_fd, "self/uid_map", uids) != 0 || write_at(proc_fd, "self/gid_map", gids) != 0) return fault(f, "confine", errno, "identity: map");
  return 0;
}

/* Caps switched off for a test: kept across the change of uid and made ambient. */
static int keep_capabilities(struct fault *f) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return fault(f, "confine", errno, "capabilities: read");
  for (int i = 0; i < 2; i++) data[i].effective = data[i].inheritable = data[i].permitted;
  if (syscall(SYS_capset, &header, data) != 0) return fault(f, "confine", errno, "capabilities: keep");
  for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
    if (!(data[cap / 32].permitted & 1u << cap % 32)) continue; /* what this host's root does not have itself */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) != 0) return fault(f, "confine", errno, "capabilities: ambient %lu", cap);
  }
  return 0;
}

int identity_drop(const struct plan *plan, const struct launch_in *in, int proc_fd, struct fault *f) {
  bool keep = (plan->off & OFF_CAPS) != 0;
  if (syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL) < 0 && errno != ENOSYS) return fault(f, "confine", errno, "identity: keyring");
  if (!in->rootless && setgroups(0, NULL) != 0) return fault(f, "confine", errno, "identity: groups");
  if (keep ? prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 && fault(f, "confine", errno, "capabilities: keep") : lock_capabilities(f) != 0) return -1;
  if (setresgid(in->agent_gid, in->agent_gid, in->agent_gid) != 0 || setresuid(in->agent_uid, in->agent_uid, in->agent_uid) != 0) return fault(f, "confine", errno, "identity: uid");
  if (keep && keep_capabilities(f) != 0) return -1;
  if (plan->seen >= 0) { /* a new user namespace starts with every capability in itself */
    if (show_as(plan, in->agent_uid, in->agent_gid, proc_fd, f) != 0) return -1;
    if (!keep && lock_capabilities(f) != 0) return -1;
  }
  if (!keep && drop_capabilities(f) != 0) return -1;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return fault(f, "confine", errno, "identity: no new privileges");
  /* After the last change of uid, which would clear it. */
  if (prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0) != 0) return fault(f, "confine", errno, "identity: death signal");
  return 0;
}
