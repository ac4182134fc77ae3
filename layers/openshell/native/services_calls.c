/* System calls that no service of ours makes: refused to it and to whatever it starts. A filter of seccomp (Documentation/userspace-api/seccomp_filter.rst). */
#include "services.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Others' memory and descriptors, other namespaces and roots, mounts, programs in the kernel and what watches it, its keys, clocks and modules, and rings that make calls which no filter sees. */
static const unsigned refused[] = {
  SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, 438 /* pidfd_getfd */, 440 /* process_madvise */,
  SYS_unshare, SYS_setns, SYS_chroot, SYS_pivot_root, SYS_mount, SYS_umount2, 428 /* open_tree */, 429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */, 433 /* fspick */, 442 /* mount_setattr */,
  SYS_name_to_handle_at, SYS_open_by_handle_at, SYS_fanotify_init, SYS_quotactl, 443 /* quotactl_fd */, SYS_acct, SYS_swapon, SYS_swapoff,
  SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, 425 /* io_uring_setup */, 426 /* io_uring_enter */, 427 /* io_uring_register */,
  SYS_add_key, SYS_request_key, SYS_keyctl, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_syslog,
  SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
  SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_personality, SYS_vhangup, SYS_uselib, SYS_sysfs, SYS_ustat, SYS__sysctl, SYS_lookup_dcookie, SYS_move_pages, SYS_migrate_pages, SYS_remap_file_pages,
};
/* Local, the Internet's, and the one that tells of the host's interfaces. */
static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define COUNT(list) (sizeof(list) / sizeof *(list))
#define SPEC_ALLOW (1UL << 2) /* seccomp(2): what runs here is ours, and needs no mitigation that slows it */

#define LOAD(field) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(op, value, yes, no) (struct sock_filter) BPF_JUMP(BPF_JMP | (op) | BPF_K, value, yes, no)
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
#define FAIL(error) RETURN(SECCOMP_RET_ERRNO | (error))

int service_calls(void) {
  struct sock_filter program[2 * COUNT(refused) + COUNT(families) + 32];
  unsigned short n = 0;
  program[n++] = LOAD(arch);
  program[n++] = IF(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
  program[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
  program[n++] = LOAD(nr);
  /* x32 */
  program[n++] = IF(BPF_JGE, 0x40000000, 0, 1);
  program[n++] = RETURN(SECCOMP_RET_KILL_PROCESS);
  for (size_t i = 0; i < COUNT(refused); i++) {
    program[n++] = IF(BPF_JEQ, refused[i], 0, 1);
    program[n++] = FAIL(EPERM);
  }
  /* Its flags are in memory, where no filter reads them: the C library then calls clone. */
  program[n++] = IF(BPF_JEQ, 435 /* clone3 */, 0, 1);
  program[n++] = FAIL(ENOSYS);
  program[n++] = IF(BPF_JEQ, SYS_clone, 0, 4);
  program[n++] = LOAD(args[0]);
  program[n++] = IF(BPF_JSET, NAMESPACES, 0, 1);
  program[n++] = FAIL(EPERM);
  program[n++] = RETURN(SECCOMP_RET_ALLOW);
  program[n++] = IF(BPF_JEQ, SYS_socket, 1, 0);
  program[n++] = RETURN(SECCOMP_RET_ALLOW);
  program[n++] = LOAD(args[0]);
  for (size_t i = 0; i < COUNT(families); i++) program[n++] = IF(BPF_JEQ, families[i], (unsigned char)(COUNT(families) - i), 0);
  program[n++] = FAIL(EAFNOSUPPORT);
  program[n++] = RETURN(SECCOMP_RET_ALLOW);
  struct sock_fprog whole = {n, program};
  return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SPEC_ALLOW, &whole);
}
