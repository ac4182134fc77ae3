/** `sandbox.memory`: what one more idle sandbox costs, by the slope of MemAvailable and of the processes' own shares; the larger one counts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { bwrapped } from './bubblewrap.ts';
import { percentile, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
const kib = (text: string, field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);

/** KiB: shares of `roots` and of all that descends from them. */
function pssBelow(roots: ReadonlySet<number>): number {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) if (/^\d+$/.test(name)) parents.set(Number(name), kib(read(`/proc/${name}/status`), 'PPid'));
  let sum = 0;
  for (const pid of parents.keys()) {
    let at = pid;
    while (at > 1 && !roots.has(at)) at = parents.get(at) ?? 0;
    if (at > 1) sum += kib(read(`/proc/${pid}/smaps_rollup`), 'Pss');
  }
  return sum;
}

interface Reading {
  readonly count: number;
  readonly available: number;
  readonly pss: number;
}

/** After things have settled; the median of five looks, since others use the machine too. */
async function look(count: number, roots: () => ReadonlySet<number>): Promise<Reading> {
  await sleep(1500);
  const available: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    available.push(kib(read('/proc/meminfo'), 'MemAvailable'));
    await sleep(100);
  }
  return { count, available: percentile(available, 0.5), pss: pssBelow(roots()) };
}

/** MiB a piece between two readings. */
function slopes(from: Reading, to: Reading): { readonly available: number; readonly pss: number; readonly larger: number } {
  const each = (kibs: number): number => Number((kibs / 1024 / (to.count - from.count)).toFixed(3));
  const available = each(from.available - to.available);
  const pss = each(to.pss - from.pss);
  return { available, pss, larger: Math.max(available, pss) };
}

function supervisorOf(root: string): ReadonlySet<number> {
  const config = join(root, 'etc/nemoclaw/openshelld.json');
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).split('\0').includes(config)).map(Number);
  if (found.length === 0) throw new Error('the instance’s processes were not found');
  return new Set(found);
}

async function ours(bench: Bench, few: number, many: number): Promise<ReturnType<typeof slopes>> {
  const world = await bench.world();
  const workspace = await world.workspace('memory');
  const names: string[] = [];
  const fill = async (to: number): Promise<Reading> => {
    while (names.length < to) {
      const name = world.nextName();
      await world.create(name, workspace.registration);
      names.push(name);
      if (names.length % 64 === 0) bench.say(`  ${names.length} sandboxes`);
    }
    return look(to, () => supervisorOf(world.instance.root));
  };
  try {
    return slopes(await fill(few), await fill(many));
  } finally {
    for (const name of names) await world.destroy(name);
  }
}

async function bubblewraps(few: number, many: number): Promise<ReturnType<typeof slopes>> {
  const children: ChildProcess[] = [];
  const fill = (to: number): Promise<Reading> => {
    while (children.length < to) {
      const [program = '', ...args] = bwrapped(['/bin/sleep', '1000']);
      children.push(spawn(program, ['--die-with-parent', ...args], { stdio: 'ignore' }));
    }
    return look(to, () => new Set(children.map((child) => child.pid ?? 0)));
  };
  try {
    return slopes(await fill(few), await fill(many));
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

async function run(bench: Bench): Promise<Figures> {
  const [few, many] = bench.full ? [16, 512] : [4, 32];
  const own = await ours(bench, few, many);
  const peer = bench.hasBwrap ? await bubblewraps(few, many) : undefined;
  const single = (value: number): { p50: number; p99: number } => ({ p50: value, p99: value });
  return { 'sandbox.memory': { ...single(own.larger), unit: 'MiB', n: many - few, peers: { 'by MemAvailable': single(own.available), 'by PSS': single(own.pss), ...(peer && { bwrap: single(peer.larger) }) } } };
}

export const memory: Group = { names: ['sandbox.memory'], run };
