/**
 * Carries out `process.exec.allow`: every mount is noexec, so that neither execve(2) nor a loader called by name can run a file of it;
 * what the policy names, what the kernel opens to start it, and the folders of shared libraries are mounted once more without noexec.
 */
import { NemoError, type SandboxPolicy } from '@nemoclaw/contract';
import { withoutPrograms } from './exec-rules.ts';
import { canonical, ruledPath } from './file-rules.ts';
import type { HostProgram } from './host-programs.ts';
import { isBelow, outermost } from './plan-paths.ts';

/** Where shared libraries lie: programs map them, so their folders cannot be noexec. What else lies there is not protected from the loader. */
const libraryFolders: readonly (readonly [string, string])[] = [
  ['/usr/lib/x86_64-linux-gnu', 'the shared libraries of the distribution, and the loader'],
  ['/usr/lib64', 'the loader, under the name that programs give'],
  ['/usr/lib/python3', 'compiled modules of Python packages'],
  ['/usr/lib/python3.*', 'compiled modules of Python itself'],
  ['/usr/local/lib', 'libraries that the owner of the host installed'],
];
const loader = '/usr/lib64/ld-linux-x86-64.so.2';
/** As deep as the kernel follows scripts that are interpreted by scripts. */
const interpretersMax = 5;

export interface ExecPlan {
  /** Mounted again without noexec, read-only; paths inside and on the host. */
  readonly binds: readonly { readonly path: string; readonly source: string }[];
  /** In folders where the agent writes. */
  readonly run: readonly string[];
  /** What Landlock lets start. */
  readonly landlock: readonly string[];
  readonly notes: readonly string[];
}

export interface ExecHost {
  /** Absent: paths are taken as they are. */
  readonly program?: (path: string) => HostProgram | undefined;
  /** Names in /usr/lib, for those that end in `*`. */
  readonly libraries?: readonly string[];
}

/** A mount of the view: `path` inside shows `source` of the host. */
interface Shown {
  readonly path: string;
  readonly source: string;
}

function relocate(path: string, from: string, to: string): string | undefined {
  return isBelow(path, from) ? `${to}${path.slice(from.length)}` : undefined;
}

/** Undefined: the policy names no programs, everything that is shown may be started. Throws NEMO_E_PLAN_PATH for a path where no program can be. */
export function execPlan(policy: SandboxPolicy, host: ExecHost, shown: readonly Shown[], writable: readonly string[]): ExecPlan | undefined {
  const allow = policy.spec.process.exec.allow;
  if (allow.length === 0) return undefined;
  const look = host.program ?? ((path: string): HostProgram => ({ path, folder: false, interpreter: null }));
  const binds = new Map<string, string>();
  const run: string[] = [];
  const notes: string[] = [];
  const mounts = [{ path: '/usr', source: '/usr' }, ...shown];
  const add = (given: string, depth: number): boolean => {
    const at = canonical(given);
    const mount = mounts.findLast((one) => isBelow(at, one.path));
    const source = mount && relocate(at, mount.path, mount.source);
    const found = source === undefined ? undefined : look(source);
    if (mount === undefined || found === undefined) return false;
    // A link may lead to another mount of the view, but never out of it.
    const target = mounts.findLast((one) => isBelow(found.path, one.source));
    const inside = target && relocate(found.path, target.source, target.path);
    if (inside === undefined) return false;
    binds.set(inside, found.path);
    if (found.interpreter !== null && depth < interpretersMax && !add(found.interpreter, depth + 1)) notes.push(`process.exec.allow: ${given} cannot start, because its interpreter ${found.interpreter} is not in the sandbox.`);
    return true;
  };
  for (const pattern of allow) {
    const path = ruledPath(pattern);
    if (withoutPrograms.some((folder) => isBelow(path, folder))) throw new NemoError('NEMO_E_PLAN_PATH', { what: `process.exec.allow names ${path}, where no program can be started.`, fix: 'Name a program under /usr, /opt or the workspace.' });
    if (writable.some((folder) => isBelow(path, folder))) run.push(path);
    else if (!add(path, 0)) notes.push(`process.exec.allow: ${path} is not on this host.`);
  }
  if (!add(loader, 0)) notes.push(`process.exec.allow: this host has no ${loader}; programs that need it cannot start.`);
  const programs = [...binds.keys(), ...run];
  const libraries = libraryFolders.flatMap(([folder]) => (folder.endsWith('*') ? (host.libraries ?? []).filter((name) => name.startsWith(folder.slice('/usr/lib/'.length, -1))).map((name) => `/usr/lib/${name}`) : [folder]));
  for (const folder of libraries) if (look(folder)?.path === folder) binds.set(folder, folder);
  const roots = outermost(binds.keys());
  return { binds: roots.map((path) => ({ path, source: binds.get(path) ?? path })), run: outermost(run), landlock: outermost(programs), notes };
}
