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

/** Kills it hard, by its pid. Resolves when another one runs in its place and `status` says that all is up; with the ms that took. */
export async function killService(instance: Instance, terminal: Terminal, service: Service): Promise<number> {
  const before = pidOf(instance, service);
  process.kill(before, 'SIGKILL');
  const killed = performance.now();
  await until(`a new ${service}`, () => {
    try {
      return pidOf(instance, service) === before ? undefined : true;
    } catch {
      return undefined;
    }
  }, 15_000);
  await until(`everything up after the ${service}`, async () => {
    try {
      const status = await terminal.api<{ services: { name: string; up: boolean }[]; record: { up: boolean } }>('GET', '/v1/status');
      return status.record.up && status.services.length >= 3 && status.services.every((one) => one.up) ? true : undefined;
    } catch {
      return undefined; // the gateway itself may be the one that is away
    }
  }, 15_000);
  return performance.now() - killed;
}
