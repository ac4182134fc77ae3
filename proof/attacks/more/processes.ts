/** Other processes: signals, memory, priorities; namespaces; living on. */
import { readFileSync, readlinkSync } from 'node:fs';
import type { Seen } from '../world.ts';
import { call, gotSecret, inWorkspace, neighbourGone, reached, said, type Attempt } from './attempt.ts';

const field = (world: Seen['world'], index: number): string => readFileSync(`/proc/${world.neighbour?.pid ?? 0}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[index - 3] ?? '';
const status = (world: Seen['world'], name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${world.neighbour?.pid ?? 0}/status`, 'utf8'))?.[1] ?? '';

const kills = (['thread_kill', 'group_thread_kill', 'queue_signal', 'descriptor_kill', 'socket_signal'] as const).map((how): Attempt => ({
  id: how.replaceAll('_', '-'), title: `end a host process of the same uid by ${how.replaceAll('_', ' ')}`, plain: 'user', by: ['pidns', 'landlock'], attempt: `$TRY ${how} $NEIGHBOUR`, won: neighbourGone,
}));

const neighbours: readonly Attempt[] = [
  ...kills,
  { id: 'kill-all', title: 'end every process that may be signalled', plain: 'user', by: ['pidns', 'landlock'], attempt: '$TRY kill_all 0', won: neighbourGone },
  { id: 'freeze-neighbour', title: 'stop a host process of the same uid', plain: 'user', by: ['pidns', 'landlock'], attempt: '$TRY freeze_it $NEIGHBOUR', won: ({ world }) => field(world, 3) === 'T' },
  { id: 'read-memory', title: 'read its memory by process_vm_readv', plain: 'user', by: ['pidns', 'landlock'], attempt: '$TRY read_memory $NEIGHBOUR >$W/loot', won: gotSecret },
  { id: 'memory-file', title: 'read its memory by /proc/PID/mem', plain: 'user', by: ['pidns', 'landlock'], attempt: '$TRY read_mem_file $NEIGHBOUR >$W/loot', won: gotSecret },
  { id: 'take-descriptor', title: 'take a descriptor from it', plain: 'user', by: ['pidns', 'landlock', 'seccomp'], attempt: '$TRY take_descriptor $NEIGHBOUR 0 >$W/loot', won: said(/taken/) },
  { id: 'compare', title: 'compare its kernel objects with its own (kcmp)', plain: 'user', mayLack: 'kcmp', by: ['pidns', 'landlock'], attempt: '$TRY compare $NEIGHBOUR >$W/loot', won: said(/compared/) },
  { id: 'seize', title: 'attach to it without stopping it', plain: 'user', by: ['pidns', 'landlock'], attempt: '$TRY seize $NEIGHBOUR >$W/loot', won: said(/seized/) },
  { id: 'lower', title: 'take its priority', plain: 'user', by: ['pidns'], attempt: '$TRY lower $NEIGHBOUR', won: ({ world }) => field(world, 19) === '19' },
  { id: 'lower-all', title: 'take the priority of everything of the same uid', plain: 'user', by: ['pidns'], attempt: '$TRY lower_all 0 $UID_', won: ({ world }) => field(world, 19) === '19' },
  { id: 'pin', title: 'hold it on one processor', plain: 'user', by: ['pidns'], attempt: '$TRY pin $NEIGHBOUR', won: ({ world }) => status(world, 'Cpus_allowed_list') === '0' && readFileSync('/sys/devices/system/cpu/online', 'utf8').trim() !== '0' },
  { id: 'limit-it', title: 'give it a limit of seven descriptors', plain: 'user', by: ['pidns', 'seccomp'], attempt: '$TRY limit_it $NEIGHBOUR', won: ({ world }) => /^Max open files +7 /m.test(readFileSync(`/proc/${world.neighbour?.pid ?? 0}/limits`, 'utf8')) },
  { id: 'choose-victim', title: 'choose it as the first to go when memory is short', plain: 'user', by: ['pidns', 'view', 'landlock', 'kernel'], attempt: 'echo 999 >/proc/$NEIGHBOUR/oom_score_adj', won: ({ world }) => readFileSync(`/proc/${world.neighbour?.pid ?? 0}/oom_score_adj`, 'utf8').trim() === '999' },
  { id: 'see-processes', title: 'see the processes of the host', plain: 'user', by: ['pidns', 'kernel'], attempt: 'ls /proc >$W/loot', won: ({ world, loot }) => loot.split('\n').includes(String(world.neighbour?.pid)) },
  { id: 'see-command', title: 'see what a host process was started with', plain: 'user', by: ['pidns', 'kernel'], attempt: 'cat /proc/$NEIGHBOUR/cmdline >$W/loot', won: said(/sleep/) },
];

