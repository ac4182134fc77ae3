/** openshelld's configuration, written from root's bounds in host.yaml and from what this machine has. */
import { createHash } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { Failure } from '../failure.ts';
import type { Places } from '../places.ts';
import type { Identities } from './identities.ts';

/** What root allows on this host; a policy may ask for less, never for more. 0: no bound. */
export interface HostBounds {
  readonly sandboxes: number;
  readonly memoryBytes: number;
  readonly pids: number;
  readonly cpuMillis: number;
  readonly workers: number;
  readonly holdSeconds: number;
  /** 1: the scripted model and the demo company's services run, on fixed loopback ports; 0: they do not, and there is no provider `demo`. */
  readonly demo: number;
  /** Devices that `gpuAccess: full` may show: paths below /dev, `*` within a name. */
  readonly gpu: readonly string[];
  /** 1: libhyperscan, where this host has it, searches long bodies before the detectors do; 0: it never does. */
  readonly hyperscan: number;
  /** `address:port` on which calls into sandboxes are taken; '': none. */
  readonly ingress: string;
}
export const defaultBounds: HostBounds = { sandboxes: 512, memoryBytes: 0, pids: 0, cpuMillis: 0, workers: 1, holdSeconds: 900, demo: 1, hyperscan: 1, gpu: [], ingress: '' };

const hostYaml = `# What root allows on this host. A policy may ask for less, never for more; 0 means no bound.
# Read by \`nemoclaw up\`.
sandboxes: ${defaultBounds.sandboxes}
memoryBytes: ${defaultBounds.memoryBytes}
pids: ${defaultBounds.pids}
cpuMillis: ${defaultBounds.cpuMillis}
# processes that carry the sandboxes' traffic
workers: ${defaultBounds.workers}
# longest time a system call is held for a person
holdSeconds: ${defaultBounds.holdSeconds}
# 1: the scripted model and the demo company's services run (ports 8930 and 8931 on loopback); 0: they do not
demo: ${defaultBounds.demo}
# 1: where this host has Debian's libhyperscan5 (C++), the data plane searches long bodies with it before its own detectors do; 0: never
hyperscan: ${defaultBounds.hyperscan}
# devices that a policy with gpuAccess: full shows, e.g. [/dev/nvidia*, /dev/dri/renderD*]; only what every user may open (mode 666) can be of use to an agent
gpu: []
# where calls into sandboxes are taken (ingress rules), e.g. 0.0.0.0:8443; empty: nowhere. Beyond loopback it needs certificate.pem and key.pem in the gateway's folder, in ingress/
ingress: ''
`;

const isDevicePattern = (given: unknown): boolean => typeof given === 'string' && given.length < 200 && /^\/dev(\/[A-Za-z0-9_*-][A-Za-z0-9._*-]*)+$/.test(given);

/** The data plane has no privileges, so no port below 1024. */
function isListenAddress(given: string): boolean {
  const match = /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{4,5})$/.exec(given);
  const port = Number(match?.[3]);
  return match !== null && isIP(match[1] ?? match[2] ?? '') !== 0 && port >= 1024 && port <= 65_535;
}

/** Bounds from the text of host.yaml; throws Failure for a field or value that is not understood. */
export function parseBounds(text: string, file: string): HostBounds {
  const document = parseDocument(text);
  const value: unknown = document.errors.length > 0 ? undefined : document.toJS();
  if (typeof value !== 'object' || value === null) throw new Failure('NEMO_E_SETUP', { what: `${file} is not a YAML mapping.`, fix: 'Correct it, or remove it: it is then written anew.' });
  const bounds: Record<string, unknown> = { ...defaultBounds };
  for (const [field, given] of Object.entries(value)) {
    if (!Object.hasOwn(defaultBounds, field)) throw new Failure('NEMO_E_SETUP', { what: `${file} has an unknown field '${field}'.`, fix: `It may have: ${Object.keys(defaultBounds).join(', ')}.` });
    if (field === 'gpu') {
      if (!Array.isArray(given) || given.length > 64 || !given.every(isDevicePattern)) throw new Failure('NEMO_E_SETUP', { what: `${file}: gpu must be a list of at most 64 paths below /dev, such as /dev/nvidia* or /dev/dri/renderD128.` });
      bounds[field] = given;
      continue;
    }
    if (field === 'ingress') {
      if (typeof given !== 'string' || !(given === '' || isListenAddress(given))) throw new Failure('NEMO_E_SETUP', { what: `${file}: ingress must be an address and a port above 1023, such as 0.0.0.0:8443 or [::]:8443, or empty.` });
      bounds[field] = given;
      continue;
    }
    if (typeof given !== 'number' || !Number.isSafeInteger(given) || given < 0) throw new Failure('NEMO_E_SETUP', { what: `${file}: ${field} must be a whole number from 0.` });
    bounds[field] = given;
  }
  return bounds as unknown as HostBounds;
}

export const hostFile = (places: Places): string => join(places.etc, 'host.yaml');

