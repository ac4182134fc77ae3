/** The kernel's own doors: privilege, modules, mounts, clocks, keys, devices, other gates to system calls. */
import { call, gotShared, reached, said, type Attempt, type Layer } from './attempt.ts';

/** For root a call works, or fails for what was asked, not for who asks. */
const privileged = (id: string, title: string, words: string, by: readonly Layer[] = ['seccomp', 'uid', 'caps'], mayLack?: string, won: Attempt['won'] = reached): Attempt => ({ id, title, plain: 'root', by, ...(mayLack === undefined ? {} : { mayLack }), attempt: call(words), won });
/** The same for a call that everybody may make. */
const everybody = (id: string, title: string, words: string, mayLack?: string): Attempt => ({ id, title, plain: 'user', by: ['seccomp'], ...(mayLack === undefined ? {} : { mayLack }), attempt: call(words), won: reached });

const calls: readonly Attempt[] = [
  privileged('load-module', 'load a kernel module', '175 ~64 64 @', undefined, 'modules'),
  privileged('load-module-file', 'load a kernel module from a file', '313 0 @ 0', undefined, 'modules'),
  privileged('remove-module', 'remove a kernel module', '176 @nca_none 0x800', undefined, 'modules'),
  privileged('new-kernel', 'load another kernel', '246 0 99999 0 0', undefined, 'kexec'),
  privileged('new-kernel-file', 'load another kernel from a file', '320 0 0 1 @ 0xff000', undefined, 'kexec'),
  privileged('restart', 'restart the machine (with a wrong key)', '169 1 2 3 0'),
  privileged('swap-on', 'swap to a file', '167 @/nowhere 0', undefined, 'swap'),
  privileged('swap-off', 'stop swapping', '168 @/nowhere', undefined, 'swap'),
  privileged('accounting', 'record every process of the machine', '163 0', undefined, 'accounting'),
  privileged('quota', 'set disk quotas', '179 0x80000100 @/nowhere 0 0', undefined, 'quotas'),
  privileged('ports', 'reach the ports of the machine', '172 3', undefined, 'iopl'),
  privileged('port', 'reach one port', '173 0x80 1 1', undefined, 'ioperm'),
  privileged('host-name', 'name the machine', '170 @ 999'),
  privileged('domain-name', 'name its domain', '171 @ 999'),
  privileged('kernel-log', "read the kernel's log", '103 3 ~4096 4096'),
  privileged('other-root', 'have another root folder', '161 @.'),
  privileged('swap-root', 'exchange the root folder', '155 @/nowhere @/nowhere'),
  privileged('mount', 'mount a file system', '165 @none @. @nca-nothing 0 0', ['seccomp', 'uid', 'caps', 'landlock']),
  privileged('bind-mount', 'mount a folder of its own over another', '165 @/nowhere @. 0 4096 0', ['seccomp', 'uid', 'caps', 'landlock']),
  privileged('unmount', 'unmount', '166 @. 0', ['seccomp', 'uid', 'caps', 'landlock']),
  privileged('mount-context', 'prepare a file system (fsopen)', '430 @tmpfs 0'),
  privileged('mount-pick', 'open a mounted file system to change it (fspick)', '433 -100 @/ 0'),
  privileged('mount-tree', 'take a copy of a mount (open_tree)', '428 -100 @/ 1'),
  everybody('mount-tree-open', 'open a mount as it is (open_tree)', '428 -100 @. 0'),
  privileged('mount-move', 'move a mount', '429 -1 @ -1 @ 0'),
  privileged('mount-settings', 'make mounts writable (mount_setattr)', '442 -100 @/nowhere 0x8000 ~32 32'),
  privileged('mount-list', 'list the mounts of another namespace (listmount)', '458 ~64 ~64 1 0', undefined, 'listmount'),
  privileged('watch-all', 'watch a whole file system (fanotify)', '300 0x8 0', undefined, 'fanotify'),
  everybody('watch-files', 'watch files with fanotify as everybody may', '300 0x200 0', 'fanotify for everybody'),
  privileged('fault-handler', 'handle page faults of the kernel (userfaultfd)', '323 0', undefined, 'userfaultfd'),
  everybody('fault-handler-own', 'handle its own page faults (userfaultfd)', '323 1', 'userfaultfd'),
  everybody('secret-memory', 'have memory that the kernel itself cannot see (memfd_secret)', '447 0', 'memfd_secret'),
  everybody('local-segments', 'set processor segments (modify_ldt)', '154 0 ~64 64', 'modify_ldt'),
  everybody('handle-of', 'learn a file\'s handle (name_to_handle_at)', '303 -100 @/ ~200 ~8 0'),
  everybody('key-session', 'have a key ring of its own (keyctl)', '250 1 0', 'keys'),
  everybody('key-request', 'ask for a key', '249 @user @nca-none 0 -3', 'keys'),
  everybody('key-persistent', "reach the user's lasting key ring", '250 22 -1 -3', 'persistent key rings'),
  everybody('run-stack', 'make all memory runnable (personality)', '135 0x0400000'),
  everybody('ring-old', 'register buffers of a ring (io_uring_register)', '427 -1 0 0 0', 'io_uring'),
  everybody('move-pages', 'move its memory between nodes', '279 0 0 0 0 0 0', 'NUMA'),
  everybody('bpf-load', 'load a BPF program', '321 99 ~64 64', 'BPF for everybody'),
  everybody('module-list', 'learn which security modules there are', '461 ~64 ~8 0', 'lsm_list_modules'),
  everybody('other-gate', 'call the kernel by the numbers of x32 programs', '0x40000027', 'x32'),
  everybody('old-file-system', 'list file systems by an old call (sysfs)', '139 3', 'sysfs(2)'),
  { id: 'old-gate', title: 'call the kernel by the gate of 32-bit programs (int 0x80)', plain: 'user', by: ['seccomp'], mayLack: '32-bit programs', attempt: '$TRY old_gate >$W/loot', won: said(/^= [1-9]/) },
  everybody('clock', 'set the clock (to no time)', '227 0 @zzzzzzzzzzzzzzzz'),
  privileged('clock-old', 'set the clock by the old call', '164 0 @zzzzzzzz'),
  privileged('clock-adjust', 'adjust the clock', '159 ~400', ['seccomp']),
];

