/* From rights to an answer: allow, deny, or stop the process and ask. */
#pragma once
#include "lsm_grants.bpf.h"

#define EPERM 1
#define ERESTARTNOINTR 513
#define SIGSTOP 19

static __always_inline void begin(struct question *q, uint32_t op) {
  __builtin_memset(q, 0, sizeof *q);
  q->key.op = op;
  q->rule = ~0u;
}

/* Adds what a rule says of `rights`. */
static __always_inline void need(struct question *q, const struct found *found, uint32_t rights) {
  uint32_t against = found->deny & rights, asked = found->ask & rights;
  if (found->reason == LSM_REASON_DEEP || (found->reason == LSM_REASON_NAME && rights & (LSM_WRITE | LSM_CREATE | LSM_DELETE | LSM_RENAME))) {
    q->reason = found->reason;
    against |= rights;
  }
  if ((against && !q->deny) || (asked && !q->deny && !q->ask)) q->rule = found->index;
  q->deny |= against;
  q->ask |= asked;
}

static __always_inline void about(struct question *q, uint64_t entry) {
  struct dentry *d = OBJECT(dentry, entry);
  struct inode *inode = d->d_inode;
  struct dentry *parent = d->d_parent;
  struct inode *dir = parent->d_inode;
  if (inode) {
    q->key.ino = inode->i_ino;
    q->key.dev = inode->i_sb->s_dev;
  }
  if (dir) {
    q->key.dir = dir->i_ino;
    q->key.dev = dir->i_sb->s_dev;
  }
}

static __always_inline void fill(struct lsm_event *event, struct lsm_sandbox *sandbox, struct question *q) {
  uint64_t pid = bpf_get_current_pid_tgid();
  event->boottime = bpf_ktime_get_boot_ns();
  event->key = q->key;
  event->key.tid = (uint32_t)pid;
  event->tgid = pid >> 32;
  event->sandbox = sandbox->id;
  event->rule = q->rule;
  event->reason = q->reason;
  event->number = q->number;
  bpf_get_current_comm(event->comm, sizeof event->comm);
  event->path.count = 0;
  event->path.cut = 0;
}

__noinline int tell(struct lsm_sandbox *sandbox, struct question *q, uint64_t d, uint64_t mnt) {
  if (!sandbox || !q) return 0;
  struct lsm_event *event = bpf_ringbuf_reserve(&denials, sizeof *event, 0);
  if (!event) {
    count(LSM_COUNT_DROPPED);
    return 0;
  }
  fill(event, sandbox, q);
  if (d) tell_path(&event->path, d, mnt, sandbox);
  bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
  return 0;
}

__noinline int refuse(struct lsm_sandbox *sandbox, struct question *q, uint64_t d, uint64_t mnt) {
  if (!sandbox || !q) return -EPERM;
  count(LSM_COUNT_DENIED);
  tell(sandbox, q, d, mnt);
  return -EPERM;
}

/*
 * First the place in the ring, then the stop, then the publishing: the answer's SIGCONT must not come before the SIGSTOP.
 * `to`: a second name in the same mount, or NULL. The signal goes to this thread, not the process: another thread taking the signal would let the restart code out to user space.
 */
__noinline int ask(struct lsm_sandbox *sandbox, struct question *q, uint64_t d, uint64_t mnt, uint64_t to) {
  if (!sandbox || !q) return -EPERM;
  struct lsm_ask *event = bpf_ringbuf_reserve(&asks, sizeof *event, 0);
  if (!event) {
    count(LSM_COUNT_FULL);
    q->reason = LSM_REASON_FULL;
    return refuse(sandbox, q, d, mnt);
  }
  fill(&event->event, sandbox, q);
  tell_path(&event->event.path, d, mnt, sandbox);
  event->to.count = 0;
  event->to.cut = 0;
  if (to) tell_path(&event->to, to, mnt, sandbox);
  count(LSM_COUNT_ASKED);
  if (bpf_send_signal_thread(SIGSTOP) != 0) {
    bpf_ringbuf_discard(event, 0);
    q->reason = LSM_REASON_FULL;
    return refuse(sandbox, q, d, mnt);
  }
  bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
  return -ERESTARTNOINTR;
}

__noinline int answer(struct lsm_sandbox *sandbox, struct question *q, uint64_t d, uint64_t mnt, uint64_t to) {
  if (!sandbox || !q) return -EPERM;
  if (!q->deny && !q->ask) return 0;
  if (q->deny) return refuse(sandbox, q, d, mnt);
  call_key(q);
  int used = use_grant(q);
  if (used > 0) {
    count(LSM_COUNT_GRANTED);
    return 0;
  }
  if (used < 0) return -EPERM;
  return ask(sandbox, q, d, mnt, to);
}

/* The kernel wants to know that a hook returns an error or 0. */
static __always_inline int result(int answer) {
  return answer == -ERESTARTNOINTR ? -ERESTARTNOINTR : answer ? -EPERM : 0;
}
