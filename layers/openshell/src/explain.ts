/** Answers "would this be allowed?" from the policy alone, as the kernel answers it in a tier. */
import { explainOps, type EscalateOp as AnyOp, type PlanLock, type SandboxPolicy } from '@nemoclaw/contract';
import { fileRules, isShown, ownDevices, privateFolders, ruledPath, pinRoot, specialPlaces, canonical, type FileRules, type Ruled } from './file-rules.ts';
import { execRuleAt, startRules, withStartsDenied } from './exec-rules.ts';
import type { HostFacts } from './host-facts.ts';
import { lockedPlaces } from './plan-escalate.ts';
import { between, isBelow, scratch, workspace } from './plan-paths.ts';

export { explainOps };
export type ExplainOp = (typeof explainOps)[number];

/**
 * What is asked. Paths are those of the sandbox, absolute, without symbolic links but those of its root (/bin, /lib …).
 * read, write: open(O_RDONLY), open(O_WRONLY) of a file; create: open(O_CREAT|O_EXCL); delete: unlink, of a folder rmdir; connect: to a Unix socket.
 * Assumed: what is opened, changed or deleted is there, as a file of the agent where the agent may write and of root elsewhere; folders above it are there;
 * a name that is made (create, mkdir, toPath) is free.
 */
export interface ExplainQuery {
  readonly op: ExplainOp;
  readonly path: string;
  /** rename, link: the new name. */
  readonly toPath?: string;
  /** connect: who listens there; a process of the same sandbox, if left out. */
  readonly listener?: 'sandbox' | 'outside';
}

/** Who answers first: what is not in the view, a mount's attributes, the uid's rights, Landlock, the system call filter, BPF LSM, the kernel's question before a program's file is opened, the network namespace. */
export type ExplainLayer = 'view' | 'mounts' | 'uid' | 'landlock' | 'seccomp' | 'lsm' | 'fanotify' | 'netns';

export interface Explanation {
  readonly verdict: 'allow' | 'deny' | 'escalate';
  /** The rule as the policy names it, e.g. `filesystem.deny[0]`; `view` for what every sandbox has or lacks. */
  readonly rule: string;
  /** Null where nothing stops it. */
  readonly layer: ExplainLayer | null;
  /** What the caller gets, e.g. EROFS; for escalate: what it gets when nobody approves; null: it succeeds. */
  readonly errno: string | null;
  /** What kernels that check in another order answer instead. */
  readonly otherErrnos?: readonly string[];
}

export interface ExplainHost {
  /** As HostFacts: what filesystem.readOnly may show of the host. */
  readonly bindRoots?: readonly string[];
  /** As HostFacts: follows links to programs; without it a program is what its path says. */
  readonly program?: HostFacts['program'];
  /** As HostFacts: devices that `gpuAccess: full` shows. */
  readonly gpu?: readonly string[];
}

const callsOf: Readonly<Record<ExplainOp, readonly string[]>> = {
  read: ['open', 'openat'], write: ['open', 'openat'], create: ['open', 'openat', 'creat'], mkdir: ['mkdir', 'mkdirat'], delete: ['unlink', 'unlinkat'],
  rename: ['rename', 'renameat', 'renameat2'], link: ['link', 'linkat'], truncate: ['truncate'], chmod: ['chmod', 'fchmodat', 'fchmodat2'], exec: ['execve', 'execveat'], connect: ['connect'],
};

const allow = (rule: string): Explanation => ({ verdict: 'allow', rule, layer: null, errno: null });
const deny = (rule: string, layer: ExplainLayer, errno: string): Explanation => ({ verdict: 'deny', rule, layer, errno });
const parentOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf('/')));
/** Folders of the sandbox's own root, which is read-only. */
const rootFolders = ['/', '/home', '/var'];

/** What a rule on a path can ask about. */
type EscalateOp = Exclude<AnyOp, 'call'>;

interface Context {
  readonly policy: SandboxPolicy;
  readonly tier: 'A' | 'B' | 'C';
  readonly rules: FileRules;
  /** Every mount point, outer ones first. */
  readonly mounts: readonly string[];
  /** Places that are read-only or out of sight, where openshelld works for the agent when a person has said yes; none in tier A. */
  readonly locks: readonly PlanLock[];
  /** Device nodes of the sandbox. */
  readonly devices: readonly string[];
  shown(path: string): boolean;
  real(path: string): string;
}

