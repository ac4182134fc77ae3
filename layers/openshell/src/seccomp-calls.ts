/** Which system calls a sandbox may make, by level, with the reason for every exception. */
import { syscallLevels } from '@nemoclaw/contract';
import { callNumbers } from './seccomp-numbers.ts';
import type { CallRule } from './seccomp-program.ts';

export type SyscallLevel = (typeof syscallLevels)[number];

/** Calls that belong together, and why a sandbox has them. Every call stands in one group of one level only (a test). */
export interface CallGroup {
  readonly level: SyscallLevel;
  readonly name: string;
  /** What needs them, and why they reach nothing that the other layers do not decide. */
  readonly why: string;
  readonly calls: string;
}

/** What node, python, git, gcc and a shell need. Nothing here reaches past what uid, mounts, Landlock and namespaces allow. */
const minimal: readonly Omit<CallGroup, 'level'>[] = [
  { name: 'descriptors', why: 'Every program reads and writes what it has opened; opening is decided by mounts and Landlock.', calls: 'read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup dup2 dup3 flock' },
  { name: 'durability', why: 'Databases and git wait until their files are on disk.', calls: 'fsync fdatasync syncfs sync sync_file_range' },
  { name: 'looking at files', why: 'Shells, interpreters and compilers look for files; what is not in the view is not there.', calls: 'stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2 readlink readlinkat getcwd chdir fchdir getdents getdents64 umask' },
  { name: 'names', why: 'git and package managers make, move and remove files; mounts and Landlock decide where.', calls: 'mkdir mkdirat link linkat symlink symlinkat unlink unlinkat rmdir rename renameat renameat2' },
  { name: 'contents', why: 'Sizes, holes and copies of files that are already open, or that Landlock lets change.', calls: 'truncate ftruncate fallocate fadvise64 readahead copy_file_range sendfile splice tee vmsplice' },
  { name: 'owners and times', why: 'tar, git and make set them; without capabilities an owner can only be kept.', calls: 'chown fchown lchown fchownat utime utimes futimesat utimensat' },
  { name: 'attributes', why: 'cp and tar keep user attributes; others need capabilities.', calls: 'getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr' },
  { name: 'memory', why: 'Every program maps memory; compilers of scripts make code in their own. Files in memory are for JavaScript engines and shared buffers.', calls: 'mmap mprotect munmap mremap msync mincore madvise brk mlock munlock mlock2 memfd_create membarrier pkey_mprotect pkey_alloc pkey_free mseal map_shadow_stack cachestat process_madvise' },
  { name: 'signals', why: 'Within the sandbox: its own processes are all that the pid namespace shows, and Landlock scopes signals.', calls: 'rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack kill tkill tgkill pause signalfd signalfd4 restart_syscall' },
  { name: 'processes and threads', why: 'Starting programs and threads; new namespaces are refused by argument. Which programs start is decided by mounts and Landlock.', calls: 'fork vfork execve execveat exit exit_group wait4 waitid set_tid_address set_robust_list get_robust_list futex futex_waitv futex_wake futex_wait futex_requeue rseq arch_prctl prctl pidfd_open pidfd_send_signal' },
  { name: 'identity', why: 'Programs ask who they are, and set what they already are; another uid needs capabilities that nobody has.', calls: 'getpid getppid gettid getuid geteuid getgid getegid getgroups getresuid getresgid getpgid getpgrp getsid setsid setpgid capget capset setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid' },
  { name: 'limits and accounting', why: 'Reading them; setting them only lowers.', calls: 'getrlimit setrlimit getrusage getpriority setpriority ioprio_get ioprio_set sysinfo times uname getcpu' },
  { name: 'scheduling', why: 'Thread pools place their threads; real-time classes need capabilities.', calls: 'sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval' },
  { name: 'time', why: 'Clocks and timers; setting a clock is not among them.', calls: 'time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime' },
  { name: 'waiting', why: 'Event loops, pipes and watchers of files that can be seen.', calls: 'poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 pipe pipe2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch' },
  { name: 'sockets', why: 'What socket(2) refuses by argument cannot be opened; the rest ends at the proxy or in the sandbox.', calls: 'connect accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg shutdown bind listen getsockname getpeername setsockopt getsockopt' },
  { name: 'randomness', why: 'Keys, hashes and temporary names need it.', calls: 'getrandom' },
];

