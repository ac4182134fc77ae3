/** The figures that a room measures by itself: its `bench.ts`, run as a program of its own so that nothing else shares its process. */
import { join } from 'node:path';
import { checkout, run } from '../harness/instance.ts';
import type { Figure, Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';

/** Rooms write units in their own way. */
const units: Readonly<Record<string, string>> = { us: 'µs', '/s': 'per second', '': 'ratio' };

function room(folder: string, names: readonly string[], args: (full: boolean) => readonly string[] = () => []): Group {
  return {
    names,
    run: async ({ full }: Bench): Promise<Figures> => {
      const ran = await run(process.execPath, [join(checkout, folder, 'src/bench.ts'), ...args(full)], { timeoutMs: 300_000 });
      if (ran.code !== 0) throw new Error(`${folder}/src/bench.ts ended with ${ran.code}: ${ran.err.slice(-1000)}`);
      const figures = JSON.parse(ran.out) as Record<string, Figure>;
      return Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, { ...figure, unit: units[figure.unit] ?? figure.unit }]));
    },
  };
}

export const rooms: readonly Group[] = [
  room('decide', ['policy.decide', 'policy.decide.table', 'policy.decide.cedar']),
  room('detect', ['pii.throughput', 'pii.throughput.hyperscan', 'pii.precision', 'pii.recall', 'pii.mistaken.code', 'pii.mistaken.readme']),
  room('ledger', ['ledger.append', 'ledger.commit', 'ledger.search']),
  room('layers/privacy-router', ['router.added', 'router.added.100k', 'router.rate'], (full) => [full ? '1' : '0.5']),
  room('layers/network-policy', ['proxy.added', 'proxy.rate', 'proxy.handshakes'], (full) => [full ? '20000' : '10000']),
];
