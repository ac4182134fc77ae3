/** The work at every level, as root and as a plain user; what a level refuses is refused, and what it keeps is kept. */
import { chownSync, cpSync, existsSync, lchownSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { run, until } from '../harness/instance.ts';
import type { Job, Ran, Report } from './in-sandbox.ts';
import { works, type Isolation } from './programs.ts';

const programs = new URL('./programs/', import.meta.url).pathname;
const inSandbox = new URL('./in-sandbox.ts', import.meta.url).pathname;
const all = works.map((one) => one.name);
const quick = ['node', 'python', 'git', 'server'];

/** Each level of each kind with all the work, and every pair of levels with some of it. */
const rounds: readonly (Isolation & { readonly works: readonly string[] })[] = [
  { network: 'none', filesystem: 'read-only', syscalls: 'minimal', works: all },
  { network: 'restricted', filesystem: 'workspace', syscalls: 'standard', works: all },
  { network: 'open', filesystem: 'ephemeral', syscalls: 'permissive', works: all },
  { network: 'none', filesystem: 'workspace', syscalls: 'permissive', works: quick },
  { network: 'none', filesystem: 'ephemeral', syscalls: 'standard', works: quick },
  { network: 'restricted', filesystem: 'read-only', syscalls: 'permissive', works: quick },
  { network: 'restricted', filesystem: 'ephemeral', syscalls: 'minimal', works: quick },
  { network: 'open', filesystem: 'read-only', syscalls: 'standard', works: quick },
  { network: 'open', filesystem: 'workspace', syscalls: 'minimal', works: quick },
];
const plainUser = { uid: 65533, gid: 65533 };
const ofPlainUser: readonly (Isolation & { readonly works: readonly string[] })[] = [
  { network: 'none', filesystem: 'read-only', syscalls: 'minimal', works: quick },
  { network: 'restricted', filesystem: 'workspace', syscalls: 'standard', works: all },
];

/** Like chown -R. */
function give(path: string, uid: number, gid: number): void {
  lchownSync(path, uid, gid);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) give(below, uid, gid);
    else lchownSync(below, uid, gid);
  }
}

/** Control groups of that process's openshelld, and what runs for it. */
function openshellsOf(pid: number): string[] {
  const mine = `nemoclaw-alone-${pid}-`;
  // Not those of sandboxes that come and go beside it.
  const trees = ['.', ...readdirSync('/sys/fs/cgroup').filter((name) => !name.startsWith('nemoclaw'))].map((name) => join('/sys/fs/cgroup', name));
  const groups = trees.flatMap((tree) => (statSync(tree).isDirectory() ? readdirSync(tree).filter((name) => name.startsWith(mine)).map((name) => join(tree, name)) : []));
  return [...groups, ...(existsSync(`/proc/${pid}`) ? [`process ${pid}`] : [])];
}

async function commits(project: string): Promise<number> {
  const { out, err } = await run('git', ['-c', `safe.directory=${project}`, '-C', project, 'rev-list', '--count', 'HEAD']);
  if (out === '') throw new Error(err);
  return Number(out);
}

async function level(check: Checks, root: string, index: number, round: (typeof rounds)[number], asPlainUser: boolean): Promise<void> {
  const { works: wanted, ...isolation } = round;
  const title = `${asPlainUser ? 'plain user: ' : ''}${isolation.network}, ${isolation.filesystem}, ${isolation.syscalls}`;
  const workspace = join(root, `${asPlainUser ? 'plain' : 'root'}-${index}`);
  const project = join(workspace, 'project');
  mkdirSync(project, { recursive: true });
  cpSync(programs, join(workspace, 'programs'), { recursive: true });
  for (const args of [['init', '-q', '-b', 'main'], ['-c', 'user.name=a', '-c', 'user.email=a@localhost', 'commit', '-q', '--allow-empty', '-m', 'outside']]) await run('git', ['-C', project, ...args]);
  if (asPlainUser) give(workspace, plainUser.uid, plainUser.gid);
  else chownSync(workspace, 0, 0);

  const job: Job = { isolation, workspace, works: wanted };
  const node = [process.execPath, inSandbox, JSON.stringify(job)];
  const [program = '', ...args] = asPlainUser ? ['setpriv', `--reuid=${plainUser.uid}`, `--regid=${plainUser.gid}`, '--clear-groups', ...node] : node;
  const made = await run(program, args, { timeoutMs: 600_000, ...(asPlainUser && { env: { HOME: workspace } }) });
  if (made.code !== 0) return check.that(`${title}: a sandbox is made`, false, made.err);
  const { pid, tier, ran, commit, write } = JSON.parse(made.out) as Report;
  check.that(`${title}: a sandbox of tier ${asPlainUser ? 'C' : 'A or B'}`, asPlainUser ? tier === 'C' : tier !== 'C', tier);
  for (const one of ran) {
    const prints = works.find((work) => work.name === one.name)?.prints(isolation);
    if (one.code === 0 && one.stdout.startsWith('absent: ')) console.log(`     ${title}: ${one.name} is not on this machine (${one.stdout.trim()})`);
    else check.that(`${title}: ${one.name} (${one.ms} ms)`, one.code === 0 && one.stdout === prints, one);
  }
  const gone = await until('its end', () => (openshellsOf(pid).length === 0 ? true : undefined)).catch(() => false);
  check.that(`${title}: nothing is left of it`, gone === true, openshellsOf(pid));
  const count = await commits(project);
  const kept = existsSync(join(workspace, 'new'));
  if (isolation.filesystem === 'read-only') {
    const refused = (one: Ran): boolean => one.code !== 0 && /Read-only file system|Permission denied/.test(one.stderr);
    check.that(`${title}: the project cannot be committed to, nor a file be made`, refused(commit) && refused(write) && count === 1 && !kept, { commit, write, count });
  } else if (isolation.filesystem === 'ephemeral') check.that(`${title}: a commit works, and is gone afterwards`, commit.code === 0 && write.code === 0 && count === 1 && !kept, { commit, write, count });
  else check.that(`${title}: a commit works, and stays`, commit.code === 0 && write.code === 0 && count === 2 && kept, { commit, write, count });
}

/** `root`: a folder for workspaces. Two sandboxes at a time. */
export async function atEveryLevel(check: Checks, root: string): Promise<void> {
  const jobs = [...rounds.map((round, i) => () => level(check, root, i, round, false)), ...ofPlainUser.map((round, i) => () => level(check, root, i, round, true))];
  const worker = async (): Promise<void> => {
    for (let next = jobs.shift(); next !== undefined; next = jobs.shift()) await check.step('a level', next);
  };
  await Promise.all([worker(), worker()]);
}
