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

/* Nothing is typed into the terminal on somebody's behalf: a command could answer there what a person is asked. The number of a request has 32 bits.
 * Compared are the numbers of ioctl in every table that this kernel may serve, each with its architecture (seccomp(2)). */
static int type_nothing(void) {
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
  struct sock_filter filter[] = {
      LOAD(arch),
#if defined(__x86_64__)
      IS(AUDIT_ARCH_I386, 0, 2), LOAD(nr), IS(54, 4, 3),
      LOAD(nr), IS(SYS_ioctl, 2, 0), IS(0x40000000 | 514, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
#else
      LOAD(nr), IS(SYS_ioctl, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
#endif
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      IS(TIOCSTI, 1, 0), IS(TIOCLINUX, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
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
