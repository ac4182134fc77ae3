/** Starting, finding and stopping the supervisor of one instance. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import type { Places } from '../places.ts';
import { configFile, installedVersion } from './daemon-config.ts';

/** Supervisors that run on this host, found by their program, with their configurations. */
export function* supervisors(proc = '/proc'): Generator<{ pid: number; config: string }> {
  for (const name of readdirSync(proc)) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const args = readFileSync(`${proc}/${name}/cmdline`, 'utf8').split('\0');
      const config = args[args.indexOf('--config') + 1];
      if (config === undefined || !args.includes('--config')) continue;
      const program = readlinkSync(`${proc}/${name}/exe`).replace(/ \(deleted\)$/, '');
      if (program.endsWith('/openshell-supervisor')) yield { pid: Number(name), config };
    } catch {
      // ended meanwhile, or not ours to look at
    }
  }
}

/** Process id of this instance's supervisor; undefined if it does not run. */
export function findSupervisor(places: Places): number | undefined {
  for (const { pid, config } of supervisors()) if (config === configFile(places)) return pid;
  return undefined;
}

/** True if it runs code that is no longer the installed one. */
export function isOutdated(places: Places, supervisor: number): boolean {
  try {
    return !readlinkSync(`/proc/${supervisor}/exe`).startsWith(`${installedVersion(places)}/`);
  } catch {
    return false;
  }
}

/** Starts it, detached from this terminal, with its output in the state folder's log. Resolves when it has been started, not when it answers. */
export function startSupervisor(places: Places): number {
  const program = `${places.prefix}/lib/layers/openshell/native/build/openshell-supervisor`;
  if (!existsSync(program))
    throw new Failure('NEMO_E_SETUP', { what: 'NemoClaw is not installed on this machine.', why: `There is no ${program}.`, fix: 'Install from a checkout: sudo ./nemoclaw onboard' });
  mkdirSync(join(places.state, 'log'), { recursive: true, mode: 0o755 });
  const log = openSync(join(places.state, 'log/supervisor.log'), 'a', 0o640);
  try {
    // by its real path, so that a later look tells which copy runs
    const child = spawn(realpathSync(program), ['--config', configFile(places)], { detached: true, stdio: ['ignore', log, log], cwd: '/', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
    child.on('error', () => undefined);
    child.unref();
    if (child.pid === undefined) throw new Failure('NEMO_E_SETUP', { what: 'The supervisor could not be started.', fix: 'Run ./nemoclaw version to install the native programs again.' });
    return child.pid;
  } finally {
    closeSync(log);
  }
}

/** Stops it and waits until it is gone, at most `patienceMs`; then it is killed. False if it did not run. */
export async function stopSupervisor(context: CliContext, patienceMs = 15_000): Promise<boolean> {
  const pid = findSupervisor(context.places);
  if (pid === undefined) return false;
  process.kill(pid, 'SIGTERM');
  for (let waited = 0; waited < patienceMs; waited += 50) {
    if (findSupervisor(context.places) === undefined) return true;
    await context.world.sleep(50);
  }
  process.kill(pid, 'SIGKILL');
  return true;
}

/** The last different lines of each service's log, without their times, for a person who must know why it did not start. */
export function lastLogLines(places: Places, perFile = 3): string {
  const folder = join(places.state, 'log');
  if (!existsSync(folder)) return '';
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .flatMap((name) => {
      const lines = readFileSync(join(folder, name), 'utf8')
        .split('\n')
        .map((line) => line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /, ''))
        .filter((line) => line !== '');
      return [...new Set(lines)].slice(-perFile).map((line) => `       ${name}: ${line.slice(0, 300)}`);
    })
    .join('\n');
}
