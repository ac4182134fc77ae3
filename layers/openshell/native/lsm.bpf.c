/*
 * Decides what a sandbox's processes do to files, on the objects that the kernel resolved (Documentation/bpf/prog_lsm.rst).
 * A process is in a sandbox if its control group's storage says so. Compiled by lsm-program.sh into lsm_program.h, which is what the build uses.
 */
#include "lsm_opens.bpf.h"
#include "lsm_names.bpf.h"
#include "lsm_changes.bpf.h"
#include "lsm_others.bpf.h"

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
