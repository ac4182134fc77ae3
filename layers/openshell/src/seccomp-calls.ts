/** Which system calls a sandbox may make, by level, with the reason for every exception. */
import type { syscallLevels } from '@nemoclaw/contract';
import { callNumbers } from './seccomp-numbers.ts';
import type { CallRule } from './seccomp-program.ts';

export type SyscallLevel = (typeof syscallLevels)[number];

/** What node, python, git, gcc and a shell need. Nothing here reaches past what uid, mounts, Landlock and namespaces allow. */
const minimal = `
  read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3 fcntl flock fsync fdatasync syncfs sync sync_file_range
  stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getcwd chdir fchdir getdents getdents64 umask
  mkdir mkdirat link linkat symlink symlinkat unlink unlinkat rmdir rename renameat renameat2 truncate ftruncate fallocate fadvise64 readahead copy_file_range sendfile splice tee vmsplice
  chown fchown lchown fchownat utime utimes futimesat utimensat
  getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr
  mmap mprotect munmap mremap msync mincore madvise brk mlock munlock mlock2 memfd_create membarrier pkey_mprotect pkey_alloc pkey_free mseal map_shadow_stack cachestat process_madvise
  rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack kill tkill tgkill pause signalfd signalfd4 restart_syscall
  fork vfork execve execveat exit exit_group wait4 waitid set_tid_address set_robust_list get_robust_list futex futex_waitv futex_wake futex_wait futex_requeue rseq arch_prctl prctl pidfd_open pidfd_send_signal
  getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgid getpgrp getsid setsid setpgid capget capset
  setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid
  getrlimit setrlimit getrusage getpriority setpriority ioprio_get ioprio_set sysinfo times uname getcpu
  sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
  time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime
  poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 pipe pipe2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
  connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown bind listen getsockname getpeername setsockopt getsockopt
  getrandom
`;

/** For tools that developers expect: debuggers (Landlock confines ptrace to the sandbox, init is not dumpable), SysV and POSIX queues, nested sandboxes. */
const standardToo = `
  ptrace process_vm_readv process_vm_writev kcmp shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
  mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr mlockall munlockall
  landlock_create_ruleset landlock_add_rule landlock_restrict_self io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
`;

/** Libraries try these and fall back when they do not exist; EPERM would be taken for a failure. */
const absent = `
  clone3 openat2 io_uring_setup io_uring_enter io_uring_register statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules get_mempolicy set_mempolicy mbind
  set_mempolicy_home_node memfd_secret setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr remap_file_pages
  uselib ustat sysfs _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall security vserver epoll_ctl_old epoll_wait_old set_thread_area get_thread_area lookup_dcookie
`;

const NEW_NAMESPACES = 0x7e020080; // CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET|NEWTIME
const CLONE_NAMESPACES = 0x7e020000; // for clone(2) 0x80 is part of the exit signal
const SET_ID_BITS = 0o6000;
const O_CREAT = 0o100, O_TMPFILE = 0o20000000;

/** A file with a set-uid bit keeps it on the host, where the workspace's owner may be root. */
const withoutSetId = (arg: number): CallRule => ({ arg, mask: SET_ID_BITS, equals: [0], then: 'allow', else: 'refuse' });
/** The mode of open(2) only counts when something is created. */
const opening = (flags: number, mode: number): CallRule => ({ arg: flags, mask: O_CREAT | O_TMPFILE, equals: [0], then: 'allow', else: withoutSetId(mode) });
/** mknod: files, pipes and sockets, never devices. */
const making = (mode: number): CallRule => ({ arg: mode, mask: 0o170000, equals: [0, 0o100000, 0o010000, 0o140000], then: withoutSetId(mode), else: 'refuse' });

const AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16;
const socketKind: CallRule = { arg: 1, mask: 0xf, equals: [1, 2], then: { arg: 2, equals: [0, 6, 17], then: 'allow', else: 'refuse' }, else: 'refuse' };

/** Calls that depend on an argument. */
const tested: Readonly<Record<string, CallRule>> = {
  clone: { arg: 0, mask: CLONE_NAMESPACES, equals: [0], then: 'allow', else: 'refuse' },
  unshare: { arg: 0, mask: NEW_NAMESPACES, equals: [0], then: 'allow', else: 'refuse' },
  open: opening(1, 2),
  openat: opening(2, 3),
  creat: withoutSetId(1),
  chmod: withoutSetId(1),
  fchmod: withoutSetId(1),
  fchmodat: withoutSetId(2),
  fchmodat2: withoutSetId(2),
  mknod: making(1),
  mknodat: making(2),
  // TCP and UDP; raw, SCTP, DCCP, UDP-Lite and MPTCP would not pass through the proxy. Netlink: only routes (interfaces are listed by it).
  socket: {
    arg: 0, equals: [AF_UNIX], then: 'allow',
    else: { arg: 0, equals: [AF_INET, AF_INET6], then: socketKind, else: { arg: 0, equals: [AF_NETLINK], then: { arg: 2, equals: [0], then: 'allow', else: 'refuse' }, else: 'refuse' } },
  },
  socketpair: { arg: 0, equals: [AF_UNIX], then: 'allow', else: 'refuse' },
  // TIOCSTI and TIOCLINUX type into the terminal of whoever is attached.
  ioctl: { arg: 1, equals: [0x5412, 0x541c], then: 'refuse', else: 'allow' },
  // Not on others: init has the same uid and must keep its limits.
  prlimit64: { arg: 0, equals: [0], then: 'allow', else: { arg: 2, wide: true, equals: [0], then: 'allow', else: 'refuse' } },
};
/** Only at level standard. */
const testedStandard: Readonly<Record<string, CallRule>> = {
  // A filter of the agent's own may only take away; a listener of its own could answer for us (the kernel refuses that too).
  seccomp: { arg: 1, mask: 0x8, equals: [0], then: 'allow', else: 'refuse' },
  // Query, or the plain Linux personality; never without address randomisation.
  personality: { arg: 0, equals: [0, 0xffffffff], then: 'allow', else: 'refuse' },
};

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Rules by call name at a level. Calls that are named nowhere are refused. */
export function callRules(level: SyscallLevel): Map<string, CallRule> {
  const rules = new Map<string, CallRule>();
  for (const name of words(absent)) rules.set(name, 'absent');
  for (const name of words(minimal)) rules.set(name, 'allow');
  for (const [name, rule] of Object.entries(tested)) rules.set(name, rule);
  if (level !== 'minimal') {
    for (const name of words(standardToo)) rules.set(name, 'allow');
    for (const [name, rule] of Object.entries(testedStandard)) rules.set(name, rule);
  }
  for (const name of rules.keys()) if (!callNumbers.has(name)) throw new RangeError(`${name} is not a system call`);
  return rules;
}

/** What a policy may add by name to `minimal`: exactly what `standard` has. */
export function mayAdd(name: string): CallRule | undefined {
  const rule = callRules('standard').get(name);
  return rule === 'absent' ? undefined : rule;
}

/** Without these init cannot start a program, so no policy can take them away. */
export const indispensable: ReadonlySet<string> = new Set(words('read write close poll recvmsg sendmsg fork clone wait4 execve exit exit_group kill dup2 dup3 fcntl setsid chdir close_range rt_sigprocmask rt_sigaction rt_sigreturn ioctl pipe2 mmap munmap brk mprotect'));

/** Calls that delete or rename: the shim performs them where a policy escalates one of them. */
export const removalCalls = ['unlink', 'unlinkat', 'rmdir', 'rename', 'renameat', 'renameat2'] as const;
