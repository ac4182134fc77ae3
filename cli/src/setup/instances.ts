/** Which instances of this host use its system users: a file for each, and for each user that we made, in a folder that belongs to no instance. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { placesFrom, type Places } from '../places.ts';
import { instanceName } from './daemon-config.ts';
import { supervisors } from './supervisor.ts';

/** Where this is looked up; tests have their own. */
export interface Host {
  readonly folder: string;
  readonly proc: string;
}
export const thisHost: Host = { folder: '/etc/nemoclaw-users', proc: '/proc' };

/** What was made: `user` or `group`, and its name. */
export type Made = readonly [kind: 'user' | 'group', name: string];

const instanceFile = (places: Places): string => `instance-${instanceName(places.root)}`;

/** Says that this instance uses them. Before it looks for them: who removes them meanwhile looks here. */
export function joinHost(places: Places, host: Host): void {
  for (const folder of [places.etc, host.folder]) mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(join(host.folder, instanceFile(places)), places.root, { mode: 0o644 });
}

/** Keeps in mind that it is ours to remove. */
export function noteMade(host: Host, [kind, name]: Made): void {
  writeFileSync(join(host.folder, `made-${kind}-${name}`), '', { mode: 0o644 });
}

/** Users first: one keeps its own group. */
export function allMade(host: Host): Made[] {
  return names(host)
    .flatMap((file): Made[] => {
      const [, kind, name] = /^made-(user|group)-(.+)$/.exec(file) ?? [];
      return name === undefined ? [] : [[kind === 'user' ? 'user' : 'group', name]];
    })
    .sort(([a], [b]) => b.localeCompare(a));
}

export function forgetMade(host: Host, [kind, name]: Made): void {
  rmSync(join(host.folder, `made-${kind}-${name}`), { force: true });
}

/** Takes this instance off the list and returns what else may rely on the users: what is set up, by its root, and what runs, by its configuration. */
export function leaveHost(places: Places, host: Host): string[] {
  rmSync(join(host.folder, instanceFile(places)), { force: true });
  if (names(host).length === 0) rmSync(host.folder, { recursive: true, force: true });
  const etcs = names(host)
    .filter((file) => file.startsWith('instance-'))
    .flatMap((file) => etcIn(join(host.folder, file)));
  const configs = [...supervisors(host.proc)].map(({ config }) => dirname(config));
  return [...new Set([...etcs, ...configs])].filter((etc) => etc !== places.etc);
}

/** The settings of the instance that a file names, none where it is gone. A file that cannot be read names one all the same. */
function etcIn(file: string): string[] {
  try {
    const { etc } = placesFrom({ NEMOCLAW_ROOT: readFileSync(file, 'utf8') });
    return existsSync(etc) ? [etc] : [];
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? [] : [file];
  }
}

/** Removes the folder where all that was made is gone, and what names instances that are: not one that has just begun. */
export function forgetHost(host: Host): void {
  if (allMade(host).length > 0) return;
  for (const file of names(host)) if (etcIn(join(host.folder, file)).length === 0) rmSync(join(host.folder, file), { force: true });
  if (existsSync(host.folder) && names(host).length === 0) rmSync(host.folder, { recursive: true });
}

const names = (host: Host): string[] => (existsSync(host.folder) ? readdirSync(host.folder) : []);
