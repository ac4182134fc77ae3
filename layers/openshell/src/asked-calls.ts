/** `syscalls.escalate`: which system calls can wait for a person by their name, and what happens once approved. */
import { NemoError, type AskedCall } from '@nemoclaw/contract';
import { callRules, indispensable, type SyscallLevel } from './seccomp-calls.ts';
import { callNumbers } from './seccomp-numbers.ts';
import type { CallRule } from './seccomp-program.ts';

/**
 * Arguments are numbers (`name:count`): after approval the kernel does the call as it stands. Registers cannot change while it waits: a tracer can only write to a stopped task,
 * and a task that waits for its notification (WAIT_KILLABLE_RECV) stops for nobody; the filter of an agent that returns TRACE ranks below ours (seccomp(2)).
 */
const numbersOnly = new Map(
  'kill:2 tkill:2 tgkill:3 setpriority:3 setpgid:2 socket:3 listen:2 shutdown:2 ftruncate:2 fallocate:4 flock:2 umask:1 setuid:1 setgid:1 setreuid:2 setregid:2 setresuid:3 setresgid:3 setfsuid:1 setfsgid:1 personality:1 pidfd_open:2 shmget:3 msgget:2 semget:3 mlockall:1 unshare:1 alarm:1 ioprio_set:3 syncfs:1 inotify_init1:1 eventfd2:2 timerfd_create:2 ptrace:4 kcmp:5 landlock_restrict_self:2'
    .split(' ')
    .map((entry) => {
      const [name = '', count = ''] = entry.split(':');
      return [name, Number(count)] as const;
    }),
);
/** openshelld does these itself, on the objects that were shown. */
const performed: ReadonlySet<string> = new Set(
  'unlink unlinkat rmdir rename renameat renameat2 creat mkdir mkdirat mknod mknodat symlink symlinkat link linkat truncate chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr removexattr lremovexattr connect'.split(' '),
);

/** What the filter would allow is asked about; what it would refuse is refused at once, since nobody may approve it. */
function asking(rule: CallRule): CallRule {
  if (typeof rule !== 'string') return { ...rule, then: asking(rule.then), else: asking(rule.else) };
  return rule === 'allow' ? 'refuse' : rule === 'refuse' ? 'deny' : rule;
}

/** The calls and their rules in the filter. Throws NemoError NEMO_E_PLAN_SYSCALL for a name that cannot wait. */
export function askedCalls(names: readonly string[], level: SyscallLevel, allow: readonly string[]): { readonly calls: readonly AskedCall[]; readonly rules: ReadonlyMap<string, CallRule> } {
  const at = callRules(level);
  const standard = callRules('standard');
  const calls: AskedCall[] = [];
  const rules = new Map<string, CallRule>();
  for (const name of names) {
    const nr = callNumbers.get(name);
    const rule = allow.includes(name) ? standard.get(name) : at.get(name);
    const fail = (why: string, fix: string): never => {
      throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `syscalls.escalate: nobody can be asked about ${name}.`, why, fix });
    };
    if (nr === undefined) return fail('It is not a system call of this machine.', 'Look at its spelling.');
    if (rule === undefined || rule === 'refuse' || rule === 'absent') return fail(`At level ${level} it does not exist or is refused anyway.`, 'Remove it, or allow it by `syscalls.allow` or another level.');
    const goesOn = numbersOnly.has(name);
    if (!goesOn && indispensable.has(name)) return fail('No program could be started without it.', 'For programs use `process.exec.escalate`, for files `filesystem.escalate`.');
    if (!goesOn && !performed.has(name)) {
      return fail('Its arguments are in memory that the agent can change while a person looks.', 'For files use `filesystem.escalate`; for the network, rules under `egress.escalate`; or deny it by `syscalls.deny`.');
    }
    calls.push({ name, nr, args: numbersOnly.get(name) ?? 0, goesOn });
    rules.set(name, goesOn ? asking(rule) : 'refuse');
  }
  return { calls, rules };
}
