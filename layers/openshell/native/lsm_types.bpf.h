/* The members of kernel structures that lsm.bpf.c reads; where they lie is found out when the program is loaded (CO-RE). */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr {
  unsigned int len;
  const unsigned char *name;
};
struct super_block {
  unsigned int s_dev;
};
struct inode {
  unsigned short i_mode;
  unsigned long i_ino;
  struct super_block *i_sb;
};
struct dentry {
  struct dentry *d_parent;
  struct qstr d_name;
  struct inode *d_inode;
};
struct vfsmount {
  struct dentry *mnt_root;
};
struct mount {
  struct mount *mnt_parent;
  struct dentry *mnt_mountpoint;
  struct vfsmount mnt;
};
struct path {
  struct vfsmount *mnt;
  struct dentry *dentry;
};
struct file {
  unsigned int f_mode;
  unsigned int f_flags;
  struct path f_path;
  struct inode *f_inode;
};
struct fdtable {
  unsigned int max_fds;
  struct file **fd;
};
struct files_struct {
  struct fdtable *fdt;
};
struct fs_struct {
  struct path root;
};
struct cgroup {
  int level;
};
struct css_set {
  struct cgroup *dfl_cgrp;
};
struct task_struct {
  int pid;
  int tgid;
  struct css_set *cgroups;
  struct fs_struct *fs;
  struct files_struct *files;
};
struct ns_common {
  unsigned int inum;
};
struct net {
  struct ns_common ns;
};
typedef struct {
  struct net *net;
} possible_net_t;
struct sock_common {
  unsigned short skc_family;
  possible_net_t skc_net;
};
struct sock {
  struct sock_common __sk_common;
};
struct unix_sock {
  struct path path;
};
struct socket {
  struct sock *sk;
};
struct linux_binprm {
  unsigned long p; /* below all arguments and variables: how long they are */
  struct file *file;
  int argc, envc;
};
struct vm_area_struct {
  struct file *vm_file;
};
struct timespec64 {
  long long tv_sec;
  long tv_nsec;
};
struct iattr {
  unsigned int ia_valid;
  struct timespec64 ia_atime, ia_mtime;
};
struct posix_acl_entry {
  short e_tag;
};
struct posix_acl {
  unsigned int a_count;
  struct posix_acl_entry a_entries[];
};
/* x86-64, as the kernel keeps them while a call is under way. */
struct pt_regs {
  unsigned long bp, bx, r10, r9, r8, cx, dx, si, di, orig_ax, ip, sp;
};
#pragma clang attribute pop

/* Only pointers to these are passed on. */
struct mnt_idmap;
struct cred;
struct kernel_siginfo;
struct sockaddr;
struct msghdr;
struct key;
struct perf_event_attr;
union bpf_attr;
