/* Becomes the command: without the capabilities that lead out of its network, and without ways to get them back. */
#include "capture.h"
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What could join another namespace, change rules, read or steer processes outside, or load code into the kernel. */
static const int given_up[] = {CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_MKNOD, 38 /* PERFMON */, 39 /* BPF */, 40 /* CHECKPOINT_RESTORE */};

static int give_up(void) {
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2];
  for (size_t i = 0; i < sizeof given_up / sizeof *given_up; i++)
    if (prctl(PR_CAPBSET_DROP, given_up[i], 0, 0, 0) != 0 && errno != EINVAL) return -1; /* EINVAL: older kernels do not know the last ones */
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 || syscall(SYS_capget, &head, caps) != 0) return -1;
  /* The bounding set says what a program of root gets; nothing is inherited beside it. */
  caps[0].inheritable = caps[1].inheritable = 0;
  return (int)syscall(SYS_capset, &head, caps);
}

/* ioctl has another number in the 32-bit table, and on x86-64 in that of x32. */
#if defined(__x86_64__)
#define ARCH_32 AUDIT_ARCH_I386
#define X32_IOCTL (0x40000000 | 514)
#else
#define ARCH_32 AUDIT_ARCH_ARM
#define X32_IOCTL SYS_ioctl
#endif
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)

/* Nothing is typed into the terminal on somebody's behalf: a command could answer there what a person is asked. A request has 32 bits, the low ones first. */
static int type_nothing(void) {
  struct sock_filter filter[] = {
      LOAD(arch), IS(ARCH_32, 0, 2),
      LOAD(nr), IS(54, 3, 6),
      LOAD(nr), IS(SYS_ioctl, 1, 0), IS(X32_IOCTL, 0, 3),
      LOAD(args[1]), IS(TIOCSTI, 2, 0), IS(TIOCLINUX, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)};
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

int command_become(const struct options *o) {
  if (give_up() != 0) return perror("network-capture: capabilities"), 125;
  if (o->drop && (setgroups(0, NULL) != 0 || setresgid(o->gid, o->gid, o->gid) != 0 || setresuid(o->uid, o->uid, o->uid) != 0)) return perror("network-capture: user"), 125;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return perror("network-capture: no new privileges"), 125;
  if (type_nothing() != 0) return perror("network-capture: seccomp"), 125;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  execvp(o->command[0], o->command);
  fprintf(stderr, "network-policy: %s: %s\n", o->command[0], strerror(errno));
  return errno == ENOENT ? 127 : 126;
}
