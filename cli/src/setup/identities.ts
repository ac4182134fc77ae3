/** The system users and the group NemoClaw runs under: made if absent, removed only if we made them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Places } from '../places.ts';

export const serviceUsers = { gateway: 'nemoclaw', worker: 'nemoclaw-net', ledger: 'nemoclaw-log', demo: 'nemoclaw-demo' } as const;
export type ServiceRole = keyof typeof serviceUsers;
export const operatorsGroup = 'nemoclaw-operators';

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}
export interface Identities {
  readonly operatorsGid: number;
  readonly users: Readonly<Record<ServiceRole, Identity>>;
}
interface Marker {
  readonly users: readonly string[];
  readonly groups: readonly string[];
}

const quiet = { stdio: ['ignore', 'pipe', 'pipe'] as const, encoding: 'utf8' as const };
const run = (program: string, args: readonly string[]): string => execFileSync(program, [...args], { ...quiet, stdio: [...quiet.stdio] });
const markerFile = (places: Places): string => join(places.etc, 'made-identities.json');

/** A line of the passwd or group database, or undefined. */
function lookUp(database: 'passwd' | 'group', key: string): string[] | undefined {
  try {
    return run('getent', [database, key]).trim().split(':');
  } catch {
    return undefined;
  }
}

function findIdentity(user: string): Identity | undefined {
  const entry = lookUp('passwd', user);
  return entry ? { uid: Number(entry[2]), gid: Number(entry[3]) } : undefined;
}

/** Makes it where it is not there; false where it is. Of two set-ups at once the second looks when the first has written: useradd(8) alone would let both make it, each with a number of its own. */
function makeIfAbsent(database: 'passwd' | 'group', name: string, tool: readonly string[]): boolean {
  return run('flock', ['/etc', 'sh', '-c', 'getent "$0" "$1" >/dev/null || { shift && "$@" && echo made; }', database, name, ...tool, name]).includes('made');
}

/** Names that were made now. Root only; throws the tool's error. */
export function ensureIdentities(places: Places): { identities: Identities; made: string[] } {
  const made: string[] = [];
  if (makeIfAbsent('group', operatorsGroup, ['groupadd', '--system'])) made.push(operatorsGroup);
  for (const user of Object.values(serviceUsers)) {
    if (makeIfAbsent('passwd', user, ['useradd', '--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'])) made.push(user);
  }
  if (made.length > 0) {
    const before = readMarker(places);
    mkdirSync(places.etc, { recursive: true, mode: 0o755 });
    const marker: Marker = { users: [...before.users, ...made.filter((name) => name !== operatorsGroup)], groups: [...before.groups, ...made.filter((name) => name === operatorsGroup)] };
    writeFileSync(markerFile(places), `${JSON.stringify(marker)}\n`, { mode: 0o600 });
  }
  const identities = readIdentities();
  if (!identities) throw new Error('the system users were made but cannot be found');
  return { identities, made };
}

/** The identities as they are on this machine; undefined if one is missing. */
export function readIdentities(): Identities | undefined {
  const group = lookUp('group', operatorsGroup);
  const found = Object.entries(serviceUsers).map(([role, user]) => [role, findIdentity(user)] as const);
  if (!group || found.some(([, identity]) => !identity)) return undefined;
  return { operatorsGid: Number(group[2]), users: Object.fromEntries(found) as Identities['users'] };
}

/** Puts a login user into the operators' group; false if already in it. */
export function addOperator(user: string): boolean {
  const members = (lookUp('group', operatorsGroup)?.[3] ?? '').split(',');
  if (members.includes(user)) return false;
  run('usermod', ['--append', '--groups', operatorsGroup, user]);
  return true;
}

/** Removes what `ensureIdentities` made from this place. Returns what could not be removed, with the reason. */
export function removeIdentities(places: Places): string[] {
  const { users, groups } = readMarker(places);
  const kept: string[] = [];
  for (const [tool, names] of [
    ['userdel', users],
    ['groupdel', groups],
  ] as const) {
    for (const name of names) {
      try {
        run(tool, [name]);
      } catch (error) {
        if (lookUp(tool === 'userdel' ? 'passwd' : 'group', name)) kept.push(`${name}: ${error instanceof Error ? (error.message.split('\n')[1] ?? error.message) : String(error)}`);
      }
    }
  }
  rmSync(markerFile(places), { force: true });
  return kept;
}

function readMarker(places: Places): Marker {
  if (!existsSync(markerFile(places))) return { users: [], groups: [] };
  const marker: Marker = JSON.parse(readFileSync(markerFile(places), 'utf8'));
  return marker;
}
