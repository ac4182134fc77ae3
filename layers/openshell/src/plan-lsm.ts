/** Tier A's part of a plan: rules on subtrees that the kernel looks up by object, the nearest one counts. */
import type { EscalateRule, LsmPlan, LsmRight, LsmRule, ProtectedName, ProtectPlan, SandboxPolicy } from '@nemoclaw/contract';
import type { ExecPlan } from './exec-plan.ts';
import { withoutPrograms } from './exec-rules.ts';
import type { FileRules } from './file-rules.ts';
import { between, home, isBelow, scratch, workspace } from './plan-paths.ts';

const changes: readonly LsmRight[] = ['write', 'create', 'delete', 'rename'];
const all: readonly LsmRight[] = ['read', ...changes, 'exec', 'map', 'connect'];
/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK; the system call filter and the network namespace say more. */
const families = [1, 2, 10, 16];
/** With its 0 a part of a protected name has 28 bytes in the kernel's map. */
const partMax = 27;
/** Pairs `folder/name` of all lists have a bit each there. */
const pairsMax = 63;

const parentOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf('/')));
const isRight = (op: string): op is LsmRight => (all as readonly string[]).includes(op);

export interface LsmInput {
  readonly policy: SandboxPolicy;
  readonly rules: FileRules;
  /** Of the plan, in its order. */
  readonly escalate: readonly EscalateRule[];
  /** Undefined: all programs that are shown may be started. */
  readonly programs: ExecPlan | undefined;
  readonly protect: ProtectPlan | null;
  /** Private and writable beside the usual ones. */
  readonly privateFolders: readonly string[];
}

/** What may not be done at `path`, by every rule of the policy. */
function deniedAt(input: LsmInput, path: string): readonly LsmRight[] {
  const { rules, programs } = input;
  if (rules.denialAt(path) !== undefined) return all;
  const access = rules.grantAt(path)?.access ?? 'read';
  // Terminals and /dev/null are written to, and a process's own entries of /proc; both mounts are read-only.
  const device = isBelow(path, '/dev') || isBelow(path, '/proc');
  const denied: LsmRight[] = access === 'write' ? [] : device ? ['create', 'delete', 'rename'] : [...changes];
  const starts = programs === undefined || [...programs.landlock, ...programs.run].some((one) => isBelow(path, one));
  if (!starts || withoutPrograms.some((folder) => isBelow(path, folder))) denied.push('exec');
  if (programs !== undefined && !starts && !programs.binds.some((one) => isBelow(path, one.path))) denied.push('map');
  return denied;
}

/** What a person is asked about at `path`, and the rule that says so. */
function askedAt({ escalate }: LsmInput, path: string): { readonly ask: readonly LsmRight[]; readonly index: number | null } {
  const ask = new Set<LsmRight>();
  let index: number | null = null;
  escalate.forEach((rule, i) => {
    if (!isBelow(path, rule.path)) return;
    const rights = rule.on.filter((op) => isRight(op));
    for (const right of rights) ask.add(right);
    if (rights.length > 0) index ??= i;
  });
  return { ask: [...ask], index };
}

/** The places where something else holds than above them, each with its parents up to the writable folder that it is in. */
function places(input: LsmInput): string[] {
  const { rules, escalate, programs, privateFolders } = input;
  const writableRoots = [...scratch, ...privateFolders, workspace];
  const named = [
    ...rules.grants.map((one) => one.path),
    ...rules.denied.map((one) => one.path),
    ...escalate.map((one) => one.path),
    ...(programs === undefined ? [] : [...programs.landlock, ...programs.run, ...programs.binds.map((one) => one.path)]),
  ];
  const out = new Set<string>(['/', '/usr', '/dev', '/proc', '/home', home, ...writableRoots]);
  for (const path of named) {
    out.add(path);
    const root = writableRoots.find((one) => path !== one && isBelow(path, one));
    if (root !== undefined) for (const above of between(root, path)) out.add(above);
  }
  return [...out].sort();
}

/** What git starts by itself (githooks(5)). `git init` makes their folder with samples, which have other names; only these cannot be made. */
const hookNames = [
  ...['applypatch-msg', 'pre-applypatch', 'post-applypatch', 'pre-commit', 'pre-merge-commit', 'prepare-commit-msg', 'commit-msg', 'post-commit', 'pre-rebase', 'post-checkout', 'post-merge', 'pre-push'],
  ...['pre-receive', 'update', 'proc-receive', 'post-receive', 'post-update', 'reference-transaction', 'push-to-checkout', 'pre-auto-gc', 'post-rewrite', 'sendemail-validate', 'fsmonitor-watchman'],
  ...['p4-changelist', 'p4-prepare-changelist', 'p4-post-changelist', 'p4-pre-submit', 'post-index-change'],
];

/**
 * Names that may not be made while the sandbox runs. What the kernel cannot tell by names (longer ones, repositories made later, settings of git,
 * git directories of another name) is found when the workspace is given back.
 */
function protectedNames(protect: ProtectPlan | null): Pick<LsmPlan, 'protectedNames' | 'topNames' | 'hooks' | 'hooksBelow' | 'unprotectedFolders'> {
  const fits = (path: string): boolean => path.split('/').length <= 2 && path.split('/').every((part) => Buffer.byteLength(part) <= partMax);
  const of = (scope: ProtectedName['scope']): string[] => (protect?.names ?? []).filter((one) => one.scope === scope && fits(one.path)).map((one) => one.path);
  const git = protect?.git === true;
  const repository = of('repository');
  let pairs = repository.filter((path) => path.includes('/')).length + (git ? hookNames.length : 0);
  const everywhere = of('everywhere').filter((path) => !path.includes('/') || (pairs += 1) <= pairsMax);
  const some = git || everywhere.length + repository.length > 0;
  return { protectedNames: everywhere, topNames: repository, hooks: git ? hookNames.map((name) => `hooks/${name}`) : [], hooksBelow: git ? ['.git'] : [], unprotectedFolders: some ? ['node_modules'] : [] };
}

/** Pure. */
export function lsmPlan(input: LsmInput): LsmPlan {
  const { escalate, privateFolders } = input;
  const writableRoots = [...scratch, ...privateFolders, workspace];
  const names = protectedNames(input.protect);
  const some = names.unprotectedFolders.length > 0;
  const rules = places(input).map((path): LsmRule => {
    const deny = deniedAt(input, path);
    const { ask, index } = askedAt(input, path);
    // Moving a folder moves what is ruled below it.
    const moves = escalate.findIndex((rule) => rule.on.includes('rename') && rule.path !== path && isBelow(rule.path, path));
    const inside = writableRoots.some((root) => path !== root && isBelow(path, root));
    return {
      path,
      deny,
      ask: ask.filter((right) => !deny.includes(right)),
      askSelf: moves >= 0 && inside && !deny.includes('rename') ? ['rename'] : [],
      named: inside && parentOf(path) !== '/',
      protect: some && path === workspace,
      escalate: index ?? (moves >= 0 ? moves : null),
    };
  });
  const closed: LsmRight[] = input.programs === undefined ? [] : ['exec', 'map'];
  return { rules, elsewhere: { deny: closed, ask: [] }, ...names, families };
}