function contextOf(policy: SandboxPolicy, tier: Context['tier'], host: ExplainHost): Context {
  const rules = fileRules(policy);
  const own = privateFolders(rules);
  const mounts = ['/', '/usr', '/proc', '/dev', ...scratch, workspace, ...own, ...rules.grants.filter((one) => one.access === 'read' && isShown(one.path, rules, host.bindRoots) && !isBelow(one.path, workspace)).map((one) => one.path)];
  const writable = [workspace, ...scratch, ...own];
  mounts.push(...policy.spec.process.exec.allow.map(ruledPath).filter((path) => writable.some((folder) => isBelow(path, folder))));
  const locks = tier === 'A' ? [] : lockedPlaces(policy, rules);
  const places = [...specialPlaces(rules), ...locks].map((place) => place.path);
  const pins = places.flatMap((path) => {
    const root = pinRoot(path, rules);
    return root === undefined ? [] : between(root, path).filter((parent) => !places.includes(parent));
  });
  const shownDevices = policy.spec.resources.gpuAccess === 'full' ? (host.gpu ?? []) : [];
  const devices = [...ownDevices, ...shownDevices];
  mounts.push(...places, ...pins, ...shownDevices);
  return { policy, tier, rules, locks, mounts: [...new Set(mounts)].sort(), devices, shown: (path) => isShown(path, rules, host.bindRoots), real: (path) => host.program?.(path)?.path ?? path };
}

const mountOf = (mounts: readonly string[], path: string): string => mounts.findLast((point) => isBelow(path, point)) ?? '/';

/** The rules of `filesystem.escalate` that speak of one operation, denials aside. */
function asked(c: Context, op: EscalateOp, path: string): string | undefined {
  const index = c.policy.spec.filesystem.escalate.findIndex((rule) => rule.on.includes(op) && isBelow(path, ruledPath(rule.path)));
  return index < 0 ? undefined : `filesystem.escalate[${index}]`;
}

/** Moving a folder moves what is ruled below it. */
function askedAround(c: Context, op: EscalateOp, path: string): string | undefined {
  const index = c.policy.spec.filesystem.escalate.findIndex((rule) => rule.on.includes(op) && isBelow(ruledPath(rule.path), path));
  return asked(c, op, path) ?? (index < 0 ? undefined : `filesystem.escalate[${index}]`);
}

/** True where some escalate rule with `op` covers `path` and not `other`. */
function askedToLeave(c: Context, op: EscalateOp, path: string, other: string): string | undefined {
  const index = c.policy.spec.filesystem.escalate.findIndex((rule) => rule.on.includes(op) && isBelow(path, ruledPath(rule.path)) && !isBelow(other, ruledPath(rule.path)));
  return index < 0 ? undefined : `filesystem.escalate[${index}]`;
}

/** The rule that keeps a place out of sight: reading there is asked about, and nothing but what openshelld does reaches it. */
function hiddenBy(c: Context, path: string): string | undefined {
  return c.locks.some((lock) => lock.hidden && isBelow(path, lock.path)) ? (asked(c, 'read', path) ?? asked(c, 'connect', path)) : undefined;
}

/** In tier A: under another name what is asked about no longer would be. Elsewhere such a place is a mount of its own, which neither leaves. */
const leavingContent = (c: Context, path: string, toPath: string): string | undefined =>
  c.tier === 'A' ? (['read', 'write', 'exec', 'connect'] as const).map((op) => askedToLeave(c, op, path, toPath)).find((rule) => rule !== undefined) : undefined;

function escalation(c: Context, { op, path, toPath }: ExplainQuery): string | undefined {
  switch (op) {
    case 'read':
    case 'delete':
    case 'create':
    case 'write':
    case 'exec':
    case 'connect':
      return asked(c, op, path);
    case 'mkdir':
      return asked(c, 'create', path);
    case 'truncate':
    case 'chmod':
      return asked(c, 'write', path);
    case 'link':
      return toPath === undefined ? undefined : (asked(c, 'create', toPath) ?? leavingContent(c, path, toPath));
    case 'rename':
      if (toPath === undefined) return undefined;
      return askedAround(c, 'rename', path) ?? askedAround(c, 'rename', toPath) ?? askedToLeave(c, 'delete', path, toPath) ?? askedToLeave(c, 'create', toPath, path) ?? leavingContent(c, path, toPath);
  }
}

