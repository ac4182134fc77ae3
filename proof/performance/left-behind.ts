/** What the sandboxes of an instance have on the host while they live, and must not have when they are destroyed. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { until } from '../harness/instance.ts';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Control groups of single sandboxes, processes under the instance's uids for agents, shims and what else openshelld starts for one sandbox, mounts of the host below `root`. */
export function sandboxThings(root: string): string[] {
  const file = join(root, 'etc/nemoclaw/openshelld.json');
  const { instance, agentUids } = JSON.parse(readFileSync(file, 'utf8')) as { instance: string; agentUids: { first: number; count: number } };
  const groups = readdirSync('/sys/fs/cgroup', { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory() && basename(entry.parentPath) === `nemoclaw-${instance}`).map((entry) => join(entry.parentPath, entry.name));
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    const status = read(`/proc/${pid}/status`);
    const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
    return { pid, name: field('Name'), parent: field('PPid'), uid: Number(field('Uid') || -1) };
  });
  const supervisors = new Set(all.filter(({ pid }) => read(`/proc/${pid}/cmdline`).split('\0').includes(file)).map(({ pid }) => pid));
  const daemons = new Set(all.filter(({ parent, pid }) => supervisors.has(parent) || supervisors.has(pid)).map(({ pid }) => pid));
  const processes = all.filter(({ name, parent, uid }) => (uid >= agentUids.first && uid < agentUids.first + agentUids.count) || (/^openshell-/.test(name) && daemons.has(parent)));
  const mounts = read('/proc/self/mountinfo').split('\n').map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(`${root}/`));
  return [...groups, ...processes.map(({ pid, name }) => `process ${pid} (${name})`), ...mounts.map((path) => `mount ${path}`)];
}

/** Resolves when only `before` is there. Rejects with what is left. */
export async function nothingLeft(root: string, before: readonly string[]): Promise<void> {
  const left = (): string[] => sandboxThings(root).filter((thing) => !before.includes(thing));
  await until('the end of all', () => (left().length === 0 ? true : undefined)).catch(() => {
    throw new Error(`left behind: ${left().slice(0, 20).join(', ')}`);
  });
}
