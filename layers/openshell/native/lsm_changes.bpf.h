/* Changes of what is there: its mode, owner, length, times, attributes, access lists. */
#pragma once
#include "lsm_verdict.bpf.h"

#define ATTR_MODE 1u
#define ATTR_UID 2u
#define ATTR_GID 4u
#define ATTR_SIZE 8u
#define ATTR_ATIME_SET (1u << 7)
#define ATTR_MTIME_SET (1u << 8)
#define ATTR_FORCE (1u << 9)
#define ATTR_FILE (1u << 13)
#define ATTR_OPEN (1u << 15)

__noinline int change(uint64_t d, uint64_t mnt, uint32_t asks, const struct given *what) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct question q;
  struct found found = {0};
  begin(&q, LSM_WRITE);
  walk(sandbox, d, mnt, NAMES_EXACT, &found);
  if (!found.known && found.reason == LSM_REASON_RULE) return 0; /* sockets, pipes */
  need(&q, &found, LSM_WRITE);
  if (!asks) q.ask = 0;
  if (!q.deny && !q.ask) return 0;
  about(&q, d);
  if (!q.deny) value_key(&q, what);
  return answer(sandbox, &q, d, mnt, 0);
}

/* By path first, since a person is shown one; the hook on the inode comes after, for what has no such hook. To what mode, owner or length is in the call's registers. */
static __always_inline int change_path(uint64_t path) {
  struct given what = {0};
  return result(change((uint64_t)BPF_CORE_READ((struct path *)path, dentry), (uint64_t)BPF_CORE_READ((struct path *)path, mnt), 1, &what));
}
SEC("lsm/path_chmod")
int lsm_path_chmod(unsigned long long *ctx) { return change_path(arg(ctx, 0)); }
SEC("lsm/path_chown")
int lsm_path_chown(unsigned long long *ctx) { return change_path(arg(ctx, 0)); }
SEC("lsm/path_truncate")
int lsm_path_truncate(unsigned long long *ctx) { return change_path(arg(ctx, 0)); }

/* A file that is open was decided when it was opened; the kernel's own changes after a write are none of the caller's. */
static __always_inline int set(const struct iattr *attr, uint64_t d) {
  __u32 what = attr->ia_valid;
  if (what & (ATTR_OPEN | ATTR_FILE | ATTR_FORCE)) return 0;
  /* The two times lie one behind the other; one that is not set to a value is the present one, another at each try. */
  struct given to = {.number = what, .data = (uint64_t)attr + bpf_core_field_offset(struct iattr, ia_atime)};
  __u32 size = bpf_core_field_size(struct iattr, ia_atime);
  if (!(what & ATTR_ATIME_SET)) to.data = (uint64_t)attr + bpf_core_field_offset(struct iattr, ia_mtime);
  to.size = (what & ATTR_ATIME_SET ? size : 0) + (what & ATTR_MTIME_SET ? size : 0);
  return result(change(d, 0, !(what & (ATTR_MODE | ATTR_UID | ATTR_GID | ATTR_SIZE)), &to));
}
SEC("lsm/inode_setattr")
int lsm_inode_setattr(unsigned long long *ctx) { return set((struct iattr *)ctx[2], arg(ctx, 1)); }
/* Before Linux 6.9; the loader takes one of the two. */
SEC("lsm/inode_setattr")
int lsm_inode_setattr_old(unsigned long long *ctx) { return set((struct iattr *)ctx[1], arg(ctx, 0)); }

static __always_inline int change_attribute(const unsigned long long *ctx, struct given what) {
  what.text = arg(ctx, 2);
  return result(change(arg(ctx, 1), 0, 1, &what));
}
SEC("lsm/inode_setxattr")
int lsm_inode_setxattr(unsigned long long *ctx) { return change_attribute(ctx, (struct given){.data = arg(ctx, 3), .size = arg(ctx, 4)}); }
SEC("lsm/inode_removexattr")
int lsm_inode_removexattr(unsigned long long *ctx) { return change_attribute(ctx, (struct given){0}); }
SEC("lsm/inode_set_acl")
int lsm_inode_set_acl(unsigned long long *ctx) {
  uint64_t list = arg(ctx, 3);
  return change_attribute(ctx, (struct given){.data = list + bpf_core_field_offset(struct posix_acl, a_entries), .size = 8ull * BPF_CORE_READ((struct posix_acl *)list, a_count)});
}
SEC("lsm/inode_remove_acl")
int lsm_inode_remove_acl(unsigned long long *ctx) { return change_attribute(ctx, (struct given){0}); }
