/** `sandbox.scale`: 512 sandboxes at once, each of which opens, is refused, starts a program and asks the outside by HTTPS once a second; beside one that is alone. */
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { nowMs } from './api.ts';
import { figure, percentile, type Figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { largest, look, slopes, supervisorOf } from './measure-memory.ts';
import { nothingLeft, sandboxThings } from './left-behind.ts';
import { secureName } from './policies.ts';
import { takeSamples } from './programs.ts';
import type { World } from './world.ts';

const kinds = ['open', 'denied', 'exec', 'request'] as const;
type Times = Record<(typeof kinds)[number], number[]>;

interface Crowd {
  readonly times: Times;
  readonly failures: number;
  /** Periods that began a whole period late. */
  readonly late: number;
  /** ms: of all requests of the sandbox that had the worst of it. */
  readonly worst: number;
}

/** Runs the program in every sandbox at once, from one instant on. */
async function together(world: World, names: readonly string[], out: string, seconds: number, periodMs: number): Promise<Crowd> {
  mkdirSync(out, { recursive: true, mode: 0o777 });
  const execs = [];
  for (const name of names) execs.push(await world.api.open(name));
  const start = BigInt(Math.round((nowMs() + 3000 + names.length * 20) * 1e6));
  await Promise.all(execs.map((exec, i) => exec.run(['/workspace/scale', secureName, String(world.ports.secure), String(start), String(seconds), String(periodMs), `/workspace/out/one-${i}`])));
  const times: Times = { open: [], denied: [], exec: [], request: [] };
  let worst = 0;
  execs.forEach((_, i) => {
    for (const kind of kinds) {
      const ms = takeSamples(join(out, `one-${i}.${kind}`)).map((ns) => ns / 1e6);
      if (kind === 'request') worst = Math.max(worst, percentile(ms, 0.5));
      for (const one of ms) times[kind].push(one);
    }
  });
  const said = execs.map((exec) => exec.lines.at(-1)?.split(' ').map(Number) ?? []);
  const sum = (column: number): number => said.reduce((total, line) => total + (line[column] ?? 0), 0);
  return { times, failures: sum(2), late: sum(3), worst };
}

async function run(bench: Bench): Promise<Figures> {
  const most = bench.by(16, 512, 512);
  const world = await bench.world();
  const workspace = await world.workspace('scale');
  copyFileSync(bench.programs.scale, join(workspace.path, 'scale'));
  const out = join(workspace.path, 'out');
  const names: string[] = [];
  const before = sandboxThings(world.instance.root);
  const figures: Record<string, Figure> = {};
  const made: number[] = [];
  const fill = async (to: number): Promise<void> => {
    const started = nowMs();
    const from = names.length;
    while (names.length < to) {
      const name = world.nextName();
      const asked = nowMs();
      await world.create(name, workspace.registration);
      made.push(nowMs() - asked);
      names.push(name);
    }
    bench.say(`  ${to} sandboxes; the last ${to - from} took ${((nowMs() - started) / 1000).toFixed(1)} s to make`);
  };
  try {
    await fill(1);
    const idle = await together(world, names, out, bench.by(4, 15, 15), 25);
    const one = await look(1, () => supervisorOf(world.instance.root));
    await fill(most);
    const memory = largest(slopes(one, await look(most, () => supervisorOf(world.instance.root))));
    if (sandboxThings(world.instance.root).length < before.length + most) throw new Error('the sandboxes are not seen on the host, nor would be what they leave');
    const crowd = await together(world, names, out, bench.by(5, 20, 60), 1000);
    const ratio = (kind: (typeof kinds)[number]): string => `${kind} × ${(percentile(crowd.times[kind], 0.99) / percentile(idle.times[kind], 0.99)).toFixed(1)}`;
    bench.say(`  p99 with ${most}, as a multiple of alone: ${kinds.map(ratio).join(', ')}; failed ${crowd.failures} of ${crowd.times.request.length}, late ${crowd.late}; worst sandbox's median request ${crowd.worst.toFixed(1)} ms`);
    if (crowd.failures + idle.failures > 0) throw new Error(`${crowd.failures + idle.failures} operations failed that must work`);
    const others = ({ times }: Crowd): Record<string, number[]> => ({ open: times.open, 'open, refused': times.denied, exec: times.exec });
    figures['sandbox.scale'] = figure(crowd.times.request, 'ms', { ...others(crowd), alone: idle.times.request });
    figures['sandbox.scale.idle'] = figure(idle.times.request, 'ms', others(idle));
    figures['sandbox.scale.made'] = figure(made, 'ms');
    figures['sandbox.scale.memory'] = { p50: memory, p99: memory, unit: 'MiB', n: most - 1, peers: {} };
  } finally {
    const started = nowMs();
    const ended: number[] = [];
    for (const name of names) {
      const asked = nowMs();
      await world.destroy(name);
      ended.push(nowMs() - asked);
    }
    figures['sandbox.scale.ended'] = figure(ended, 'ms');
    const seconds = ((nowMs() - started) / 1000).toFixed(1);
    rmSync(out, { recursive: true, force: true });
    await nothingLeft(world.instance.root, before);
    bench.say(`  all ended in ${seconds} s, nothing is left of them`);
  }
  return figures;
}

export const scale: Group = { names: ['sandbox.scale', 'sandbox.scale.idle', 'sandbox.scale.made', 'sandbox.scale.ended', 'sandbox.scale.memory'], run };