const privilege: readonly Attempt[] = [
  privileged('root-again', 'become root (setuid)', '105 0', ['uid', 'caps'], undefined, said(/^= 0/)),
  privileged('root-saved', 'become root (setresuid)', '117 0 0 0', ['uid', 'caps'], undefined, said(/^= 0/)),
  privileged('root-group', "join root's group", '106 0', ['uid', 'caps'], undefined, said(/^= 0/)),
  privileged('groups', 'join other groups (setgroups)', '116 1 ~4', ['seccomp', 'uid', 'caps']),
  privileged('real-time', 'run before all others (SCHED_FIFO)', '144 0 1 @!', ['uid', 'caps', 'kernel'], 'real-time groups'),
  privileged('nice', 'have a better priority', '141 0 0 -20', ['uid', 'caps']),
  privileged('disk-first', 'have its disk requests served first', '251 1 0 0x2000', ['uid', 'caps']),
  { id: 'spared', title: 'be the last to go when memory is short', plain: 'root', mayLack: 'the right to it for root', by: ['view', 'uid', 'caps', 'kernel'], attempt: 'echo -1000 >/proc/self/oom_score_adj && echo written >$W/loot', won: said(/written/) },
  { id: 'more-files', title: 'raise its limit of open files', plain: 'root', mayLack: 'the right to it for root', by: ['uid', 'caps'], attempt: 'ulimit -n 64; $TRY raise_limit 7 >$W/loot', won: said(/raised/) },
  { id: 'more-processes', title: 'raise its limit of processes', plain: 'root', mayLack: 'the right to it for root', by: ['uid', 'caps'], attempt: 'bash -c "ulimit -u 64; $TRY raise_limit 6" >$W/loot', won: said(/raised/) },
  { id: 'listener', title: 'answer its own calls in place of the sandbox (a seccomp listener)', plain: 'user', by: ['seccomp'], attempt: '$TRY listener 8 >$W/loot', won: said(/seccomp/) },
  { id: 'listener-wide', title: 'the same with flags in the upper half, which a filter might not look at', plain: 'user', by: ['seccomp'], attempt: '$TRY listener 0x100000008 >$W/loot', won: said(/seccomp/) },
  { id: 'listener-threads', title: 'the same for all threads', plain: 'user', by: ['seccomp'], attempt: '$TRY listener 0x19 >$W/loot', won: said(/seccomp/) },
];

/** Terminals: what is typed into one is obeyed by whoever reads it. */
const terminals: readonly Attempt[] = [
  { id: 'type', title: 'type into its terminal (TIOCSTI)', plain: 'user', by: ['seccomp'], mayLack: 'TIOCSTI', attempt: '$TRY type_in 0x5412 >$W/loot', won: said(/typed z/) },
  { id: 'type-wide', title: 'the same with bits in the upper half, which a filter might compare', plain: 'user', by: ['seccomp'], mayLack: 'TIOCSTI', attempt: '$TRY type_in 0x700005412 >$W/loot', won: said(/typed z/) },
  { id: 'host-terminals', title: 'find the terminals of the host', plain: 'never', by: ['view'], attempt: 'ls /dev/pts | grep -v ptmx >$W/loot; ls /dev/console /dev/tty0 /dev/ttyS0 /dev/vcs 2>/dev/null >>$W/loot', won: said(/./) },
];

