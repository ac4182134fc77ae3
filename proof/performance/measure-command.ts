/** `cli.start`: the installed command, from start to exit. */
import { join } from 'node:path';
import { figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { timeStarts } from './programs.ts';

async function run(bench: Bench): Promise<Figures> {
  const { instance } = await bench.world();
  const program = join(instance.root, 'opt/nemoclaw/bin/nemoclaw');
  const times = { version: [] as number[], list: [] as number[], node: [] as number[] };
  for (let round = 0; round < 4; round += 1) {
    times.version.push(...(await timeStarts(bench.programs, 5, [program, '--version'], { env: instance.env })));
    times.list.push(...(await timeStarts(bench.programs, 5, [program, 'list'], { env: instance.env })));
    times.node.push(...(await timeStarts(bench.programs, 5, [process.execPath, '-e', '0'])));
  }
  const peers = { 'node -e 0': times.node };
  return { 'cli.start': figure(times.version, 'ms', peers), 'cli.start.list': figure(times.list, 'ms', peers) };
}

export const command: Group = { names: ['cli.start', 'cli.start.list'], run };