/** For tools that developers expect. */
const standardToo: readonly Omit<CallGroup, 'level'>[] = [
  { name: 'debuggers', why: 'gdb, strace, and profilers on the own processes: Landlock confines them to the sandbox, init is not dumpable.', calls: 'ptrace process_vm_readv process_vm_writev kcmp' },
  { name: 'System V and POSIX queues', why: 'Databases and Python multiprocessing; the ipc namespace is the sandbox’s own.', calls: 'shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr' },
  { name: 'locked memory', why: 'Programs that keep keys out of swap; bounded by RLIMIT_MEMLOCK.', calls: 'mlockall munlockall' },
  { name: 'own sandboxes', why: 'Browsers and build tools confine their own children further; it can only take away.', calls: 'landlock_create_ruleset landlock_add_rule landlock_restrict_self' },
  { name: 'old asynchronous files', why: 'Databases; unlike io_uring it goes through the same checks as read and write.', calls: 'io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents' },
];

/** For tools that look deep into their own processes. It still reaches no other process, and no part of the kernel that only root has. */
const permissiveToo: readonly Omit<CallGroup, 'level'>[] = [
  { name: 'placing memory', why: 'Databases, the JVM and numerical libraries place their memory on NUMA nodes; lower levels tell them that there are none.', calls: 'get_mempolicy set_mempolicy mbind set_mempolicy_home_node migrate_pages move_pages' },
  { name: 'file handles', why: 'Watchers compare files by handle; opening one by its handle stays refused.', calls: 'name_to_handle_at' },
];

/** Every group of every level. */
export const callGroups: readonly CallGroup[] = [
  ...minimal.map((one): CallGroup => ({ level: 'minimal', ...one })),
  ...standardToo.map((one): CallGroup => ({ level: 'standard', ...one })),
  ...permissiveToo.map((one): CallGroup => ({ level: 'permissive', ...one })),
];

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
  // F_SETLEASE: whoever opens a file of the workspace from outside, its owner's editor too, would wait until the lease is given up, for 45 s.
  fcntl: { arg: 1, equals: [1024], then: 'refuse', else: 'allow' },
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
/** Only at level permissive. */
const testedPermissive: Readonly<Record<string, CallRule>> = {
  // gdb and rr start a program without address randomisation (0x0040000).
  personality: { arg: 0, equals: [0, 0xffffffff, 0x0040000], then: 'allow', else: 'refuse' },
};

/** Calls that depend on an argument, by the first level that has them; a higher level may say more. */
export const testedCalls: Readonly<Record<SyscallLevel, readonly string[]>> = { minimal: Object.keys(tested), standard: Object.keys(testedStandard), permissive: Object.keys(testedPermissive) };
/** Calls that do not exist at the lowest level. */
export const absentCalls: readonly string[] = absent.trim().split(/\s+/);

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Rules by call name at a level. Calls that are named nowhere are refused. */
export function callRules(level: SyscallLevel): Map<string, CallRule> {
  const rules = new Map<string, CallRule>();
  for (const name of absentCalls) rules.set(name, 'absent');
  for (const group of callGroups) if (syscallLevels.indexOf(group.level) <= syscallLevels.indexOf(level)) for (const name of words(group.calls)) rules.set(name, 'allow');
  for (const [name, rule] of Object.entries(tested)) rules.set(name, rule);
  if (level !== 'minimal') for (const [name, rule] of Object.entries(testedStandard)) rules.set(name, rule);
  if (level === 'permissive') for (const [name, rule] of Object.entries(testedPermissive)) rules.set(name, rule);
  for (const name of rules.keys()) if (!callNumbers.has(name)) throw new RangeError(`${name} is not a system call`);
  return rules;
}

/** What a policy may add by name to a lower level: exactly what `permissive` has. */
export function mayAdd(name: string): CallRule | undefined {
  const rule = callRules('permissive').get(name);
  return rule === 'absent' ? undefined : rule;
}

/** Without these init cannot start a program, so no policy can take them away. */
export const indispensable: ReadonlySet<string> = new Set(words('read write close poll recvmsg sendmsg fork clone wait4 execve exit exit_group kill dup2 dup3 fcntl setsid chdir close_range rt_sigprocmask rt_sigaction rt_sigreturn ioctl pipe2 mmap munmap brk mprotect'));

/** Calls that delete or rename: the shim performs them where a policy escalates one of them. */
export const removalCalls = ['unlink', 'unlinkat', 'rmdir', 'rename', 'renameat', 'renameat2'] as const;
