/* Names of system calls for the record, from the kernel's own numbers of this architecture. */
#pragma once
#include <stddef.h>
#include <sys/syscall.h>

#define SHIM_SYSCALLS 512

/* NULL: not one that is worth a name here. */
static inline const char *shim_name(int nr) {
  static const struct {
    int nr;
    const char *name;
  } names[] = {
#ifdef SYS_mount
      {SYS_mount, "mount"},
#endif
#ifdef SYS_umount2
      {SYS_umount2, "umount2"},
#endif
#ifdef SYS_pivot_root
      {SYS_pivot_root, "pivot_root"},
#endif
#ifdef SYS_chroot
      {SYS_chroot, "chroot"},
#endif
#ifdef SYS_setns
      {SYS_setns, "setns"},
#endif
#ifdef SYS_unshare
      {SYS_unshare, "unshare"},
#endif
#ifdef SYS_clone
      {SYS_clone, "clone"},
#endif
#ifdef SYS_clone3
      {SYS_clone3, "clone3"},
#endif
#ifdef SYS_ptrace
      {SYS_ptrace, "ptrace"},
#endif
#ifdef SYS_process_vm_readv
      {SYS_process_vm_readv, "process_vm_readv"},
#endif
#ifdef SYS_process_vm_writev
      {SYS_process_vm_writev, "process_vm_writev"},
#endif
#ifdef SYS_bpf
      {SYS_bpf, "bpf"},
#endif
#ifdef SYS_perf_event_open
      {SYS_perf_event_open, "perf_event_open"},
#endif
#ifdef SYS_userfaultfd
      {SYS_userfaultfd, "userfaultfd"},
#endif
#ifdef SYS_io_uring_setup
      {SYS_io_uring_setup, "io_uring_setup"},
#endif
#ifdef SYS_io_uring_enter
      {SYS_io_uring_enter, "io_uring_enter"},
#endif
#ifdef SYS_io_uring_register
      {SYS_io_uring_register, "io_uring_register"},
#endif
#ifdef SYS_keyctl
      {SYS_keyctl, "keyctl"},
#endif
#ifdef SYS_add_key
      {SYS_add_key, "add_key"},
#endif
#ifdef SYS_request_key
      {SYS_request_key, "request_key"},
#endif
#ifdef SYS_kexec_load
      {SYS_kexec_load, "kexec_load"},
#endif
#ifdef SYS_kexec_file_load
      {SYS_kexec_file_load, "kexec_file_load"},
#endif
#ifdef SYS_init_module
      {SYS_init_module, "init_module"},
#endif
#ifdef SYS_finit_module
      {SYS_finit_module, "finit_module"},
#endif
#ifdef SYS_delete_module
      {SYS_delete_module, "delete_module"},
#endif
#ifdef SYS_reboot
      {SYS_reboot, "reboot"},
#endif
#ifdef SYS_swapon
      {SYS_swapon, "swapon"},
#endif
#ifdef SYS_swapoff
      {SYS_swapoff, "swapoff"},
#endif
#ifdef SYS_sethostname
      {SYS_sethostname, "sethostname"},
#endif
#ifdef SYS_setdomainname
      {SYS_setdomainname, "setdomainname"},
#endif
#ifdef SYS_settimeofday
      {SYS_settimeofday, "settimeofday"},
#endif
#ifdef SYS_clock_settime
      {SYS_clock_settime, "clock_settime"},
#endif
#ifdef SYS_clock_adjtime
      {SYS_clock_adjtime, "clock_adjtime"},
#endif
#ifdef SYS_adjtimex
      {SYS_adjtimex, "adjtimex"},
#endif
#ifdef SYS_acct
      {SYS_acct, "acct"},
#endif
#ifdef SYS_quotactl
      {SYS_quotactl, "quotactl"},
#endif
#ifdef SYS_syslog
      {SYS_syslog, "syslog"},
#endif
#ifdef SYS_iopl
      {SYS_iopl, "iopl"},
#endif
#ifdef SYS_ioperm
      {SYS_ioperm, "ioperm"},
#endif
#ifdef SYS_modify_ldt
      {SYS_modify_ldt, "modify_ldt"},
#endif
#ifdef SYS_personality
      {SYS_personality, "personality"},
#endif
#ifdef SYS_vhangup
      {SYS_vhangup, "vhangup"},
#endif
#ifdef SYS_nfsservctl
      {SYS_nfsservctl, "nfsservctl"},
#endif
#ifdef SYS_lookup_dcookie
      {SYS_lookup_dcookie, "lookup_dcookie"},
#endif
#ifdef SYS_name_to_handle_at
      {SYS_name_to_handle_at, "name_to_handle_at"},
#endif
#ifdef SYS_open_by_handle_at
      {SYS_open_by_handle_at, "open_by_handle_at"},
#endif
#ifdef SYS_fanotify_init
      {SYS_fanotify_init, "fanotify_init"},
#endif
#ifdef SYS_fsopen
      {SYS_fsopen, "fsopen"},
#endif
#ifdef SYS_fsconfig
      {SYS_fsconfig, "fsconfig"},
#endif
#ifdef SYS_fsmount
      {SYS_fsmount, "fsmount"},
#endif
#ifdef SYS_fspick
      {SYS_fspick, "fspick"},
#endif
#ifdef SYS_move_mount
      {SYS_move_mount, "move_mount"},
#endif
#ifdef SYS_open_tree
      {SYS_open_tree, "open_tree"},
#endif
#ifdef SYS_mount_setattr
      {SYS_mount_setattr, "mount_setattr"},
#endif
#ifdef SYS_mbind
      {SYS_mbind, "mbind"},
#endif
#ifdef SYS_migrate_pages
      {SYS_migrate_pages, "migrate_pages"},
#endif
#ifdef SYS_move_pages
      {SYS_move_pages, "move_pages"},
#endif
#ifdef SYS_set_mempolicy
      {SYS_set_mempolicy, "set_mempolicy"},
#endif
#ifdef SYS_kcmp
      {SYS_kcmp, "kcmp"},
#endif
#ifdef SYS_socket
      {SYS_socket, "socket"},
#endif
#ifdef SYS_socketpair
      {SYS_socketpair, "socketpair"},
#endif
#ifdef SYS_seccomp
      {SYS_seccomp, "seccomp"},
#endif
#ifdef SYS_mknod
      {SYS_mknod, "mknod"},
#endif
#ifdef SYS_mknodat
      {SYS_mknodat, "mknodat"},
#endif
#ifdef SYS_setuid
      {SYS_setuid, "setuid"},
#endif
#ifdef SYS_setgid
      {SYS_setgid, "setgid"},
#endif
#ifdef SYS_setresuid
      {SYS_setresuid, "setresuid"},
#endif
#ifdef SYS_setresgid
      {SYS_setresgid, "setresgid"},
#endif
#ifdef SYS_setreuid
      {SYS_setreuid, "setreuid"},
#endif
#ifdef SYS_setregid
      {SYS_setregid, "setregid"},
#endif
#ifdef SYS_setgroups
      {SYS_setgroups, "setgroups"},
#endif
#ifdef SYS_setfsuid
      {SYS_setfsuid, "setfsuid"},
#endif
#ifdef SYS_setfsgid
      {SYS_setfsgid, "setfsgid"},
#endif
#ifdef SYS_capset
      {SYS_capset, "capset"},
#endif
#ifdef SYS_pidfd_getfd
      {SYS_pidfd_getfd, "pidfd_getfd"},
#endif
#ifdef SYS_pidfd_open
      {SYS_pidfd_open, "pidfd_open"},
#endif
#ifdef SYS_memfd_secret
      {SYS_memfd_secret, "memfd_secret"},
#endif
#ifdef SYS_unlink
      {SYS_unlink, "unlink"},
#endif
#ifdef SYS_unlinkat
      {SYS_unlinkat, "unlinkat"},
#endif
#ifdef SYS_rmdir
      {SYS_rmdir, "rmdir"},
#endif
#ifdef SYS_rename
      {SYS_rename, "rename"},
#endif
#ifdef SYS_renameat
      {SYS_renameat, "renameat"},
#endif
#ifdef SYS_renameat2
      {SYS_renameat2, "renameat2"},
#endif
#ifdef SYS_kill
      {SYS_kill, "kill"},
#endif
#ifdef SYS_tkill
      {SYS_tkill, "tkill"},
#endif
#ifdef SYS_tgkill
      {SYS_tgkill, "tgkill"},
#endif
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].nr == nr) return names[i].name;
  return NULL;
}
