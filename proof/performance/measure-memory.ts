/** `sandbox.memory`: what one more idle sandbox costs: the slope of MemAvailable, of the processes' shares, and of these with the kernel's own memory; the largest counts. */
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
  /** KiB each. */
  readonly available: number;
  readonly pss: number;
  /** What the kernel keeps for sandboxes: namespaces, mounts, control groups, stacks, page tables, files in memory. Others use the kernel too, but less noisily than the rest of memory. */
  readonly kernel: number;
}
const kernelFields = ['Slab', 'KernelStack', 'PageTables', 'Percpu', 'Shmem'];

/** Memory with `count` sandboxes, after things have settled; the median of five looks, since others use the machine too. */
export async function look(count: number, roots: () => ReadonlySet<number>): Promise<Reading> {
  await sleep(1500);
  const available: number[] = [];
  const kernel: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const text = read('/proc/meminfo');
    available.push(kib(text, 'MemAvailable'));
    kernel.push(kernelFields.reduce((sum, field) => sum + kib(text, field), 0));
    await sleep(100);
  }
  return { count, available: percentile(available, 0.5), pss: pssBelow(roots()), kernel: percentile(kernel, 0.5) };
}

/** MiB a piece. */
interface Slopes {
  readonly available: number;
  readonly pss: number;
  readonly withKernel: number;
}

/** What each sandbox between the two readings costs. */
export function slopes(from: Reading, to: Reading): Slopes {
  const each = (kibs: number): number => Number((kibs / 1024 / (to.count - from.count)).toFixed(3));
  return { available: each(from.available - to.available), pss: each(to.pss - from.pss), withKernel: each(to.pss - from.pss + to.kernel - from.kernel) };
}
/** MiB. */
export const largest = ({ available, pss, withKernel }: Slopes): number => Math.max(available, pss, withKernel);

/** The instance's first process. Throws if it is not found. */
export function supervisorOf(root: string): ReadonlySet<number> {
  const config = join(root, 'etc/nemoclaw/openshelld.json');
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).split('\0').includes(config)).map(Number);
  if (found.length === 0) throw new Error('the instance’s processes were not found');
  return new Set(found);
}

async function ours(bench: Bench, few: number, many: number): Promise<Slopes> {
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

async function bubblewraps(few: number, many: number): Promise<Slopes> {
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
  const few = bench.by(4, 4, 16);
  const many = bench.by(12, 32, 512);
  const own = await ours(bench, few, many);
  const peer = bench.hasBwrap ? await bubblewraps(few, many) : undefined;
  const single = (value: number): { p50: number; p99: number } => ({ p50: value, p99: value });
  const peers = { 'by MemAvailable': single(own.available), 'by PSS': single(own.pss), 'by PSS and kernel memory': single(own.withKernel), ...(peer && { bwrap: single(largest(peer)) }) };
  return { 'sandbox.memory': { ...single(largest(own)), unit: 'MiB', n: many - few, peers } };
}

export const memory: Group = { names: ['sandbox.memory'], run };
