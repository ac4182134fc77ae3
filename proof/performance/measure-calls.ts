/** `syscall.*`: what a sandbox adds to a system call, by the same program inside and outside, in turns. */
import { join } from 'node:path';
import { run as runProgram } from '../harness/instance.ts';
import { bwrapped } from './bubblewrap.ts';
import { above, percentiles, type Figure, type Figures, type Percentiles } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { takeSamples } from './programs.ts';
import type { Workspace, World } from './world.ts';

/** Calls per block; five blocks a place. */
const counts = { getpid: 20_000, open: 10_000, unlink: 3000, rename: 3000, connect: 2000, exec: 200 } as const;
type Call = keyof typeof counts;
const all = Object.keys(counts) as Call[];
/** Calls that a rule about deleting and renaming concerns: they take another way where there is such a rule anywhere. */
const ruled: readonly Call[] = ['unlink', 'rename'];

async function outside(call: Call, workspace: string): Promise<number[]> {
  const out = join(workspace, 'samples');
  const ran = await runProgram(join(workspace, 'calls'), [call, String(counts[call]), join(workspace, 'files'), out]);
  if (ran.code !== 0) throw new Error(`${call} outside: ${ran.err}`);
  return takeSamples(out);
}

async function inBwrap(call: Call, workspace: string): Promise<number[]> {
  const [program = '', ...args] = bwrapped(['/tmp/w/calls', call, String(counts[call]), '/tmp/w/files', '/tmp/w/samples'], workspace);
  const ran = await runProgram(program, args);
  if (ran.code !== 0) throw new Error(`${call} in bwrap: ${ran.err}`);
  return takeSamples(join(workspace, 'samples'));
}

async function inside(world: World, name: string, call: Call, workspace: string): Promise<number[]> {
  await (await world.api.open(name)).run(['/workspace/calls', call, String(counts[call]), '/workspace/files', '/workspace/samples']);
  return takeSamples(join(workspace, 'samples'));
}

type Place = 'plain' | 'bwrap' | 'inside' | 'ruled';

async function measure(bench: Bench, world: World, call: Call, usual: { name: string; workspace: Workspace }, strict: { name: string; workspace: Workspace }): Promise<Figures> {
  const times: Record<Place, number[]> = { plain: [], bwrap: [], inside: [], ruled: [] };
  const keep = (place: Place, ns: readonly number[]): void => {
    for (const one of ns) times[place].push(one / 1000);
  };
  const folder = usual.workspace.path;
  for (let block = 0; block < (bench.full ? 20 : 5); block += 1) {
    keep('plain', await outside(call, folder));
    if (bench.hasBwrap) keep('bwrap', await inBwrap(call, folder));
    keep('inside', await inside(world, usual.name, call, folder));
    if (ruled.includes(call)) keep('ruled', await inside(world, strict.name, call, strict.workspace.path));
  }
  const peers: Record<string, Percentiles> = { ...(bench.hasBwrap && { bwrap: above(times.bwrap, times.plain) }), 'the call itself': percentiles(times.plain) };
  const added = (values: readonly number[]): Figure => ({ ...above(values, times.plain), unit: 'µs', n: values.length, peers });
  return { [`syscall.${call}`]: added(times.inside), ...(ruled.includes(call) && { [`syscall.${call}.ruled`]: added(times.ruled) }) };
}

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  return world.within('bench', (usualName, usualWorkspace) =>
    world.within('bench-ruled', async (strictName, strictWorkspace) => {
      const figures: Record<string, Figure> = {};
      for (const call of all) {
        bench.say(`  ${call}`);
        Object.assign(figures, await measure(bench, world, call, { name: usualName, workspace: usualWorkspace }, { name: strictName, workspace: strictWorkspace }));
      }
      return figures;
    }),
  );
}

export const calls: Group = { names: [...all.map((call) => `syscall.${call}`), ...ruled.map((call) => `syscall.${call}.ruled`)], run };
