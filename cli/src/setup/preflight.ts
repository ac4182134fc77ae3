/** What this machine has and lacks, found without any running service. */
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { release } from 'node:os';
import type { DoctorView } from '@nemoclaw/contract';
import type { Places } from '../places.ts';
import { readIdentities, serviceUsers } from './identities.ts';

export type Check = DoctorView['checks'][number];

/** All checks, in the order in which they matter. Reads only. */
export function preflight(places: Places): Check[] {
  return [platform(), kernel(), landlock(), cgroups(), space(places), native(places), identities()];
}

function check(name: string, ok: boolean, text: string, fix: string, otherwise: Check['state'] = 'failed'): Check {
  return { name, state: ok ? 'ok' : otherwise, text, fix: ok ? '' : fix };
}

function platform(): Check {
  const ok = process.platform === 'linux' && process.arch === 'x64';
  return check('platform', ok, `${process.platform} on ${process.arch}`, 'NemoClaw needs Linux on x86-64.');
}

function kernel(): Check {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return check('kernel', major > 5 || (major === 5 && minor >= 13), `Linux ${release()}`, 'Landlock needs Linux 5.13 or newer.');
}

function landlock(): Check {
  const file = '/sys/kernel/security/lsm';
  const modules = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  if (modules === '') return { name: 'landlock', state: 'warning', text: 'the list of security modules cannot be read here; the launch proves it by trying', fix: 'Mount securityfs to see it.' };
  return check('landlock', modules.split(',').includes('landlock'), `security modules: ${modules}`, 'Boot with lsm=landlock,… or a kernel that has Landlock.');
}

function cgroups(): Check {
  const text = readFileSync('/proc/mounts', 'utf8');
  const v2 = /^\S+ \S+ cgroup2 /m.test(text);
  const v1 = /^\S+ \S+ cgroup \S*\bmemory\b/m.test(text);
  return check('cgroups', v1 || v2, v1 ? 'version 1 with memory' : v2 ? 'version 2' : 'none mounted', 'Mount the control groups; without them only rlimits hold.', 'warning');
}

function space(places: Places): Check {
  let at = places.state;
  while (!existsSync(at)) at = join(at, '..');
  const { bavail, bsize } = statfsSync(at);
  const free = Math.round((bavail * bsize) / 1e6);
  return check('disk', free > 1000, `${free} MB free for ${places.state}`, 'Make at least 1 GB free: the agent, the record and the workspaces need it.', free > 300 ? 'warning' : 'failed');
}

function native(places: Places): Check {
  const programs = ['openshell-supervisor', 'openshelld', 'openshell-shim'].map((name) => join(places.prefix, 'lib/layers/openshell/native/build', name));
  const missing = programs.filter((path) => !existsSync(path));
  return check('installed', missing.length === 0, missing.length === 0 ? `in ${places.prefix}` : `missing: ${missing.join(', ')}`, 'Install from the checkout: sudo ./nemoclaw onboard');
}

function identities(): Check {
  const found = readIdentities();
  return check('users', found !== undefined, found ? `${Object.values(serviceUsers).join(', ')} exist` : 'the system users are not made yet', 'sudo nemoclaw up makes them.');
}