function startRuleAt(c: Context, path: string): string | undefined {
  const rules = startRules(c.policy);
  if (rules.length === 0) return undefined; // following the links of the host costs system calls
  const at = c.real(path);
  return rules.find((rule) => isBelow(at, c.real(rule.path)) || isBelow(path, rule.path))?.rule;
}

/** In tier B, in a locked place: openshelld asks before it opens or changes what a rule on starting programs names. */
function askedInLock(c: Context, { op, path }: ExplainQuery): string | undefined {
  const lock = c.tier === 'B' ? c.locks.find((one) => isBelow(path, one.path)) : undefined;
  const opens = op === 'write' || op === 'truncate' || op === 'chmod' || (op === 'read' && lock?.hidden === true);
  return lock !== undefined && opens ? startRuleAt(c, path) : undefined;
}

/** In tier B: opening what a rule on starting programs names, in any way; a loader or a copy needs no more than to read it. */
function askedToOpen(c: Context, { op, path }: ExplainQuery): string | undefined {
  if (c.tier !== 'B' || !(['read', 'write', 'create', 'exec'] as const).some((one) => one === op)) return undefined;
  const lock = c.locks.find((one) => isBelow(path, one.path));
  // There openshelld opens it, and asks by itself; a file that it makes is new.
  if (lock !== undefined && (op === 'write' || op === 'create' || (op === 'read' && lock.hidden))) return undefined;
  return startRuleAt(c, path);
}

/** The errno for what is denied and exists as an empty, closed, read-only thing; below it nothing can be named. */
function denied(op: ExplainOp, rule: Ruled, path: string, parentWritable: boolean): Explanation {
  const inside = path !== rule.path;
  const entry = parentWritable ? 'EBUSY' : 'EROFS';
  const errnos: Readonly<Record<ExplainOp, string>> = {
    read: 'EACCES', write: rule.folder ? 'EISDIR' : 'EACCES', create: 'EEXIST', mkdir: 'EEXIST', delete: entry, rename: entry, link: 'EXDEV', truncate: rule.folder ? 'EISDIR' : 'EROFS', chmod: 'EROFS', exec: 'EACCES', connect: 'EACCES',
  };
  if (inside) return deny(rule.rule, 'mounts', 'EACCES');
  return op === 'truncate' && !rule.folder ? { ...deny(rule.rule, 'mounts', 'EACCES'), otherErrnos: ['EROFS'] } : deny(rule.rule, 'mounts', errnos[op]);
}

/** What the file system says where a name is made, moved or taken away: the folder that holds it decides. */
function entry(c: Context, path: string): Explanation | undefined {
  const parent = parentOf(path);
  if (rootFolders.includes(parent)) return deny('view', 'mounts', 'EROFS');
  if (!c.shown(parent)) return deny('view', 'view', 'ENOENT');
  const grant = c.rules.grantAt(parent);
  return grant?.access === 'write' ? undefined : deny(grant?.rule ?? 'view', 'mounts', 'EROFS');
}

/** All removals are then done by openshelld; Landlock grants the agent none. */
const asksRemovals = (c: Context): boolean => c.policy.spec.filesystem.escalate.some((rule) => rule.on.some((op) => op !== 'exec'));

function askedRemovals(c: Context): Explanation | undefined {
  const index = c.policy.spec.filesystem.escalate.findIndex((rule) => rule.on.some((op) => op !== 'exec'));
  return index < 0 ? undefined : deny(`filesystem.escalate[${index}]`, 'landlock', 'EXDEV');
}

/** True where the agent owns what lies there. */
const agentOwns = (c: Context, path: string): boolean => [workspace, ...scratch, ...privateFolders(c.rules)].some((root) => isBelow(path, root));

