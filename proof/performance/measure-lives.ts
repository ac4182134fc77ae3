/** `sandbox.create` and `sandbox.destroy`: from the request to the gateway until a program inside has the answer to its first request through the proxy. */
import { nowMs } from './api.ts';
import { figure, percentiles, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { upstreamName } from './policies.ts';

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const workspace = await world.workspace('lives');
  const count = bench.by(15, 150, 500);
  const times = { whole: [] as number[], made: [] as number[], destroyed: [] as number[] };
  const phases = new Map<string, number[]>();
  for (let i = -5; i < count; i += 1) {
    const name = world.nextName();
    const exec = await world.api.open(name);
    const start = nowMs();
    const view = await world.create(name, workspace.registration);
    const made = nowMs();
    await exec.run(['/workspace/client', 'once', upstreamName, String(world.port), '/first']);
    const answered = Number(exec.lines.at(-1)?.split(' ')[1]) / 1e6;
    const ending = nowMs();
    await world.destroy(name);
    if (i < 0) continue;
    times.destroyed.push(nowMs() - ending);
    times.whole.push(answered - start);
    times.made.push(made - start);
    for (const [phase, ms] of Object.entries(view.phases)) phases.set(phase, [...(phases.get(phase) ?? []), ms]);
  }
  bench.say(`  phases, p50 in ms: ${[...phases].map(([phase, ms]) => `${phase} ${percentiles(ms).p50.toFixed(1)}`).join(', ')}`);
  return { 'sandbox.create': figure(times.whole, 'ms'), 'sandbox.create.made': figure(times.made, 'ms'), 'sandbox.destroy': figure(times.destroyed, 'ms') };
}

export const lives: Group = { names: ['sandbox.create', 'sandbox.create.made', 'sandbox.destroy'], run };
