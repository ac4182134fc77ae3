/*
 * Decides what a sandbox's processes do to files, on the objects that the kernel resolved (Documentation/bpf/prog_lsm.rst).
 * A process is in a sandbox if its control group's storage says so. Compiled by lsm-program.sh into lsm_program.h, which is what the build uses.
 */
#include "lsm_verdict.bpf.h"
#include "lsm_others.bpf.h"

#define FMODE_READ 1u
#define FMODE_WRITE 2u
#define FMODE_CREATED 0x100000u
#define FMODE_EXEC 0x20u /* in f_flags: the kernel opens a program or its loader */
#define O_TRUNC 01000u
#define ATTR_MODE 1u
#define ATTR_UID 2u
#define ATTR_GID 4u
#define ATTR_SIZE 8u
#define ATTR_ATIME_SET (1u << 7)
#define ATTR_MTIME_SET (1u << 8)
#define ATTR_FORCE (1u << 9)
#define ATTR_FILE (1u << 13)
#define ATTR_OPEN (1u << 15)
#define RENAME_EXCHANGE 2u
#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define PROT_EXEC 4
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

SEC("lsm/file_open")
int lsm_file_open(unsigned long long *ctx) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct file *file = (void *)ctx[0];
  uint64_t d = (uint64_t)BPF_CORE_READ(file, f_path.dentry), mnt = (uint64_t)BPF_CORE_READ(file, f_path.mnt);
  __u32 mode = file->f_mode, flags = file->f_flags, rights = 0;
  struct question q;
  struct found found = {0};
  if (mode & FMODE_READ) rights |= LSM_READ;
  if (mode & FMODE_WRITE || flags & O_TRUNC) rights |= LSM_WRITE;
  if (mode & FMODE_CREATED) rights &= ~LSM_WRITE; /* that it may be made has been decided */
  if (flags & FMODE_EXEC) rights = LSM_EXEC;
  if (!rights) return 0;
  begin(&q, rights & LSM_EXEC ? LSM_EXEC : rights & LSM_WRITE ? LSM_WRITE : LSM_READ);
  walk(sandbox, d, mnt, rights & LSM_WRITE ? NAMES_EXACT : NAMES_NOT, &found);
  need(&q, &found, rights);
  if (flags & FMODE_EXEC) q.ask = 0; /* asked once, when it is the program */
  if (mode & FMODE_CREATED && found.ask & LSM_CREATE) q.ask = 0; /* asked by this very call: it would find its own file when it is started again */
  if (!q.deny && !q.ask) return 0;
  if (!q.deny && !(q.ask & LSM_WRITE)) q.key.op = LSM_READ;
  about(&q, d);
  struct given how = {.number = flags | (__u64)rights << 32};
  if (!q.deny) value_key(&q, &how);
  return result(answer(sandbox, &q, d, mnt, 0));
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

SEC("lsm/bprm_check_security")
int lsm_exec(unsigned long long *ctx) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  struct linux_binprm *program = (void *)ctx[0];
  uint64_t d = (uint64_t)BPF_CORE_READ(program, file, f_path.dentry), mnt = (uint64_t)BPF_CORE_READ(program, file, f_path.mnt);
  struct question q;
  struct found found = {0};
  begin(&q, LSM_EXEC);
  walk(sandbox, d, mnt, NAMES_NOT, &found);
  need(&q, &found, LSM_EXEC);
  if (!q.deny && !q.ask) return 0;
  about(&q, d);
  struct given with = {.number = BPF_CORE_READ(program, p) ^ (__u64)BPF_CORE_READ(program, argc) << 48 ^ (__u64)BPF_CORE_READ(program, envc) << 32};
  if (!q.deny) value_key(&q, &with);
  return result(answer(sandbox, &q, d, mnt, 0));
}

/* In the middle of an exec nobody can be asked: a right to map that would be asked is refused. */
__noinline int map_program(uint64_t file) {
  struct lsm_sandbox *sandbox = caller();
  if (!sandbox) return 0;
  uint64_t d = (uint64_t)BPF_CORE_READ((struct file *)file, f_path.dentry), mnt = (uint64_t)BPF_CORE_READ((struct file *)file, f_path.mnt);
  struct question q;
  struct found found = {0};
  begin(&q, LSM_MAP);
  walk(sandbox, d, mnt, NAMES_NOT, &found);
  need(&q, &found, LSM_MAP);
  q.deny |= q.ask;
  if (!q.deny) return 0;
  about(&q, d);
  return refuse(sandbox, &q, d, mnt);
}
SEC("lsm/mmap_file")
int lsm_mmap_file(unsigned long long *ctx) {
  uint64_t file = arg(ctx, 0);
  return file && ctx[2] & PROT_EXEC ? result(map_program(file)) : 0;
}
SEC("lsm/file_mprotect")
int lsm_file_mprotect(unsigned long long *ctx) {
  if (!(ctx[2] & PROT_EXEC)) return 0;
  uint64_t file = (uint64_t)BPF_CORE_READ((struct vm_area_struct *)arg(ctx, 0), vm_file);
  return file ? result(map_program(file)) : 0;
}

/* Run by openshelld on its own descriptors: the device and inode numbers by which the walk above will know the object. */
SEC("syscall")
int resolve(struct lsm_resolve *what) {
  struct task_struct *task = bpf_get_current_task_btf();
  struct file **table = BPF_CORE_READ(task, files, fdt, fd), *file = 0;
  if (what->fd >= BPF_CORE_READ(task, files, fdt, max_fds)) return 9;
  if (bpf_probe_read_kernel(&file, sizeof file, table + what->fd) < 0 || !file) return 9;
  struct inode *inode = BPF_CORE_READ(file, f_path.dentry, d_inode);
  if (!inode) return 2;
  what->dev = BPF_CORE_READ(inode, i_sb, s_dev);
  what->ino = BPF_CORE_READ(inode, i_ino);
  return 0;
}

char licence_of_program[] SEC("license") = "Dual MIT/GPL";
