/* Names that are made, taken away, moved and linked. */
#pragma once
#include "lsm_others.bpf.h"

#define RENAME_EXCHANGE 2u
#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
/* What a file offers by another name, too. */
#define CONTENT (LSM_READ | LSM_WRITE | LSM_EXEC | LSM_MAP | LSM_REACH)

/* The rule of the folder counts too where the object itself has one: removing a name changes the folder. */
static __always_inline void need_name(struct question *q, struct lsm_sandbox *sandbox, struct found *found, uint64_t d, uint64_t mnt, __u32 rights) {
  need(q, found, rights);
  if (found->self) {
    struct found folder = {0};
    walk(sandbox, (uint64_t)BPF_CORE_READ((struct dentry *)d, d_parent), mnt, NAMES_NOT, &folder);
    need(q, &folder, rights);
  }
}

__noinline int make(uint64_t dir, uint64_t d, uint32_t names, const struct given *what) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  uint64_t mnt = (uint64_t)BPF_CORE_READ((struct path *)dir, mnt);
  struct question q;
  struct found found = {0};
  begin(&q, LSM_CREATE);
  walk(sandbox, d, mnt, names, &found);
  need(&q, &found, LSM_CREATE);
  if (!q.deny && !q.ask) return 0;
  about(&q, d);
  if (!q.deny) {
    name_key(&q, d, 0);
    value_key(&q, what);
  }
  return answer(sandbox, &q, d, mnt, 0);
}

__noinline int take_away(uint64_t dir, uint64_t d) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  uint64_t mnt = (uint64_t)BPF_CORE_READ((struct path *)dir, mnt);
  struct question q;
  struct found found = {0};
  begin(&q, LSM_DELETE);
  walk(sandbox, d, mnt, NAMES_EXACT, &found);
  need_name(&q, sandbox, &found, d, mnt, LSM_DELETE);
  if (!q.deny && !q.ask) return 0;
  about(&q, d);
  if (!q.deny) name_key(&q, d, 0);
  return answer(sandbox, &q, d, mnt, 0);
}

SEC("lsm/path_unlink")
int lsm_path_unlink(unsigned long long *ctx) { return result(take_away(arg(ctx, 0), arg(ctx, 1))); }
SEC("lsm/path_rmdir")
int lsm_path_rmdir(unsigned long long *ctx) { return result(take_away(arg(ctx, 0), arg(ctx, 1))); }
static __always_inline int make_one(const unsigned long long *ctx, uint32_t names, struct given what) { return result(make(arg(ctx, 0), arg(ctx, 1), names, &what)); }
SEC("lsm/path_mkdir")
int lsm_path_mkdir(unsigned long long *ctx) { return make_one(ctx, NAMES_EXACT, (struct given){.number = (__u32)ctx[2]}); }
SEC("lsm/path_symlink")
int lsm_path_symlink(unsigned long long *ctx) { return make_one(ctx, NAMES_LINK, (struct given){.text = arg(ctx, 2)}); }
SEC("lsm/path_mknod")
int lsm_path_mknod(unsigned long long *ctx) {
  __u32 kind = (__u32)ctx[2] & S_IFMT;
  if (kind == S_IFCHR || kind == S_IFBLK) return refuse_caller(LSM_DEVICE, kind);
  return make_one(ctx, NAMES_EXACT, (struct given){.number = (__u32)ctx[2]});
}

/* A second name would put the content under another rule: what the first one forbids, it must forbid too. */
SEC("lsm/path_link")
int lsm_path_link(unsigned long long *ctx) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  uint64_t old = arg(ctx, 0), dir = arg(ctx, 1), d = arg(ctx, 2), mnt = (uint64_t)BPF_CORE_READ((struct path *)dir, mnt);
  struct question q;
  struct found from = {0}, to = {0};
  begin(&q, LSM_CREATE);
  walk(sandbox, d, mnt, NAMES_EXACT, &to);
  need(&q, &to, LSM_CREATE);
  walk(sandbox, old, mnt, NAMES_EXACT, &from);
  from.deny &= ~(to.deny | to.ask);
  from.ask &= ~(to.deny | to.ask);
  need(&q, &from, CONTENT);
  if (!q.deny && !q.ask) return 0;
  about(&q, old);
  q.key.to_dir = BPF_CORE_READ((struct dentry *)d, d_parent, d_inode, i_ino);
  if (!q.deny) name_key(&q, d, 0);
  return result(answer(sandbox, &q, d, mnt, old));
}

SEC("lsm/path_rename")
int lsm_path_rename(unsigned long long *ctx) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  /* Both names are in one mount: over two the kernel has said EXDEV. */
  uint64_t from_name = arg(ctx, 1), to_name = arg(ctx, 3), mnt = (uint64_t)BPF_CORE_READ((struct path *)arg(ctx, 0), mnt);
  struct question q;
  struct found from = {0}, to = {0};
  struct inode *moved = BPF_CORE_READ((struct dentry *)from_name, d_inode), *replaced = BPF_CORE_READ((struct dentry *)to_name, d_inode);
  __u32 exchange = (__u32)ctx[4] & RENAME_EXCHANGE;
  if (!moved) return 0; /* the kernel says ENOENT */
  __u32 kind = BPF_CORE_READ(moved, i_mode) & S_IFMT;
  __u32 names = exchange || kind == S_IFDIR ? NAMES_FOLDER : kind == S_IFLNK ? NAMES_LINK : NAMES_EXACT;
  begin(&q, LSM_RENAME);
  walk(sandbox, from_name, mnt, names, &from);
  walk(sandbox, to_name, mnt, names, &to);
  __u32 crosses = from.index != to.index || from.deny != to.deny || from.ask != to.ask;
  need_name(&q, sandbox, &from, from_name, mnt, crosses ? LSM_RENAME | LSM_DELETE : LSM_RENAME);
  need_name(&q, sandbox, &to, to_name, mnt, LSM_RENAME | (crosses ? LSM_CREATE : 0) | (replaced ? LSM_DELETE : 0));
  if (crosses) {
    struct found content = from;
    content.deny &= ~(to.deny | to.ask);
    content.ask &= ~(to.deny | to.ask);
    need(&q, &content, CONTENT);
    if (exchange) {
      content = to;
      content.deny &= ~(from.deny | from.ask);
      content.ask &= ~(from.deny | from.ask);
      need(&q, &content, CONTENT);
      need(&q, &from, LSM_CREATE);
    }
  }
  if (!q.deny && !q.ask) return 0;
  if (!q.deny && !(q.ask & ~LSM_DELETE)) q.key.op = LSM_DELETE;
  about(&q, from_name);
  q.key.to_dir = BPF_CORE_READ((struct dentry *)to_name, d_parent, d_inode, i_ino);
  if (replaced) {
    q.key.to_ino = BPF_CORE_READ(replaced, i_ino);
    q.key.to_dev = BPF_CORE_READ(replaced, i_sb, s_dev);
  }
  q.number = (__u32)ctx[4];
  q.key.value = q.number;
  if (!q.deny) name_key(&q, from_name, to_name);
  return result(answer(sandbox, &q, from_name, mnt, to_name));
}
