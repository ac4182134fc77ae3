/** What a policy says about a path of the sandbox: the one resolution that decisions, launch plans and explanations share. */
import type { SandboxPolicy } from './sandbox.ts';

export const workspace = '/workspace';
export const home = '/home/agent';
/** Private and writable in every sandbox; gone with it. */
export const scratch = ['/tmp', home, '/dev/shm'] as const;

/** `/a/b/**` and `/a/b` both name `/a/b`. */
export const rootOf = (pattern: string): string => (pattern.endsWith('/**') ? pattern.slice(0, -3) : pattern);

/** True if `path` is `root` or below it. */
export const isBelow = (path: string, root: string): boolean => path === root || path.startsWith(root === '/' ? '/' : `${root}/`);

export type Access = 'none' | 'read' | 'write';

/** One rule on a subtree. `rule` names it as the policy does, e.g. `filesystem.deny[0]`. */
export interface Ruled {
  readonly path: string;
  readonly access: Access;
  readonly rule: string;
  /** The policy wrote `dir/**`. */
  readonly folder: boolean;
}

/** Folders that no policy may make writable. */
export const fixedFolders = ['/usr', '/etc', '/proc', '/dev', '/sys', '/root', '/opt'] as const;

/** Devices that every sandbox has. */
export const ownDevices = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map((name) => `/dev/${name}`);

/** Where links of the sandbox's root lead: a rule on /bin/x is a rule on /usr/bin/x. */
const rootLinks: readonly (readonly [string, string])[] = [
  ...['bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32'].map((name) => [`/${name}`, `/usr/${name}`] as const),
  ['/var/tmp', '/tmp'],
];

/** The path without the root's own links. */
export function canonical(path: string): string {
  for (const [link, target] of rootLinks) if (isBelow(path, link)) return `${target}${path.slice(link.length)}`;
  return path;
}

/** The path a pattern of a policy stands for. */
export const ruledPath = (pattern: string): string => canonical(rootOf(pattern));

/** What every sandbox has. What lies nowhere below these is not there. */
const builtIn: readonly Ruled[] = [
  ...['/usr', '/opt', '/etc', '/proc', '/run', '/dev'].map((path): Ruled => ({ path, access: 'read', rule: 'view', folder: true })),
  ...scratch.map((path): Ruled => ({ path, access: 'write', rule: 'view', folder: true })),
];

/** The patterns of a policy. */
export interface FileLists {
  readonly level: SandboxPolicy['spec']['isolation']['filesystem'];
  readonly readOnly: readonly string[];
  readonly readWrite: readonly string[];
  readonly deny: readonly string[];
}

export interface FileRules {
  /** Every grant, outer folders first. */
  readonly grants: readonly Ruled[];
  readonly denied: readonly Ruled[];
  /** The nearest grant at or above `path`; undefined: the path is not in the sandbox. */
  grantAt(path: string): Ruled | undefined;
  /** The nearest grant strictly above `path`. */
  grantAbove(path: string): Ruled | undefined;
  /** The outermost denial at or above `path`. */
  denialAt(path: string): Ruled | undefined;
}

/**
 * The rules of a policy. A denial beats every other rule above and below it; of the grants (readOnly, readWrite, isolation.filesystem) the nearest counts;
 * on the same path readOnly beats readWrite.
 */
export function fileRules(policy: SandboxPolicy): FileRules {
  const { filesystem, isolation } = policy.spec;
  return rulesOf({ level: isolation.filesystem, readOnly: filesystem.readOnly, readWrite: filesystem.readWrite, deny: filesystem.deny });
}

