/* What a program opens, starts and maps. */
#pragma once
#include "lsm_verdict.bpf.h"

#define FMODE_READ 1u
#define FMODE_WRITE 2u
#define FMODE_CREATED 0x100000u
#define FMODE_EXEC 0x20u /* in f_flags: the kernel opens a program or its loader */
#define O_TRUNC 01000u
#define PROT_EXEC 4

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
