/*
 * Keeps, for every TCP connection that a sandbox opens, which program does: before the first packet leaves, in the process that calls connect(2).
 * Where members of the kernel's structures lie is found out when the program is loaded (CO-RE). Compiled by connected-program.sh into connected_program.h.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
#include "connected.h"

#define AF_INET 2
#define AF_INET6 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr {
  unsigned int len;
  const unsigned char *name;
};
struct hlist_bl_node {
  void **pprev;
};
struct dentry {
  struct hlist_bl_node d_hash;
  struct dentry *d_parent;
  struct qstr d_name;
};
struct vfsmount {
  struct dentry *mnt_root;
};
struct ns_common {
  unsigned int inum;
};
struct mnt_namespace {
  struct ns_common ns;
};
struct mount {
  struct mount *mnt_parent;
  struct dentry *mnt_mountpoint;
  struct vfsmount mnt;
  struct mnt_namespace *mnt_ns;
};
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};
struct file {
  struct path f_path;
};
struct mm_struct {
  struct file *exe_file;
};
struct nsproxy {
  struct mnt_namespace *mnt_ns;
};
typedef struct {
  unsigned int val;
} kuid_t;
struct cred {
  kuid_t uid;
};
struct task_struct {
  int tgid;
  struct task_struct *group_leader;
  __u64 start_boottime;
  const struct cred *cred;
  struct mm_struct *mm;
  struct nsproxy *nsproxy;
};
#pragma clang attribute pop

struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, CONNECTED_ENTRIES); __type(key, struct connected_key); __type(value, struct connected_value); } connected1 SEC(".maps");
const volatile struct connected_range uids = {0, 0};

struct climb {
  struct dentry *dentry;
  struct vfsmount *mnt;
  struct mnt_namespace *mounts; /* of the process */
  uint32_t at, whole;
  struct connected_value value;
};

static struct mount *mount_of(struct vfsmount *mnt) { return (struct mount *)((char *)mnt - bpf_core_field_offset(struct mount, mnt)); }

/* One name, or one mount: up to the root of the process's mount namespace, whatever its own root is, so that chroot makes no other path. */
static long step(uint32_t index, struct climb *c) {
  struct dentry *d = c->dentry;
  struct vfsmount *mnt = c->mnt;
  if (d == BPF_CORE_READ(mnt, mnt_root)) {
    struct mount *m = mount_of(mnt), *above = BPF_CORE_READ(m, mnt_parent);
    if (above == m) {
      c->whole = BPF_CORE_READ(m, mnt_ns) == c->mounts;
      return 1;
    }
    c->dentry = BPF_CORE_READ(m, mnt_mountpoint);
    c->mnt = (struct vfsmount *)((char *)above + bpf_core_field_offset(struct mount, mnt));
    return 0;
  }
  struct dentry *parent = BPF_CORE_READ(d, d_parent);
  uint32_t at = c->at;
  /* Removed, or of no folder at all: then the name is nobody's or another's. */
  if (parent == d || !BPF_CORE_READ(d, d_hash.pprev) || at > CONNECTED_PATH - CONNECTED_NAME || BPF_CORE_READ(d, d_name.len) >= CONNECTED_NAME) return 1;
  long n = bpf_probe_read_kernel_str(&c->value.parts[at], CONNECTED_NAME, BPF_CORE_READ(d, d_name.name));
  if (n < 2) return 1;
  c->at = at + (uint32_t)n;
  c->dentry = parent;
  return 0;
}

SEC("sockops")
int connecting(struct bpf_sock_ops *ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
  struct task_struct *task = (struct task_struct *)bpf_get_current_task();
  uint32_t uid = BPF_CORE_READ(task, cred, uid.val);
  if (uid - uids.first >= uids.count) return 1;
  struct connected_key key = {.netns = bpf_get_netns_cookie(ctx), .source_port = (uint16_t)ctx->local_port, .destination_port = (uint16_t)bpf_ntohl(ctx->remote_port)};
  uint32_t *source = (uint32_t *)key.source, *destination = (uint32_t *)key.destination;
  /* Volatile: one address that is now the one member and now the other is none that the verifier lets through. */
  volatile struct bpf_sock_ops *said = ctx;
  uint32_t family = said->family, source4 = said->local_ip4, destination4 = said->remote_ip4;
  source[0] = said->local_ip6[0], source[1] = said->local_ip6[1], source[2] = said->local_ip6[2], source[3] = said->local_ip6[3];
  destination[0] = said->remote_ip6[0], destination[1] = said->remote_ip6[1], destination[2] = said->remote_ip6[2], destination[3] = said->remote_ip6[3];
  if (family == AF_INET) {
    source[0] = source[1] = destination[0] = destination[1] = 0;
    source[2] = destination[2] = bpf_htonl(0xffff);
    source[3] = source4, destination[3] = destination4;
  } else if (family != AF_INET6) return 1;
  struct climb c = {.mounts = BPF_CORE_READ(task, nsproxy, mnt_ns)};
  c.value.pid = (uint32_t)BPF_CORE_READ(task, tgid);
  c.value.uid = uid;
  c.value.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
  c.value.mounts = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
  struct file *exe = BPF_CORE_READ(task, mm, exe_file);
  if (exe) {
    c.dentry = BPF_CORE_READ(exe, f_path.dentry);
    c.mnt = BPF_CORE_READ(exe, f_path.mnt);
    bpf_loop(CONNECTED_STEPS, step, &c, 0);
    c.value.length = c.whole ? c.at : 0;
  }
  /* An older connection with the same ends is over by now: they are given again only then. */
  bpf_map_update_elem(&connected1, &key, &c.value, BPF_ANY);
  return 1;
}
char licence_of_program[] SEC("license") = "Dual MIT/GPL";
