/** `syscall.*`: what a sandbox adds to a system call, by the same program inside and outside, in turns. */
import { join } from 'node:path';
import { run as runProgram } from '../harness/instance.ts';
import { bwrapped } from './bubblewrap.ts';
import { above, percentiles, type Figure, type Figures, type Percentiles } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { takeSamples } from './programs.ts';
import { srtWrapped } from './srt.ts';
import type { Workspace, World } from './world.ts';

interface Call {
  readonly name: string;
  /** Of the figure. */
  readonly figure: string;
  /** Calls per block; five blocks a place. */
  readonly count: number;
  /** The figure of the same call where a rule asks about the same elsewhere: it then takes another way. Opening to read is not asked about, and takes none. */
  readonly ruled?: string;
}
const all: readonly Call[] = [
  { name: 'getpid', figure: 'syscall.getpid', count: 20_000, ruled: 'syscall.getpid.ruled' },
  { name: 'open', figure: 'syscall.open', count: 10_000, ruled: 'syscall.open.ruled' },
  { name: 'creat', figure: 'syscall.creat', count: 3000, ruled: 'syscall.creat.ruled' },
  { name: 'mkdir', figure: 'syscall.mkdir', count: 3000, ruled: 'syscall.mkdir.ruled' },
  { name: 'unlink', figure: 'syscall.unlink', count: 3000, ruled: 'syscall.unlink.ruled' },
  { name: 'rename', figure: 'syscall.rename', count: 3000, ruled: 'syscall.rename.ruled' },
  { name: 'connect', figure: 'syscall.connect', count: 2000, ruled: 'syscall.connect.ruled' },
  { name: 'exec', figure: 'syscall.exec', count: 200, ruled: 'syscall.exec.ruled' },
];
const toHost = 'syscall.getpid.host';

async function outside({ name: call, count }: Call, workspace: string): Promise<number[]> {
  const out = join(workspace, 'samples');
  const ran = await runProgram(join(workspace, 'calls'), [call, String(count), join(workspace, 'files'), out]);
  if (ran.code !== 0) throw new Error(`${call} outside: ${ran.err}`);
  return takeSamples(out);
}

async function inBwrap({ name: call, count }: Call, workspace: string): Promise<number[]> {
  const [program = '', ...args] = bwrapped(['/tmp/w/calls', call, String(count), '/tmp/w/files', '/tmp/w/samples'], workspace);
  const ran = await runProgram(program, args);
  if (ran.code !== 0) throw new Error(`${call} in bwrap: ${ran.err}`);
  return takeSamples(join(workspace, 'samples'));
}

async function inSrt({ name: call, count }: Call, workspace: string): Promise<number[]> {
  const [program = '', ...args] = srtWrapped([join(workspace, 'calls'), call, String(count), join(workspace, 'files'), join(workspace, 'samples')], workspace);
  const ran = await runProgram(program, args);
  if (ran.code !== 0) throw new Error(`${call} in srt: ${ran.err}`);
  return takeSamples(join(workspace, 'samples'));
}

async function inside(world: World, name: string, { name: call, count }: Call, workspace: string): Promise<number[]> {
  await (await world.api.open(name)).run(['/workspace/calls', call, String(count), '/workspace/files', '/workspace/samples']);
  return takeSamples(join(workspace, 'samples'));
}

interface Room {
  readonly name: string;
  readonly workspace: Workspace;
}
type Place = 'plain' | 'bwrap' | 'srt' | 'inside' | 'ruled';

async function measure(bench: Bench, world: World, call: Call, usual: Room, strict: Room): Promise<Figures> {
  const times: Record<Place, number[]> = { plain: [], bwrap: [], srt: [], inside: [], ruled: [] };
  const keep = (place: Place, ns: readonly number[]): void => {
    for (const one of ns) times[place].push(one / 1000);
  };
  const folder = usual.workspace.path;
  for (let block = 0; block < bench.by(1, 5, 20); block += 1) {
    keep('plain', await outside(call, folder));
    if (bench.hasBwrap) keep('bwrap', await inBwrap(call, folder));
    if (bench.hasSrt) keep('srt', await inSrt(call, folder));
    keep('inside', await inside(world, usual.name, call, folder));
    if (call.ruled !== undefined) keep('ruled', await inside(world, strict.name, call, strict.workspace.path));
  }
  const peers: Record<string, Percentiles> = { ...(bench.hasBwrap && { bwrap: above(times.bwrap, times.plain) }), ...(bench.hasSrt && { srt: above(times.srt, times.plain) }), plain: above(times.plain, times.plain), 'the whole call, outside': percentiles(times.plain) };
  const added = (values: readonly number[]): Figure => ({ ...above(values, times.plain), unit: 'µs', n: values.length, peers });
  return { [call.figure]: added(times.inside), ...(call.ruled !== undefined && { [call.ruled]: added(times.ruled) }) };
}

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  return world.within('bench', (usualName, usualWorkspace) =>
    world.within('bench-ruled', async (strictName, strictWorkspace) => {
      const figures: Record<string, Figure> = {};
      for (const call of all) {
        if (!bench.wants(call.figure) && !bench.wants(call.ruled ?? call.figure)) continue;
        bench.say(`  ${call.name}`);
        Object.assign(figures, await measure(bench, world, call, { name: usualName, workspace: usualWorkspace }, { name: strictName, workspace: strictWorkspace }));
      }
      return figures;
    }),
  );
}

export const calls: Group = { names: all.flatMap((call) => [call.figure, ...(call.ruled === undefined ? [] : [call.ruled])]), run };

/** What every other process of the machine pays while a sandbox runs, because refused calls are watched: before the instance starts, and after. */
export const host: Group = {
  names: [toHost],
  run: async (bench) => {
    const [getpid] = all;
    if (!getpid) throw new Error('no call');
    const look = async (): Promise<number[]> => {
      const times: number[] = [];
      for (let block = 0; block < 5; block += 1) {
        const out = join(bench.programs.folder, 'samples');
        const ran = await runProgram(bench.programs.calls, [getpid.name, String(getpid.count), bench.programs.folder, out]);
        if (ran.code !== 0) throw new Error(ran.err);
        times.push(...takeSamples(out).map((ns) => ns / 1000));
      }
      return times;
    };
    const before = await look();
    const world = await bench.world();
    const during = await world.within('bench', look);
    return { [toHost]: { ...above(during, before), unit: 'µs', n: during.length, peers: { plain: above(before, before), 'the whole call, before': percentiles(before) } } };
  },
};
