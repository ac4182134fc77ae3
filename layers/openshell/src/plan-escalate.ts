/** What a person is asked about, as parts of the plan: rules for openshelld, locked places with their twins, calls that the filter hands over. */
import { NemoError, type EscalateOp, type EscalateRule, type PlanLock, type SandboxPolicy, type ViewStep } from '@nemoclaw/contract';
import { askedCalls } from './asked-calls.ts';
import { startRules } from './exec-rules.ts';
import { pinRoot, ruledPath, type FileRules } from './file-rules.ts';
import { between, isBelow, workspace } from './plan-paths.ts';
import type { Monitored } from './monitored.ts';
import { removalCalls } from './seccomp-calls.ts';
import type { CallRule } from './seccomp-program.ts';

export interface Escalation {
  readonly escalate: readonly EscalateRule[];
  /** Places that are read-only or out of sight inside; openshelld works in their twins. */
  readonly locks: readonly PlanLock[];
  /** After all other steps of the view: pins, twins, then what is locked. */
  readonly steps: readonly ViewStep[];
  /** Deletions and renames are done by openshelld, wherever they are; Landlock grants none. */
  readonly removals: boolean;
  /** Calls that come to openshelld beside those that delete or rename. */
  readonly calls: ReadonlyMap<string, CallRule>;
  /** Where nobody can be asked, one sentence each, and what becomes read-only or hidden instead. */
  readonly notes: readonly string[];
  readonly refused: readonly string[];
  readonly refusedHidden: readonly string[];
}

const maxLocks = 8;
/** What the kernel cannot ask about by path; the place is locked, and openshelld does it. */
const locking: readonly EscalateOp[] = ['write', 'create', 'read', 'connect'];
const hiding: readonly EscalateOp[] = ['read', 'connect'];

const O_ACCMODE = 3, O_CREAT = 0o100, O_TRUNC = 0o1000, O_PATH = 0o10000000;
/** Opening to change something; with `hidden` to read, too. */
const opening = (flags: number, hidden: boolean): CallRule =>
  hidden ? { arg: flags, mask: O_PATH, equals: [0], then: 'refuse', else: 'allow' } : { arg: flags, mask: O_ACCMODE | O_CREAT | O_TRUNC, equals: [0], then: 'allow', else: 'refuse' };

const changing = ['creat', 'mkdir', 'mkdirat', 'mknod', 'mknodat', 'symlink', 'symlinkat', 'link', 'linkat', 'truncate', 'chmod', 'fchmod', 'fchmodat', 'fchmodat2', 'chown', 'lchown', 'fchown', 'fchownat', 'utime', 'utimes', 'futimesat', 'utimensat', 'setxattr', 'lsetxattr', 'fsetxattr', 'removexattr', 'lremovexattr', 'fremovexattr'] as const;

/** Pins of the folders above, so that nobody renames a locked place away with one of them. */
function pins(paths: readonly string[], rules: FileRules, emptyWorkspace: boolean): ViewStep[] {
  const done = new Set<string>();
  const steps: ViewStep[] = [];
  for (const path of paths) {
    const root = pinRoot(path, rules);
    for (const parent of root === undefined ? [] : between(root, path)) {
      if (done.has(parent)) continue;
      done.add(parent);
      if (root !== workspace || emptyWorkspace) steps.push({ do: 'dir', path: parent, mode: 0o755 });
      steps.push({ do: 'pin', path: parent });
    }
  }
  return steps;
}

/** The places that are locked in tiers B and C, outer ones first; what lies in a hidden one is hidden, too. */
export function lockedPlaces(policy: SandboxPolicy, rules: FileRules): PlanLock[] {
  const asked = policy.spec.filesystem.escalate.map((rule) => ({ path: ruledPath(rule.path), on: rule.on }));
  const hidden = asked.filter((rule) => rule.on.some((op) => hiding.includes(op)) && rules.denialAt(rule.path) === undefined).map((rule) => rule.path);
  const paths = asked.filter((rule) => rule.on.some((op) => locking.includes(op)) && rules.denialAt(rule.path) === undefined).map((rule) => rule.path);
  return [...new Set(paths)].sort().map((path) => ({ path, hidden: hidden.some((one) => isBelow(path, one)) }));
}

/**
 * The plan's part for `filesystem.escalate` and `syscalls.escalate`. `escalations: 'refuse'`: nobody can be asked, so that the places are read-only, or hidden where reading is asked about.
 * `inKernel` (tier A): the kernel asks about files by itself, so that nothing has to be withheld from the agent for it.
 * `mode: monitor`: nothing is locked; what would be asked about, or denied (`watched`), is told and let through.
 * Throws NemoError: NEMO_E_PLAN_PATH (more places than can be locked), NEMO_E_PLAN_SYSCALL (a name that cannot wait).
 */