function twoNames(c: Context, { op, path, toPath }: ExplainQuery): Explanation {
  if (toPath === undefined) return deny('view', 'view', 'ENOENT');
  const rule = c.rules.grantAt(path)?.rule ?? 'view';
  const fromDenied = c.rules.denialAt(path), toDenied = c.rules.denialAt(toPath);
  if (fromDenied !== undefined && fromDenied.path !== path) return deny(fromDenied.rule, 'mounts', 'EACCES');
  if (!c.shown(op === 'link' ? path : parentOf(path)) && !rootFolders.includes(parentOf(path))) return deny('view', 'view', 'ENOENT');
  if (toDenied !== undefined && toDenied.path !== toPath) return deny(toDenied.rule, 'mounts', 'EACCES');
  const target = entry(c, toPath);
  if (target?.errno === 'ENOENT') return target;
  // link(2) looks at the new name's mount before it compares the two, rename(2) after.
  const daemon = op === 'link' && c.locks.some((lock) => isBelow(toPath, lock.path));
  const same = mountOf(c.mounts, op === 'link' ? path : parentOf(path)) === mountOf(c.mounts, parentOf(toPath));
  const crossing = same ? undefined : deny(fromDenied?.rule ?? toDenied?.rule ?? rule, 'mounts', 'EXDEV');
  const source = op === 'link' ? undefined : entry(c, path);
  const exists = op === 'link' && toDenied !== undefined ? denied('create', toDenied, toPath, true) : undefined;
  // Where removals are asked about, Landlock refuses the agent all that takes a file out of a folder, and a link into another one is of that kind.
  const leaves = op === 'link' && c.tier !== 'A' && parentOf(path) !== parentOf(toPath) ? askedRemovals(c) : undefined;
  const hidden = hiddenBy(c, path);
  const unseen = hidden === undefined ? undefined : deny(hidden, 'mounts', 'EACCES');
  const linking = daemon ? [exists, crossing, target] : [unseen, exists, target, crossing, leaves];
  const ordered = op === 'link' ? linking : [crossing, source, target];
  const refusal = ordered.find((one) => one !== undefined);
  if (refusal !== undefined) return refusal;
  if (op === 'rename' && (c.mounts.includes(path) || c.mounts.includes(toPath))) return deny(fromDenied?.rule ?? toDenied?.rule ?? rule, 'mounts', 'EBUSY');
  return allow(rule);
}

/** /dev is the sandbox's own, and has nothing but this. */
const inDev = (c: Context, path: string): boolean =>
  path === '/dev' || ['/dev/pts', '/dev/shm'].some((folder) => isBelow(path, folder)) || ['ptmx', 'fd', 'stdin', 'stdout', 'stderr'].some((name) => path === `/dev/${name}`) || c.devices.some((device) => isBelow(device, path));

function oneName(c: Context, { op, path, listener }: ExplainQuery): Explanation {
  const grant = c.rules.grantAt(path);
  const rule = grant?.rule ?? 'view';
  if (op === 'create' || op === 'mkdir' || op === 'delete') {
    // This file system looks names up and never makes them.
    if (op !== 'delete' && isBelow(parentOf(path), '/proc')) return deny('view', 'view', 'ENOENT');
    const refusal = entry(c, path);
    // What openshelld does for the agent is tried as the agent, whose own rights are looked at first.
    if (refusal !== undefined) return op === 'delete' && c.tier !== 'A' && asksRemovals(c) ? { ...refusal, otherErrnos: ['EACCES'] } : refusal;
    return op === 'delete' && c.mounts.includes(path) ? deny(rule, 'mounts', 'EBUSY') : allow(rule);
  }
  if (!c.shown(path) || (isBelow(path, '/dev') && !inDev(c, path))) return deny('view', 'view', 'ENOENT');
  const out = hiddenBy(c, path);
  if (out !== undefined && (op === 'exec' || op === 'connect')) return deny(out, 'mounts', 'EACCES');
  // A name in the workspace is no way out in tier A; in the others it is what the workspace's owner has put there.
  if (op === 'connect' && listener === 'outside' && c.tier === 'A') return deny('view', 'lsm', 'EPERM');
  if (op === 'read' || op === 'connect' || (op === 'write' && c.devices.includes(path))) return allow(rule);
  if (op === 'exec') {
    const exec = execRuleAt(c.policy, path, c.real);
    return exec.allowed ? allow(exec.rule) : deny(exec.rule, exec.rule === 'view' && !['/proc', '/dev'].some((folder) => isBelow(path, folder)) ? 'uid' : 'mounts', 'EACCES');
  }
  if (grant?.access === 'write') return allow(rule);
  if (agentOwns(c, path) || op === 'chmod') return deny(rule, 'mounts', 'EROFS');
  // In tier C what the sandbox brings with it is the caller's own, and only the mount protects it.
  return op === 'write' && c.tier !== 'C' ? deny(rule, 'uid', 'EACCES') : { ...deny(rule, 'uid', 'EACCES'), otherErrnos: ['EROFS'] };
}

