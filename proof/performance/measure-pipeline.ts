/** `pipeline.first` and `pipeline.later`: a task from the request to its closing table, with a sandbox made for it and in the one that is there. The agent asks the model once; the model answers at once. */
import { nowMs } from './api.ts';
import { figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';

const task = '/workspace/client chat';
const later = 5;

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const workspace = await world.workspace('pipeline');
  const count = bench.by(8, 40, 200);
  const times = { first: [] as number[], later: [] as number[] };
  for (let i = -2; i < count; i += 1) {
    const name = world.nextName();
    const first = await world.api.open(name, 'run');
    const start = nowMs();
    await world.create(name, workspace.registration);
    const end = await first.task(task);
    if (i >= 0) times.first.push(end - start);
    for (let more = 0; more < later; more += 1) {
      const next = await world.api.open(name, 'run');
      const again = nowMs();
      const done = await next.task(task);
      if (i >= 0) times.later.push(done - again);
    }
    await world.destroy(name);
  }
  return { 'pipeline.first': figure(times.first, 'ms'), 'pipeline.later': figure(times.later, 'ms') };
}

export const pipeline: Group = { names: ['pipeline.first', 'pipeline.later'], run };