/** Bits of clone(2) and the link under /proc/self/ns that is another one afterwards. */
const kinds = [['mount', '0x00020000', 'mnt'], ['host-name', '0x04000000', 'uts'], ['message', '0x08000000', 'ipc'], ['network', '0x40000000', 'net'], ['process', '0x20000000', 'pid_for_children'], ['group', '0x02000000', 'cgroup'], ['time', '0x00000080', 'time_for_children']] as const;
const another = (link: string) => ({ loot }: Seen): boolean => /^\w+:\[\d+\]/.test(loot) && loot.trim() !== readlinkSync(`/proc/self/ns/${link}`);
const namespaces: readonly Attempt[] = [
  ...kinds.map(([name, bits, link]): Attempt => ({ id: `${name}-namespace`, title: `make a ${name} namespace`, plain: 'root', by: ['seccomp', 'uid', 'caps'], attempt: `$TRY unshare_with ${bits} /proc/self/ns/${link} >$W/loot`, won: said(/\w+:\[\d+\]/) })),
  ...kinds.filter(([name]) => name !== 'time').map(([name, bits, link]): Attempt => ({ id: `${name}-namespace-as-root`, title: `make a ${name} namespace within a user namespace of its own`, plain: 'user', by: ['seccomp'], attempt: `$TRY unshare_with $((${bits} | 0x10000000)) /proc/self/ns/${link} >$W/loot`, won: another(link) })),
  { id: 'clone-user', title: 'start a process in a user namespace of its own', plain: 'user', by: ['seccomp'], attempt: '$TRY clone_with 0x10000000 /proc/self/ns/user >$W/loot', won: another('user') },
  { id: 'clone3-user', title: 'the same by clone3', plain: 'user', by: ['seccomp'], attempt: '$TRY clone3_with 0x10000000 /proc/self/ns/user >$W/loot', won: another('user') },
  { id: 'clone3-all', title: 'start a process in new namespaces of every kind by clone3', plain: 'user', by: ['seccomp'], attempt: '$TRY clone3_with 0x7e020000 /proc/self/ns/net >$W/loot', won: another('net') },
  { id: 'join-network', title: 'join the network of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['seccomp', 'uid', 'caps', 'pidns', 'landlock'], attempt: '$TRY join 1 net >$W/loot', won: said(/joined/) },
  { id: 'join-mounts', title: 'join the mounts of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['seccomp', 'uid', 'caps', 'pidns', 'landlock'], attempt: '$TRY join 1 mnt >$W/loot', won: said(/joined/) },
  { id: 'join-neighbour', title: 'join all namespaces of a host process by a descriptor of it', plain: 'root', by: ['seccomp', 'uid', 'caps', 'pidns', 'landlock'], attempt: '$TRY join_process $NEIGHBOUR >$W/loot', won: said(/joined/) },
];

const staying = (['vfork', 'reaper', 'storm'] as const).map((how): Attempt => ({
  id: `outlive-${how}`, title: `live on, deaf to every signal, ${{ vfork: 'by vfork', reaper: 'below a reaper of its own', storm: 'as forty' }[how]}`, plain: 'user', by: ['pidns'], attempt: `$TRY stay $W/later $TOKEN ${how}`, won: inWorkspace('later'),
}));

/** Process 1 and the launcher, from inside: the same uid as the agent, and the one that holds everything up. */
const first: readonly Attempt[] = [
  { id: 'first-environment', title: 'read the environment of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['uid', 'caps', 'landlock', 'pidns', 'kernel'], attempt: 'tr "\\0" "\\n" </proc/1/environ >$W/loot; wc -c </proc/1/environ >>$W/loot', won: said(/^[1-9]|=/m) },
  { id: 'first-descriptors', title: 'see the descriptors of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['uid', 'caps', 'landlock', 'pidns', 'kernel'], attempt: 'ls /proc/1/fd >$W/loot', won: said(/\d/) },
  { id: 'first-maps', title: 'see where the memory of process 1 lies', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['uid', 'caps', 'landlock', 'pidns', 'kernel'], attempt: 'cat /proc/1/maps >$W/loot', won: said(/-/) },
  { id: 'first-memory', title: 'read the memory of process 1', plain: 'root', mayLack: 'a process 1 that root may look at', by: ['uid', 'caps', 'landlock', 'pidns', 'kernel'], attempt: '$TRY read_mem_file 1 >$W/loot', won: said(/./) },
  { id: 'first-seized', title: 'attach to process 1', plain: 'never', by: ['kernel'], attempt: '$TRY seize 1 >$W/loot', won: said(/seized/) },
  { id: 'first-descriptor', title: 'take a descriptor from process 1', plain: 'never', by: ['seccomp', 'kernel'], attempt: 'for fd in 0 1 2 3 4 5; do $TRY take_descriptor 1 $fd; done >$W/loot', won: said(/taken/) },
  { id: 'first-limits', title: 'give process 1 a limit of seven descriptors', plain: 'never', by: ['seccomp', 'kernel'], attempt: '$TRY limit_it 1 && echo limited >$W/loot', won: said(/limited/) },
  { id: 'first-compared', title: 'compare the kernel objects of process 1', plain: 'never', by: ['kernel'], attempt: '$TRY compare 1 >$W/loot', won: said(/compared/) },
  { id: 'first-signals', title: 'send every signal to process 1', plain: 'never', by: ['kernel'], attempt: '$TRY all_signals 1; sleep 0.05; exit 9', won: ({ code }) => code !== undefined && code !== 9 },
  { id: 'first-stopped', title: 'stop process 1', plain: 'never', by: ['kernel'], attempt: '$TRY freeze_it 1; sleep 0.05; exit 9', won: ({ code }) => code !== undefined && code !== 9 },
  { id: 'parent-ended', title: 'end the parent and everybody else in the sandbox, and be reported as well', plain: 'never', by: ['kernel'], attempt: 'trap "" TERM INT HUP; kill -TERM -1; kill -KILL $PPID; exit 9', won: ({ code }) => code !== undefined && code !== 9 },
  { id: 'inherited', title: 'find a descriptor that the launcher left open', plain: 'never', by: ['fresh'], attempt: '$TRY inherited >$W/loot', won: said(/descriptor/) },
  { id: 'first-mem-reached', title: 'give process 1 away as the first to go when memory is short', plain: 'never', by: ['view'], attempt: 'echo 1000 >/proc/1/oom_score_adj && echo written >$W/loot', won: said(/written/) },
  { id: 'limit-descriptor', title: 'free its own memory in process 1 (process_mrelease)', plain: 'never', by: ['seccomp'], attempt: call('448 1 0'), won: reached },
];

export const processes: readonly Attempt[] = [...neighbours, ...namespaces, ...staying, ...first];
