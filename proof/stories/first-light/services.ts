/** The processes of an instance, as the host's /proc shows them. */
import { readdirSync, readFileSync } from 'node:fs';
import { until, type Instance } from '../../harness/instance.ts';
import type { Terminal } from './terminal.ts';

export type Service = 'openshelld' | 'gateway' | 'ledger' | 'worker';

/** Process ids whose command line has every one of `words`, by /proc. */
export function pidsOf(...words: readonly string[]): number[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return words.every((word) => line.includes(word));
    } catch {
      return false;
    }
  });
}

/** The one process of a service; throws if there is none or more than one. */
export function pidOf(instance: Instance, service: Service): number {
  const pids = service === 'openshelld' ? pidsOf(`${instance.root}/etc/`, 'openshelld --config') : pidsOf(instance.root, `/processes/${service}.ts`);
  const [pid] = pids;
  if (pid === undefined || pids.length > 1) throw new Error(`${pids.length} processes are the ${service} of ${instance.root}`);
  return pid;
}

/** The process that starts it again. */
function keeperOf(instance: Instance, service: Service): number {
  if (service !== 'openshelld') return pidOf(instance, 'openshelld');
  const [supervisor] = pidsOf(`${instance.root}/etc/`, 'openshell-supervisor --config');
  if (supervisor === undefined) throw new Error(`nothing supervises ${instance.root}`);
  return supervisor;
}

/**
 * Kills it hard, by its pid. Resolves when another one runs in its place and `status` says that all is up; with the ms that took.
 * `pauseMs`: how long the process that starts it again is stopped meanwhile, so that the outage is long enough to be seen; it is not in the ms.
 */
export async function killService(instance: Instance, terminal: Terminal, service: Service, pauseMs: number): Promise<number> {
  const before = pidOf(instance, service);
  const keeper = keeperOf(instance, service);
  if (pauseMs > 0) process.kill(keeper, 'SIGSTOP');
  try {
    process.kill(before, 'SIGKILL');
    if (pauseMs > 0) await new Promise((next) => setTimeout(next, pauseMs));
  } finally {
    if (pauseMs > 0) process.kill(keeper, 'SIGCONT');
  }
  const began = performance.now();
  await until(`a new ${service}`, () => {
    try {
      return pidOf(instance, service) === before ? undefined : true;
    } catch {
      return undefined;
    }
  });
  await until(`everything up after the ${service}`, async () => {
    try {
      const status = await terminal.api<{ services: { name: string; up: boolean }[]; record: { up: boolean } }>('GET', '/v1/status');
      return status.record.up && status.services.length >= 3 && status.services.every((one) => one.up) ? true : undefined;
    } catch {
      return undefined; // the gateway itself may be the one that is away
    }
  });
  return performance.now() - began;
}