/** Root's bounds on this host; the defaults where nothing is written. */
export function hostBounds(places: Places): HostBounds {
  const file = hostFile(places);
  return existsSync(file) ? parseBounds(readFileSync(file, 'utf8'), file) : defaultBounds;
}

/** Host uids for agents: one range for the machine's own instance, another for each private root, all far above login and container uids. */
export function agentUids(root: string): { first: number; count: number } {
  const count = 8192;
  if (root === '') return { first: 1_900_000_000, count };
  return { first: 1_900_000_000 + count * (1 + (createHash('sha256').update(root).digest().readUInt32BE(0) % 20_000)), count };
}

/** The JSON openshelld reads. Its `{…}` names are filled in by openshelld. */
export function daemonConfig(places: Places, { operatorsGid, users }: Identities, bounds: HostBounds): Record<string, unknown> {
  const agents = agentUids(places.root);
  // run, state, prefix and the identities openshelld tells every service by itself
  const env = { NEMOCLAW_LIB: '{lib}', NEMOCLAW_BLUEPRINTS: '{lib}/blueprints', NEMOCLAW_AGENTS: '{state}/agents', ...(bounds.demo === 0 ? {} : { NEMOCLAW_DEMO_DIR: '{state}/demo' }), ...(bounds.hyperscan === 0 ? { NEMOCLAW_HYPERSCAN: '0' } : {}), ...(bounds.ingress === '' ? {} : { NEMOCLAW_INGRESS: bounds.ingress }) };
  // A gateway that was idle for minutes would compile its policy code anew, at four times the time of a change.
  const kept = ['--no-flush-bytecode'];
  // A worker's garbage is dead within milliseconds: with more room (MiB) it is collected less often, and less of what is still in use is copied each time.
  // What it reads is counted as old garbage as well: three times what is in use may be, else one sandbox's traffic has all collected three times a second, which every other waits for.
  // One thread helps with it: each collection waits for those that help, and more of them than processors wait for each other.
  const seldom = ['--heap-growing-percent=300', '--v8-pool-size=1'];
  // A gateway has its room from the start: one that is new collects every few MiB until it has grown, and a policy change that comes then waits for it.
  const room = new Map([['worker', ['--max-semi-space-size=64', ...seldom]], ['gateway', ['--min-semi-space-size=32', '--max-semi-space-size=32', ...seldom]]]);
  const service = (role: string): Record<string, unknown> => ({ name: role, role, argv: ['{node}', ...kept, ...(room.get(role) ?? []), `{lib}/gateway/src/processes/${role}.ts`], env });
  return {
    instance: instanceName(places.root),
    run: places.run,
    state: places.state,
    prefix: places.prefix,
    // the real folder: a running instance stays with the version it started from, and openshelld follows no links
    lib: installedVersion(places),
    node: join(places.prefix, 'node/bin/node'),
    operatorsGid,
    identities: users,
    agentUids: agents,
    workers: Math.max(1, bounds.workers),
    services: ['ledger', 'worker', 'gateway', ...(bounds.demo === 0 ? [] : ['demo'])].map(service),
    limits: { sandboxes: bounds.sandboxes, memoryBytes: bounds.memoryBytes, pids: bounds.pids, cpuMillis: bounds.cpuMillis },
    holdSeconds: Math.max(1, bounds.holdSeconds),
    bindRoots: ['/usr', '/opt', '/etc', places.prefix, join(places.state, 'agents'), join(places.state, 'blueprints')],
    devices: bounds.gpu,
  };
}

/** The folder that `lib` points at now; `lib` itself where nothing is installed. */
export function installedVersion(places: Places): string {
  const lib = join(places.prefix, 'lib');
  return existsSync(lib) ? realpathSync(lib) : lib;
}

/** `default`, or a short name that only this private root has: it names the cgroups. */
export function instanceName(root: string): string {
  return root === '' ? 'default' : `p${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
}

export const configFile = (places: Places): string => join(places.etc, 'openshelld.json');

/** Writes host.yaml if there is none, then openshelld.json; makes the folders of own blueprints and of the demo services. Returns whether openshelld.json changed. */
export function writeDaemonConfig(places: Places, identities: Identities): boolean {
  mkdirSync(places.etc, { recursive: true, mode: 0o755 });
  const host = hostFile(places);
  if (!existsSync(host)) writeFileSync(host, hostYaml, { mode: 0o644 });
  const text = `${JSON.stringify(daemonConfig(places, identities, hostBounds(places)), null, 2)}\n`;
  mkdirSync(join(places.state, 'blueprints'), { recursive: true, mode: 0o755 });
  const demo = join(places.state, 'demo');
  mkdirSync(demo, { recursive: true, mode: 0o755 });
  chownSync(demo, identities.users.demo.uid, identities.users.demo.gid);
  const file = configFile(places);
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return false;
  writeFileSync(`${file}.new`, text, { mode: 0o644 });
  renameSync(`${file}.new`, file);
  return true;
}
