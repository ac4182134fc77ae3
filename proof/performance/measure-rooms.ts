/** The figures that a room measures by itself: its `bench.ts`, run as a program of its own so that nothing else shares its process. */
import { join } from 'node:path';
import { cells, figuresOf, quickCells } from '../../layers/network-policy/src/bench/bench-cells.ts';
import { checkout, run } from '../harness/instance.ts';
import type { Figure, Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';

/** Rooms write units in their own way. */
const units: Readonly<Record<string, string>> = { us: 'µs', '/s': 'per second', '': 'ratio' };

function room(folder: string, names: readonly string[], args: (bench: Bench) => readonly string[] = () => [], more: { readonly file?: string; readonly quick?: readonly string[] } = {}): Group {
  return {
    names,
    ...(more.quick && { quick: more.quick }),
    run: async (bench: Bench): Promise<Figures> => {
      const file = `${folder}/src/${more.file ?? 'bench.ts'}`;
      const ran = await run(process.execPath, [join(checkout, file), ...args(bench)], { timeoutMs: more.file === undefined ? 300_000 : 1_500_000, onSpawn: (child) => bench.onEnd(() => void child.kill()) });
      if (ran.code !== 0) throw new Error(`${file} ended with ${ran.code}: ${ran.err.slice(-1000)}`);
      if (more.file !== undefined) bench.say(ran.err.trimEnd());
      const figures = JSON.parse(ran.out) as Record<string, Figure>;
      return Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, { ...figure, unit: units[figure.unit] ?? figure.unit }]));
    },
  };
}

const wantedCells = (bench: Bench): readonly string[] => cells.map(({ name }) => name).filter(bench.wants);

export const rooms: readonly Group[] = [
  room('decide', ['policy.decide', 'policy.decide.table', 'policy.decide.cedar']),
  room('detect', ['pii.throughput', 'pii.throughput.hyperscan', 'pii.precision', 'pii.recall', 'pii.mistaken.code', 'pii.mistaken.readme']),
  room('ledger', ['ledger.append', 'ledger.commit', 'ledger.search']),
  room('layers/privacy-router', ['router.added', 'router.added.100k', 'router.rate'], (bench) => [bench.by('0.1', '0.5', '1')]),
  room('layers/network-policy', ['proxy.added', 'proxy.rate', 'proxy.handshakes'], (bench) => [bench.by('1000', '10000', '20000')]),
  room('layers/network-policy', ['proxy.table', ...figuresOf(cells)], (bench) => bench.by(['quick'], wantedCells(bench), wantedCells(bench)), { file: 'bench/bench-table.ts', quick: ['proxy.table', ...figuresOf(quickCells)] }),
];
