/* What is decided without a path: sockets, signals, tracing, mounts, the kernel's own doors. */
#pragma once
#include "lsm_verdict.bpf.h"

#define AF_UNIX 1
#define AF_NETLINK 16

__noinline int refuse_with(struct lsm_sandbox *sandbox, uint32_t op, uint32_t number) {
  if (!sandbox) return -EPERM;
  struct question q;
  begin(&q, op);
  q.deny = op;
  q.number = number;
  return refuse(sandbox, &q, 0, 0);
}

static __always_inline int refuse_other(struct lsm_sandbox *sandbox, uint32_t op, uint32_t number) { return result(refuse_with(sandbox, op, number)); }

static __always_inline int refuse_caller(uint32_t op, uint32_t number) {
  struct lsm_sandbox *sandbox = caller();
  return sandbox ? refuse_other(sandbox, op, number) : 0;
}

SEC("lsm/socket_create")
int BPF_PROG(lsm_socket_create, int family, int type, int protocol, int kernel) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox || kernel) return 0;
  if (family >= 0 && family < 64 && sandbox->families & 1ull << family) return 0;
  return refuse_other(sandbox, LSM_SOCKET, (uint32_t)family);
}

/* A socket of another network namespace came from outside: it reaches what the sandbox must not. */
static __always_inline int own_socket(struct sock *sk) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox || !sk) return 0;
  uint32_t family = sk->__sk_common.skc_family;
  struct net *net = sk->__sk_common.skc_net.net;
  if (net && net->ns.inum == sandbox->netns) return 0;
  return refuse_other(sandbox, LSM_SEND, family);
}
SEC("lsm/socket_connect")
int BPF_PROG(lsm_socket_connect, struct socket *socket) { return own_socket(socket->sk); }
SEC("lsm/socket_bind")
int BPF_PROG(lsm_socket_bind, struct socket *socket) { return own_socket(socket->sk); }
SEC("lsm/socket_sendmsg")
int BPF_PROG(lsm_socket_sendmsg, struct socket *socket) {
  struct sock *sk = socket->sk;
  /* Pairs of Unix sockets are how a command's input and output may come in. */
  return sk && sk->__sk_common.skc_family != AF_UNIX ? own_socket(sk) : 0;
}
/* The other end must be of the sandbox's own network, or be asked about by its name in a folder. */
__noinline int reach(uint64_t other) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  uint64_t d = (uint64_t)BPF_CORE_READ((struct unix_sock *)other, path.dentry), mnt = (uint64_t)BPF_CORE_READ((struct unix_sock *)other, path.mnt);
  struct question q;
  struct found found = {0};
  uint32_t outside = BPF_CORE_READ((struct sock *)other, __sk_common.skc_net.net, ns.inum) != sandbox->netns;
  if (!d) return outside ? refuse_with(sandbox, LSM_SEND, AF_UNIX) : 0;
  begin(&q, LSM_REACH);
  walk(sandbox, d, mnt, NAMES_NOT, &found);
  need(&q, &found, LSM_REACH);
  if (outside && !q.ask) q.deny |= LSM_REACH;
  if (!q.deny && !q.ask) return 0;
  about(&q, d);
  return answer(sandbox, &q, d, mnt, 0);
}
SEC("lsm/unix_stream_connect")
int lsm_unix_stream_connect(unsigned long long *ctx) { return result(reach(arg(ctx, 1))); }
/* Also for each datagram to a name. Pairs that came in with a command have none, and are of outside. */
SEC("lsm/unix_may_send")
int lsm_unix_may_send(unsigned long long *ctx) {
  uint64_t other = (uint64_t)BPF_CORE_READ((struct socket *)arg(ctx, 1), sk);
  return BPF_CORE_READ((struct unix_sock *)other, path.dentry) ? result(reach(other)) : 0;
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(lsm_ptrace_access_check, struct task_struct *child) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct lsm_sandbox *theirs = sandbox_of(child);
  return theirs && theirs->id == sandbox->id ? 0 : refuse_other(sandbox, LSM_PTRACE, 0);
}
SEC("lsm/ptrace_traceme")
int BPF_PROG(lsm_ptrace_traceme, struct task_struct *parent) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct lsm_sandbox *theirs = sandbox_of(parent);
  return theirs && theirs->id == sandbox->id ? 0 : refuse_other(sandbox, LSM_PTRACE, 0);
}
SEC("lsm/task_kill")
int BPF_PROG(lsm_task_kill, struct task_struct *target, struct kernel_siginfo *info, int signal) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct lsm_sandbox *theirs = sandbox_of(target);
  return theirs && theirs->id == sandbox->id ? 0 : refuse_other(sandbox, LSM_SIGNAL, (uint32_t)signal);
}

#define NEVER(hook, op) \
  SEC("lsm/" #hook) \
  int BPF_PROG(lsm_##hook) { return refuse_caller(op, 0); }
NEVER(sb_mount, LSM_MOUNT)
NEVER(sb_umount, LSM_MOUNT)
NEVER(sb_remount, LSM_MOUNT)
NEVER(move_mount, LSM_MOUNT)
NEVER(sb_pivotroot, LSM_MOUNT)
NEVER(path_chroot, LSM_MOUNT)
NEVER(userns_create, LSM_NAMESPACE)
NEVER(bpf, LSM_KERNEL)
NEVER(perf_event_open, LSM_KERNEL)
NEVER(kernel_module_request, LSM_KERNEL)
NEVER(kernel_read_file, LSM_KERNEL)
NEVER(kernel_load_data, LSM_KERNEL)
NEVER(key_alloc, LSM_KERNEL)

/* A group made inside a sandbox's group is the same sandbox. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(lsm_cgroup_mkdir, struct cgroup *made) {
  struct cgroup *parent = bpf_cgroup_ancestor(made, made->level - 1);
  if (!parent) return 0;
  struct lsm_sandbox *sandbox = bpf_cgrp_storage_get(&sandboxes, parent, 0, 0);
  if (sandbox) bpf_cgrp_storage_get(&sandboxes, made, sandbox, BPF_LOCAL_STORAGE_GET_F_CREATE);
  bpf_cgroup_release(parent);
  return 0;
}
