/** The seccomp program of a policy. */
import { NemoError } from '@nemoclaw/contract';
import { callRules, indispensable, mayAdd, removalCalls, type SyscallLevel } from './seccomp-calls.ts';
import { callNumbers } from './seccomp-numbers.ts';
import { compileFilter, encodeFilter, type CallRule } from './seccomp-program.ts';

export interface SyscallChoice {
  readonly level: SyscallLevel;
  /** Names to add; only what `permissive` has. */
  readonly allow: readonly string[];
  /** Names to take away; EPERM at once. */
  readonly deny: readonly string[];
  /** True: calls that delete or rename go to the shim, which performs them. */
  readonly removalsAsked: boolean;
  /** Other calls that go there, where a level allows them. */
  readonly asked?: ReadonlyMap<string, CallRule>;
  /** True: no file in memory, which no mount could keep from being run; libraries fall back. */
  readonly onlyNamedPrograms?: boolean;
  /** True: nobody gets space on a disk but by writing, because it is counted: one call could take all there is. C libraries and programs then write zeros. */
  readonly spaceByWriting?: boolean;
}

/** FS_IOC_RESVSP, FS_IOC_RESVSP64, FS_IOC_ZERO_RANGE: fallocate(2) of old, in every file system; XFS_IOC_ALLOCSP, XFS_IOC_ALLOCSP64; FS_IOC_FSSETXATTR: how much more than is written a file gets at once. */
const reserving = [0x40305828, 0x4030582a, 0x40305839, 0x4030580a, 0x40305824, 0x401c5820];

function named(name: string): number {
  const number = callNumbers.get(name);
  if (number === undefined) throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `${name} is not a system call of this machine.` });
  return number;
}

/** The program as hex for `LaunchPlan.seccomp.filter`. Throws NemoError NEMO_E_PLAN_SYSCALL. */
export function seccompFilter(choice: SyscallChoice): string {
  const rules = callRules(choice.level);
  for (const name of choice.allow) {
    named(name);
    const rule = mayAdd(name);
    if (rule === undefined) throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `${name} cannot be allowed.`, why: 'It reaches past the sandbox, or the start-up probe relies on its refusal.' });
    rules.set(name, rule);
  }
  if (choice.removalsAsked) for (const name of removalCalls) rules.set(name, 'refuse');
  for (const [name, rule] of choice.asked ?? []) if (rules.get(name) !== 'absent') rules.set(name, rule);
  if (choice.onlyNamedPrograms === true) rules.set('memfd_create', 'absent');
  if (choice.spaceByWriting === true) {
    rules.set('fallocate', 'unsupported');
    // A rule about a file keeps the file after its last name and descriptor, and nobody can see that it does.
    rules.set('landlock_create_ruleset', 'unsupported');
    rules.set('ioctl', { arg: 1, equals: reserving, then: 'unsupported', else: rules.get('ioctl') ?? 'refuse' });
  }
  for (const name of choice.deny) {
    named(name);
    if (indispensable.has(name)) throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `${name} cannot be denied.`, why: 'No program could be started in the sandbox without it.' });
    rules.set(name, 'deny');
  }
  return encodeFilter(compileFilter(new Map([...rules].map(([name, rule]) => [named(name), rule])), 'refuse'));
}
