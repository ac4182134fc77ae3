/** `mode: monitor`: the same policy without the rules that would refuse something, and those rules as what openshelld watches for instead. */
import { NemoError, type EscalateRule, type SandboxPolicy } from '@nemoclaw/contract';
import { callRules, indispensable } from './seccomp-calls.ts';
import { callNumbers } from './seccomp-numbers.ts';
import type { CallRule } from './seccomp-program.ts';
import { fileRules, ruledPath } from './file-rules.ts';
import { ruleRef } from './record-rules.ts';

export interface Monitored {
  /** Levels, limits and what the view shows of the host are as they were. */
  readonly policy: SandboxPolicy;
  /** Each with what would have become of the operation. */
  readonly rules: readonly EscalateRule[];
  /** System calls that the policy takes away, where its level has them. */
  readonly calls: ReadonlyMap<string, CallRule>;
}

/** So many rules with a path can be told apart (openshelld's sets of rules have 64 bits). */
const maxRules = 64;
/** What beats what: a denial a question (rank 2), a question a grant. */
const denial = 3, grant = 1;
type Op = EscalateRule['on'][number];
const changes: readonly Op[] = ['delete', 'rename', 'write', 'create'];
const anything: readonly Op[] = [...changes, 'read', 'connect', 'start'];

/** What the filter lets through is told; what the level refuses stays refused. */
function watching(rule: CallRule): CallRule {
  if (typeof rule !== 'string') return { ...rule, then: watching(rule.then), else: watching(rule.else) };
  return rule === 'allow' ? 'refuse' : rule === 'refuse' ? 'deny' : rule;
}

function takenCalls(policy: SandboxPolicy): { readonly calls: ReadonlyMap<string, CallRule>; readonly rules: readonly EscalateRule[] } {
  const { spec } = policy;
  const level = callRules(spec.syscalls.profile ?? spec.isolation.syscalls);
  const calls = new Map<string, CallRule>();
  const rules = spec.syscalls.deny.flatMap((name, index): EscalateRule[] => {
    const nr = callNumbers.get(name), rule = level.get(name);
    if (nr === undefined) throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `${name} is not a system call of this machine.` });
    if (indispensable.has(name)) throw new NemoError('NEMO_E_PLAN_SYSCALL', { what: `${name} cannot be denied.`, why: 'No program could be started in the sandbox without it.' });
    if (rule === undefined || rule === 'refuse' || rule === 'absent') return [];
    calls.set(name, watching(rule));
    return [{ path: '/', on: ['call'], calls: [{ name, nr, args: 0, goesOn: true }], watch: { would: 'deny', rank: denial, rule: ruleRef(policy, `syscalls.deny[${index}]`) } }];
  });
  return { calls, rules };
}

/** `ruleOf` names a rule as the policy does (exec-rules.ts). Throws NemoError: NEMO_E_PLAN_PATH (more rules than can be watched), NEMO_E_PLAN_SYSCALL. */
export function monitored(policy: SandboxPolicy, ruleOf: (rule: string) => string): Monitored {
  const { spec } = policy;
  const { filesystem, process } = spec;
  const watch = (path: string, on: readonly Op[], would: 'deny' | 'allow', rank: 1 | 3, rule: string): EscalateRule => ({ path, on, watch: { would, rank, rule: ruleRef(policy, ruleOf(rule)) } });
  const open: SandboxPolicy = { ...policy, spec: { ...spec, filesystem: { ...filesystem, deny: [], readOnly: [] } } };
  const writable = fileRules(open);
  // What the view shows of the host stays read-only: only what is taken out of a writable folder is a rule.
  const inside = (pattern: string): boolean => writable.grantAt(ruledPath(pattern))?.access === 'write';
  const files: EscalateRule[] = [
    ...filesystem.deny.map((pattern, i) => watch(ruledPath(pattern), anything, 'deny', denial, `filesystem.deny[${i}]`)),
    ...filesystem.readOnly.flatMap((pattern, i) => (inside(pattern) ? [watch(ruledPath(pattern), changes, 'deny', grant, `filesystem.readOnly[${i}]`)] : [])),
  ];
  const writes = filesystem.readWrite.map((pattern, i) => watch(ruledPath(pattern), changes, 'allow', grant, `filesystem.readWrite[${i}]`));
  const allowed = process.exec.allow.map((pattern, i) => watch(ruledPath(pattern), ['start'], 'allow', grant, `process.exec.allow[${i}]`));
  const programs = allowed.length === 0 ? [] : [watch('/', ['start'], 'deny', grant, 'process.exec.allow'), ...allowed];
  const taken = takenCalls(policy);
  const rules = [...files, ...(files.length === 0 ? [] : writes), ...programs, ...taken.rules];
  if (rules.length > maxRules) throw new NemoError('NEMO_E_PLAN_PATH', { what: `mode: monitor: the policy has ${rules.length} rules on files, programs and calls; ${maxRules} can be watched.`, fix: 'Name folders that hold several of them, or say `mode: enforce`.' });
  const readOnly = filesystem.readOnly.filter((pattern) => !inside(pattern));
  return {
    policy: { ...policy, spec: { ...spec, filesystem: { ...filesystem, deny: [], readOnly }, process: { ...process, exec: { ...process.exec, allow: [] } }, syscalls: { ...spec.syscalls, deny: [], escalate: spec.syscalls.escalate.filter((name) => !spec.syscalls.deny.includes(name)) } } },
    rules,
    calls: taken.calls,
  };
}
