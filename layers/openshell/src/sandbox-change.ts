/** What of a plan can change while its sandbox runs, and what cannot. */
import { NemoError, type LaunchPlan, type PlanLimits } from '@nemoclaw/contract';

/** Which words of a policy a part of the plan comes from. */
const words: Readonly<Record<string, string>> = {
  view: 'filesystem',
  landlock: 'filesystem',
  rootBytes: 'filesystem',
  network: 'isolation.network',
  seccomp: 'syscalls',
  lsm: 'filesystem and process.exec (tier A keeps its questions, too)',
  starts: 'process.exec.escalate and filesystem.escalate on exec',
  identity: 'process.user',
  openFiles: 'resources.maxOpenFiles',
  processBytes: 'resources.maxMemory (no control group here)',
  timeoutMs: 'resources.timeout',
  locks: 'filesystem.escalate (another place, or another kind of operation)',
  protect: 'filesystem.protect',
  workspace: 'filesystem.overlay',
  audit: 'auditLog.syscalls',
};

/** Of the limits, what is set once and for all. */
function changeless({ memoryBytes: _memory, cpuMillis: _cpu, pids: _pids, ...others }: PlanLimits): Omit<PlanLimits, 'memoryBytes' | 'cpuMillis' | 'pids'> {
  return others;
}

function fixedParts(plan: LaunchPlan): Map<string, string> {
  const { escalate, notes: _notes, recordRules: _names, limits, ...rest } = plan;
  const starts = escalate.filter((rule) => rule.on.includes('exec')).map((rule) => rule.path);
  return new Map(Object.entries({ ...rest, starts, ...changeless(limits) }).map(([name, value]) => [name, JSON.stringify(value)]));
}

/**
 * Throws NEMO_E_APPLY if `next` needs more than the plan that the sandbox was `made` with allows: escalate rules and some limits are all that can change.
 * That is the case also where a rule asks about something that the running sandbox was not built to ask about: its mounts, Landlock rules and system call
 * filter are in the kernel for good.
 */
export function checkLiveChange(made: LaunchPlan, next: LaunchPlan): void {
  const before = fixedParts(made);
  const after = fixedParts(next);
  const changed = [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name)).map((name) => words[name] ?? name);
  // The number of processes is also a limit of the user's, which nobody may raise again.
  if (next.limits.pids > made.limits.pids) changed.push('resources.maxPids (no more than at the start)');
  if (changed.length === 0) return;
  throw new NemoError('NEMO_E_APPLY', {
    what: `A running sandbox keeps what it was made with: ${[...new Set(changed)].join(', ')}.`,
    why: 'Mounts, Landlock rules and the system call filter cannot be taken back; only filesystem.escalate within them, maxMemory, maxCPU and maxPids change while it runs.',
    fix: 'Destroy the sandbox and make a new one. The former policy is still in force.',
  });
}