/**
 * The verdict on one operation. Pure. A denial beats a question, a question beats a grant, and of the grants the nearest to the path counts.
 * Without the host's facts, what `filesystem.readOnly` names counts as shown where the usual bind roots hold it.
 */
export function explain(policy: SandboxPolicy, tier: 'A' | 'B' | 'C', query: ExplainQuery, host: ExplainHost = {}): Explanation {
  return explainer(policy, tier, host)(query);
}

/** The same for many operations: what holds for all of them is found out once. */
export function explainer(policy: SandboxPolicy, tier: 'A' | 'B' | 'C', host: ExplainHost = {}): (query: ExplainQuery) => Explanation {
  if (tier === 'C' && startRules(policy).length > 0) {
    const closed = withStartsDenied(policy, (path) => host.program?.(path)?.path ?? path);
    const ask = explainer(closed.policy, tier, host);
    return (query) => {
      const answer = ask(query);
      return { ...answer, rule: closed.ruleOf(answer.rule) };
    };
  }
  const context = contextOf(policy, tier, host);
  return (query) => answerTo(context, query);
}

function answerTo(c: Context, query: ExplainQuery): Explanation {
  const { policy, tier } = c;
  const q: ExplainQuery = { op: query.op, path: canonical(query.path), ...(query.listener === undefined ? {} : { listener: query.listener }), ...(query.toPath === undefined ? {} : { toPath: canonical(query.toPath) }) };
  const gone = callsOf[q.op].every((name) => policy.spec.syscalls.deny.includes(name));
  if (gone) return deny('syscalls.deny', 'seccomp', 'EPERM');
  const two = q.op === 'rename' || q.op === 'link';
  const denial = c.rules.denialAt(q.path);
  if (denial !== undefined && !two) return denied(q.op, denial, q.path, entry(c, q.path) === undefined);
  const toDenial = q.toPath === undefined ? undefined : c.rules.denialAt(q.toPath);
  if (denial === undefined && toDenial === undefined) {
    const opening = askedToOpen(c, q);
    const question = (opening !== undefined && q.op === 'exec' ? undefined : (escalation(c, q) ?? askedInLock(c, q))) ?? (q.op === 'exec' && tier === 'A' ? execRuleAt(policy, q.path, c.real).asked : undefined);
    if (question === undefined && opening !== undefined) {
      // The kernel asks last, when everything else lets it be opened.
      const refusal = oneName(c, q);
      return refusal.verdict === 'deny' ? refusal : { verdict: 'escalate', rule: opening, layer: 'fanotify', errno: 'EPERM' };
    }
    if (question !== undefined && q.op === 'link' && tier !== 'A') {
      // Before anybody is asked it is seen that there can be no such link.
      const link = twoNames(c, q);
      if (link.errno === 'EXDEV' || link.errno === 'EACCES') return link;
    }
    if (question !== undefined && tier === 'A') {
      // The kernel asks where the operation would begin: what a mount, an owner or Landlock refuses does not come so far.
      const refusal = two ? twoNames(c, q) : oneName(c, { ...q, listener: 'sandbox' });
      if (refusal.verdict === 'deny') return refusal;
    }
    if (question !== undefined) return { verdict: 'escalate', rule: question, layer: tier === 'A' ? 'lsm' : 'seccomp', errno: 'EPERM' };
  }
  return two ? twoNames(c, q) : oneName(c, q);
}
