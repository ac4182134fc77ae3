/** What of a plan can change while its sandbox runs, and what cannot. */
import { NemoError, type LaunchPlan, type LsmPlan, type LsmRule, type PlanLimits } from '@nemoclaw/contract';
import { isBelow } from './plan-paths.ts';

/** Which words of a policy a part of the plan comes from. */
const words: Readonly<Record<string, string>> = {
  view: 'filesystem',
  landlock: 'filesystem',
  rootBytes: 'filesystem',
  network: 'isolation.network',
  seccomp: 'syscalls',
  lsm: 'mode, filesystem.protect or process.exec',
  starts: 'process.exec.escalate and filesystem.escalate on exec',
  identity: 'process.user',
  openFiles: 'resources.maxOpenFiles',
  processBytes: 'resources.maxMemory (no control group here)',
  timeoutMs: 'resources.timeout',
  diskBytes: 'resources.maxDisk',
  locks: 'filesystem.escalate (another place, or another kind of operation)',
  protect: 'filesystem.protect',
  workspace: 'filesystem.overlay or resources.maxDisk',
  audit: 'auditLog.syscalls',
};

/** Of the limits, what is set once and for all. */
function changeless({ memoryBytes: _memory, cpuMillis: _cpu, pids: _pids, ...others }: PlanLimits): Omit<PlanLimits, 'memoryBytes' | 'cpuMillis' | 'pids'> {
  return others;
}

/** In the workspace, what mounts only repeat of the kernel's rules in tier A. */
const repeated = new Set(['mask', 'freeze', 'pin', 'thaw']);

function fixedParts(plan: LaunchPlan): Map<string, string> {
  const { escalate, notes: _notes, recordRules: _names, limits, lsm, ...rest } = plan;
  const starts = escalate.filter((rule) => rule.on.includes('exec')).map((rule) => rule.path);
  // In tier A the kernel's program decides by rules that can be exchanged; mounts and Landlock stay as they are under it.
  const { view, landlock, locks, ...others } = rest;
  const ruled = lsm === null
    ? { view, landlock, locks, starts }
    : { view: view.filter((step) => !repeated.has(step.do)), landlock: { ...landlock, rules: [] }, lsm: { ...lsm, rules: [] } };
  return new Map(Object.entries({ ...others, ...ruled, ...changeless(limits) }).map(([name, value]) => [name, JSON.stringify(value)]));
}

const nearest = (rules: readonly LsmRule[], path: string): LsmRule | undefined => rules.filter((rule) => isBelow(path, rule.path)).sort((a, b) => b.path.length - a.path.length)[0];

/** Where the next rules let do what the ones that the sandbox was made with deny: its mounts and Landlock rules would go on refusing it. */
function looser(made: LsmPlan, next: LsmPlan): string[] {
  const paths = new Set([...made.rules, ...next.rules].map(({ path }) => path));
  return [...paths].filter((path) => {
    const after = nearest(next.rules, path)?.deny ?? [];
    return (nearest(made.rules, path)?.deny ?? []).some((right) => !after.includes(right));
  });
}

/**
 * Throws NEMO_E_APPLY if `next` needs more than the plan that the sandbox was `made` with allows: escalate rules and some limits are all that can change,
 * and in tier A rules on files that deny more than at the start (or, later, no longer do).
 * That is the case also where a rule asks about something that the running sandbox was not built to ask about: its mounts, Landlock rules and system call
 * filter are in the kernel for good.
 */
export function checkLiveChange(made: LaunchPlan, next: LaunchPlan): void {
  const before = fixedParts(made);
  const after = fixedParts(next);
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name)).map((name) => words[name] ?? name);
  // The number of processes is also a limit of the user's, which nobody may raise again.
  if (next.limits.pids > made.limits.pids) changed.push('resources.maxPids (no more than at the start)');
  const opened = made.lsm && next.lsm ? looser(made.lsm, next.lsm) : [];
  if (opened.length > 0) changed.push(`filesystem (more than at the start, at ${opened.slice(0, 3).join(', ')})`);
  if (changed.length === 0) return;
  throw new NemoError('NEMO_E_APPLY', {
    what: `A running sandbox keeps what it was made with: ${[...new Set(changed)].join(', ')}.`,
    why: 'Mounts, Landlock rules and the system call filter cannot be taken back; only filesystem.escalate within them, maxMemory, maxCPU and maxPids change while it runs, and in tier A rules on files that deny more.',
    fix: 'Destroy the sandbox and make a new one. The former policy is still in force.',
  });
}
