/** The system users and the group NemoClaw runs under: made if absent, removed only if we made them and no other instance of this host relies on them. */
import { execFileSync } from 'node:child_process';
import type { Places } from '../places.ts';
import { allMade, forgetHost, forgetMade, joinHost, leaveHost, noteMade, thisHost, type Host } from './instances.ts';

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

const quiet = { stdio: ['ignore', 'pipe', 'pipe'] as const, encoding: 'utf8' as const };
const run = (program: string, args: readonly string[]): string => execFileSync(program, [...args], { ...quiet, stdio: [...quiet.stdio] });

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
export function ensureIdentities(places: Places, host: Host = thisHost): { identities: Identities; made: string[] } {
  joinHost(places, host);
  const made: string[] = [];
  if (makeIfAbsent('group', operatorsGroup, ['groupadd', '--system'])) made.push(operatorsGroup);
  for (const user of Object.values(serviceUsers)) {
    if (makeIfAbsent('passwd', user, ['useradd', '--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'])) made.push(user);
  }
  for (const name of made) noteMade(host, [name === operatorsGroup ? 'group' : 'user', name]);
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

/** Removes what `ensureIdentities` made, unless another instance relies on it. Returns what stays, with the reason. */
export function removeIdentities(places: Places, host: Host = thisHost): string[] {
  const others = leaveHost(places, host);
  const made = allMade(host);
  if (others.length > 0) return made.length === 0 ? [] : [`${made.map(([, name]) => name).join(', ')}: used by the instance of ${others.join(', ')}`];
  const kept: string[] = [];
  for (const [kind, name] of made) {
    try {
      run(`${kind}del`, [name]);
    } catch (error) {
      if (lookUp(kind === 'user' ? 'passwd' : 'group', name)) {
        kept.push(`${name}: ${error instanceof Error ? (error.message.split('\n')[1] ?? error.message) : String(error)}`);
        continue;
      }
    }
    forgetMade(host, [kind, name]);
  }
  forgetHost(host);
  return kept;
}