export function escalationOf(policy: SandboxPolicy, rules: FileRules, options: { readonly escalations?: 'ask' | 'refuse'; readonly hasWorkspace: boolean; readonly inKernel?: boolean; readonly watched?: Monitored }): Escalation {
  const asked = policy.spec.filesystem.escalate.map((rule) => ({ path: ruledPath(rule.path), on: rule.on.filter((op) => op !== 'exec'), folder: rule.path.endsWith('/**') })).filter((rule) => rule.on.length > 0);
  const hidden = asked.filter((rule) => rule.on.some((op) => hiding.includes(op))).map((rule) => rule.path);
  const spec = policy.spec;
  const named = askedCalls(spec.syscalls.escalate, spec.syscalls.profile ?? spec.isolation.syscalls, spec.syscalls.allow);
  const byName: EscalateRule[] = named.calls.length === 0 ? [] : [{ path: '/', on: ['call'], calls: named.calls }];
  if (options.escalations === 'refuse') {
    const refused = asked.map((rule) => rule.path).filter((path) => !hidden.includes(path));
    return {
      escalate: [], locks: [], steps: [], removals: false, calls: new Map(named.calls.map(({ name }) => [name, 'deny'])), refused, refusedHidden: hidden,
      notes: [...refused.map((path) => `filesystem.escalate ${path} is read-only: nobody can be asked here.`), ...hidden.map((path) => `filesystem.escalate ${path} is out of sight: nobody can be asked here.`), ...named.calls.map(({ name }) => `syscalls.escalate ${name} is denied: nobody can be asked here.`)],
    };
  }
  if (options.inKernel === true) {
    const files = spec.filesystem.escalate.map((rule): EscalateRule => ({ path: ruledPath(rule.path), on: rule.on }));
    const programs = spec.process.exec.escalate.map((pattern): EscalateRule => ({ path: ruledPath(pattern), on: ['exec'] }));
    return { escalate: [...files, ...programs, ...byName], locks: [], steps: [], removals: false, calls: named.rules, notes: [], refused: [], refusedHidden: [] };
  }
  // The shim hears the kernel's questions about programs (fanotify), wherever they lie; in a locked place openshelld opens files, and asks the same.
  const locked = spec.mode === 'monitor' ? [] : lockedPlaces(policy, rules);
  const starts = startRules(policy).map(({ path }): EscalateRule => ({ path, on: locked.some((lock) => isBelow(path, lock.path) || isBelow(lock.path, path)) ? ['exec', 'read', 'write'] : ['exec'] }));
  if (spec.mode === 'monitor') {
    const watched = options.watched?.rules ?? [];
    const speaks = (op: EscalateOp | 'start'): boolean => [...asked, ...watched].some((rule) => (rule.on as readonly string[]).includes(op));
    const files = asked.length > 0 || watched.some((rule) => rule.on.includes('write'));
    const calls = new Map<string, CallRule>(!files ? [] : [...[...removalCalls, ...changing].map((name) => [name, 'refuse'] as const), ['open', opening(1, hiding.some(speaks))], ['openat', opening(2, hiding.some(speaks))]]);
    if (speaks('connect')) calls.set('connect', 'refuse');
    if (speaks('start')) calls.set('execve', 'refuse').set('execveat', 'refuse');
    for (const [name, rule] of [...named.rules, ...(options.watched?.calls ?? [])]) if (calls.get(name) !== 'refuse') calls.set(name, rule);
    return { escalate: [...asked.map(({ path, on }) => ({ path, on })), ...byName, ...starts, ...watched], locks: [], steps: [], removals: false, calls, notes: [], refused: [], refusedHidden: [] };
  }
  const places = asked.filter((rule) => rule.on.some((op) => locking.includes(op)) && rules.denialAt(rule.path) === undefined);
  const locks = lockedPlaces(policy, rules);
  const paths = locks.map((lock) => lock.path);
  if (paths.length > maxLocks) {
    throw new NemoError('NEMO_E_PLAN_PATH', { what: `filesystem.escalate names ${paths.length} places for more than deleting and renaming; ${maxLocks} can be kept apart.`, fix: 'Name folders that hold several of them.' });
  }
  const anyHidden = locks.some((lock) => lock.hidden);
  const missing = (path: string): 'create-dir' | 'create-file' | 'skip' => {
    const above = path.slice(0, path.lastIndexOf('/'));
    if (rules.grantAt(above)?.access !== 'write') return 'skip';
    return places.some((rule) => rule.path === path && rule.folder) ? 'create-dir' : 'create-file';
  };
  const twins = locks.flatMap(({ path, hidden: out }, index): ViewStep[] => [
    ...(out && locks.findIndex((lock) => lock.hidden) === index ? [{ do: 'twin', path, as: 'view', missing: 'skip' } as const] : []),
    { do: 'twin', path, as: 'writable', missing: missing(path) },
    ...(out ? [{ do: 'twin', path, as: 'read-only', missing: 'skip' } as const] : []),
  ]);
  const shut = locks.filter(({ path }) => !locks.some((lock) => lock.hidden && lock.path !== path && isBelow(path, lock.path))).map(({ path, hidden: out }): ViewStep => (out ? { do: 'mask', path, missing: 'skip' } : { do: 'freeze', path }));
  const calls = new Map<string, CallRule>();
  if (locks.length > 0) {
    calls.set('open', opening(1, anyHidden)).set('openat', opening(2, anyHidden));
    for (const name of changing) calls.set(name, 'refuse');
  }
  if (places.some((rule) => rule.on.includes('connect'))) calls.set('connect', 'refuse');
  for (const [name, rule] of named.rules) calls.set(name, rule);
  return {
    escalate: [...asked.map(({ path, on }) => ({ path, on })), ...byName, ...starts],
    locks,
    steps: [...pins(paths, rules, !options.hasWorkspace), ...twins, ...shut],
    removals: asked.length > 0,
    calls,
    notes: [],
    refused: [],
    refusedHidden: [],
  };
}