/** The same, from the lists alone. */
export function rulesOf(lists: FileLists): FileRules {
  const listed = (field: 'readOnly' | 'readWrite' | 'deny', access: Access): Ruled[] => lists[field].map((pattern, i) => ({ path: ruledPath(pattern), access, rule: `filesystem.${field}[${i}]`, folder: pattern.endsWith('/**') }));
  const byPath = new Map<string, Ruled>();
  const level: Ruled = { path: workspace, access: lists.level === 'read-only' ? 'read' : 'write', rule: `isolation.filesystem: ${lists.level}`, folder: true };
  for (const one of [...builtIn, level, ...listed('readWrite', 'write'), ...listed('readOnly', 'read')]) byPath.set(one.path, one);
  byPath.delete('/home'); // the home in it is always private and writable, and nothing else is there
  const grants = [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  const denied = listed('deny', 'none').sort((a, b) => (a.path < b.path ? -1 : 1));
  const nearest = (path: string, among: readonly Ruled[]): Ruled | undefined => among.findLast((one) => isBelow(path, one.path));
  return {
    grants,
    denied,
    grantAt: (path) => nearest(path, grants),
    grantAbove: (path) => nearest(path, grants.filter((one) => one.path !== path)),
    denialAt: (path) => denied.find((one) => isBelow(path, one.path)),
  };
}

/** A place in the workspace or a private folder that differs from what lies around it, and so is a mount of its own. */
export interface SpecialPlace {
  readonly path: string;
  readonly what: 'freeze' | 'thaw' | 'mask';
  readonly rule: string;
  readonly folder: boolean;
  /** False: around it nothing can be made either, so what is missing stays missing. */
  readonly aroundWritable: boolean;
}

/** Private and writable: scratch folders, and what readWrite names outside the workspace. */
export function privateFolders(rules: FileRules): string[] {
  const out: string[] = [];
  for (const { path, access } of rules.grants) {
    const known = isBelow(path, workspace) || [...scratch, ...fixedFolders].some((folder) => isBelow(path, folder));
    if (access === 'write' && !known && !out.some((o) => isBelow(path, o))) out.push(path);
  }
  return out;
}

/** Outer ones first; nothing below a denial. */
export function specialPlaces(rules: FileRules): SpecialPlace[] {
  const writableRoots = [...scratch, ...privateFolders(rules), workspace];
  const out: SpecialPlace[] = [];
  for (const grant of rules.grants) {
    const { path, access, rule, folder } = grant;
    if (rules.denialAt(path) !== undefined || path === workspace || !writableRoots.some((root) => isBelow(path, root))) continue;
    const above = writableRoots.includes(path) ? 'write' : (rules.grantAbove(path)?.access ?? 'read');
    if (above !== access) out.push({ path, what: access === 'write' ? 'thaw' : 'freeze', rule, folder, aroundWritable: above === 'write' });
  }
  for (const { path, rule, folder } of rules.denied) if (!out.some((o) => o.what === 'mask' && isBelow(path, o.path))) out.push({ path, what: 'mask', rule, folder, aroundWritable: rules.grantAt(path)?.access === 'write' });
  return out;
}

/** Where the parents of a special place must be mounts of their own too, so that nobody renames it away with one of them; undefined: nothing above it can be renamed. */
export function pinRoot(path: string, rules: FileRules): string | undefined {
  return [workspace, ...scratch, ...privateFolders(rules)].find((root) => isBelow(path, root));
}

/** Where a host's folders may be shown from, unless its owner said otherwise. */
export const usualBindRoots: readonly string[] = ['/usr', '/opt', '/etc/ssl', '/etc/alternatives', '/etc/ld.so.cache'];

/** True if `path` exists in the sandbox as far as the policy decides it. */
export function isShown(path: string, rules: FileRules, bindRoots: readonly string[] = usualBindRoots): boolean {
  const grant = rules.grantAt(path);
  if (grant === undefined) return false;
  if (grant.access === 'write' || builtIn.some((one) => isBelow(path, one.path)) || isBelow(path, workspace)) return true;
  if (privateFolders(rules).some((folder) => isBelow(path, folder))) return true;
  // A folder below another that is shown comes with it.
  return rules.grants.some((one) => isBelow(path, one.path) && bindRoots.some((root) => isBelow(one.path, root)) && !isBelow(one.path, '/root'));
}

/** Folders without programs: data that the sandbox was given, and shared memory. */
export const withoutPrograms: readonly string[] = ['/etc', '/proc', '/run', '/dev'];

export interface ExecAnswer {
  readonly allowed: boolean;
  readonly rule: string;
  /** The rule by which a person is asked first, where there is one. */
  readonly asked: string | undefined;
}

/** Whether the program at `path` may be started, `real` follows the links of the host (without it paths are taken as they are). Denied and missing files aside. */
export function execRuleAt({ allow, escalate }: { readonly allow: readonly string[]; readonly escalate: readonly string[] }, path: string, real: (path: string) => string = (same) => same): ExecAnswer {
  const at = real(canonical(path));
  const index = (list: readonly string[]): number => list.findIndex((pattern) => isBelow(at, real(ruledPath(pattern))));
  const question = index(escalate);
  const asked = question < 0 ? undefined : `process.exec.escalate[${question}]`;
  if (withoutPrograms.some((folder) => isBelow(at, folder))) return { allowed: false, rule: 'view', asked: undefined };
  if (allow.length === 0) return { allowed: true, rule: 'view', asked };
  const named = index(allow);
  return named < 0 ? { allowed: false, rule: 'process.exec.allow', asked } : { allowed: true, rule: `process.exec.allow[${named}]`, asked };
}