const device = (path: string): Attempt => ({ id: `device-${path.replace('/dev/', '').replaceAll('/', '-')}`, title: `use ${path}`, plain: 'root', mayLack: path, by: ['view', 'uid', 'kernel'], attempt: `$TRY may_use ${path} >$W/loot`, won: said(/^= \d/) });
/** Opened for writing, nothing is written. */
const setting = (id: string, path: string, title: string, by: readonly Layer[] = ['view', 'uid', 'kernel']): Attempt => ({ id, title, plain: 'root', mayLack: path, by, attempt: `$TRY may_write ${path} >$W/loot`, won: said(/^= \d/) });
const secretFile = (id: string, path: string, title: string, pattern: RegExp): Attempt => ({ id, title, plain: 'root', mayLack: path, by: ['view', 'uid', 'kernel'], attempt: `head -c 3000 ${path} | tr -d '\\0' >$W/loot`, won: said(pattern) });

const places: readonly Attempt[] = [
  ...['/dev/mem', '/dev/port', '/dev/kmsg', '/dev/kvm', '/dev/vhost-vsock', '/dev/vhost-net', '/dev/uinput', '/dev/fuse', '/dev/net/tun', '/dev/loop-control', '/dev/vda', '/dev/userfaultfd', '/dev/cpu/0/msr', '/dev/ppp', '/dev/dri/renderD128'].map(device),
  setting('core-pattern', '/proc/sys/kernel/core_pattern', 'name a program that the kernel runs as root at every crash'),
  setting('modprobe', '/proc/sys/kernel/modprobe', 'name the program that loads modules'),
  setting('randomise', '/proc/sys/kernel/randomize_va_space', 'switch off address randomisation for all'),
  setting('map-minimum', '/proc/sys/vm/mmap_min_addr', 'let programs map the first page'),
  setting('binary-formats', '/proc/sys/fs/binfmt_misc/register', 'register a format of programs'),
  setting('magic-key', '/proc/sysrq-trigger', 'press the magic key'),
  setting('forwarding', '/proc/sys/net/ipv4/ip_forward', 'forward packets', ['view', 'uid', 'netns', 'kernel']),
  setting('hotplug', '/sys/kernel/uevent_helper', 'name a program that runs at every new device'),
  setting('tracing', '/sys/kernel/tracing/kprobe_events', 'trace the kernel'),
  setting('debugging', '/sys/kernel/debug/sched/features', "reach the kernel's debugging files"),
  setting('firmware', '/sys/firmware/efi/efivars', "write the firmware's variables"),
  setting('group-release', '/sys/fs/cgroup/memory/release_agent', 'name a program that runs when a control group is empty'),
  setting('group-move', '/sys/fs/cgroup/cgroup.procs', 'leave its control group'),
  setting('group-move-old', '/sys/fs/cgroup/memory/cgroup.procs', 'leave its control group (v1)'),
  setting('power', '/sys/power/state', 'put the machine to sleep'),
  secretFile('kernel-memory', '/proc/kcore', "read the kernel's memory", /ELF/),
  secretFile('kernel-symbols', '/proc/kallsyms', 'learn where the kernel lies', /^(?!0{16})[0-9a-f]{16} /m),
  secretFile('key-list', '/proc/keys', 'list keys', /keyring|user/),
  secretFile('timers', '/proc/timer_list', "list the kernel's timers", /Timer|now at/),
  secretFile('kernel-command', '/proc/cmdline', "read the kernel's command line", /./),
  secretFile('host-accounts', '/etc/shadow', "read the host's passwords", /root:/),
];

/** What is shared without a path. */
const shared = (['memory', 'messages', 'gate', 'queue', 'file'] as const).map((what): Attempt => ({
  id: `shared-${what}`, title: `use a host program's ${{ memory: 'shared memory (System V)', messages: 'message queue (System V)', gate: 'semaphore (System V)', queue: 'message queue (POSIX)', file: 'shared memory (POSIX)' }[what]}`, plain: 'user', ...(what === 'queue' ? { mayLack: 'POSIX queues' } : {}), by: ['kernel'],
  attempt: `$TRY shared ${what} ${what === 'queue' || what === 'file' ? '$NAME' : '$KEY'} >$W/loot`, won: what === 'gate' ? said(/open/) : gotShared,
}));

export const kernel: readonly Attempt[] = [...calls, ...privilege, ...terminals, ...places, ...shared];
