/** The benchmark table: every way through (none, passed on unread, intercepted, intercepted and searched, other programs) × HTTP/1.1 and HTTP/2 × kept and new connections × sizes × connections at once. */
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Figure } from '@nemoclaw/contract';
import { startPeers } from './bench-peers.ts';
import type { Peer } from './bench-peers.ts';
import { startRole } from './bench-processes.ts';
import { clientOf } from './bench-clients.ts';
import type { Client, Version } from './bench-clients.ts';
import { cells as allCells, quickCells, sizes } from './bench-cells.ts';
import type { Cell } from './bench-cells.ts';
import type { Mode, ProxyPlan, Ready } from './bench-roles.ts';
import { askAddress } from '../testing/testing-egress.ts';

const host = 'api.bench.test';
/** ms of each cell. */
const cellMs = 1000;
/** ms after which a cell is given up. */
const givenUp = 60_000;

interface Way {
  readonly name: string;
  readonly versions: readonly Version[];
  /** The process whose time is counted; none where there is nothing between. */
  readonly pid: number | undefined;
  /** Whether its failures are ours. */
  readonly own: boolean;
  connect(version: Version): Promise<Client>;
}

interface Measured {
  readonly times: number[];
  /** Requests per second, and µs of the proxy's CPU time for each. */
  readonly rate: number;
  readonly cpu: number | undefined;
}

/** µs that a process and its threads have worked. */
function worked(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
    } catch {
      // It ended meanwhile.
    }
  }
  return ns / 1000;
}

/** One cell: each of its connections asks again as soon as it is answered, on the same connection or on a new one. Rejects at the first answer that is not what it has to be. */
async function measure(way: Way, cell: Cell, kept: readonly Client[]): Promise<Measured> {
  const times: number[] = [];
  const before = way.pid === undefined ? 0 : worked(way.pid);
  const started = performance.now();
  const size = sizes[cell.size];
  const ask = async (client: Client | undefined): Promise<void> => {
    do {
      const from = performance.now();
      const one = client ?? (await way.connect(cell.version));
      try {
        const ms = await one.get(size);
        // What a new connection costs is part of the request that needed it.
        times.push(client ? ms : performance.now() - from);
      } finally {
        if (!client) one.close();
      }
    } while (performance.now() - started < cellMs);
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`not done in ${givenUp / 1000} s`)), givenUp); });
  try {
    const asking = cell.connection === 'kept' ? kept.map(ask) : Array.from({ length: cell.connections }, async () => ask(undefined));
    await Promise.race([Promise.all(asking), late]);
  } finally {
    clearTimeout(timer);
  }
  const seconds = (performance.now() - started) / 1000;
  return { times, rate: times.length / seconds, cpu: way.pid === undefined ? undefined : (worked(way.pid) - before) / times.length };
}

/** Connections that are used by more than one cell. */
class Kept {
  #of = '';
  #clients: Client[] = [];

  async take(way: Way, cell: Cell): Promise<readonly Client[]> {
    if (cell.connection === 'new') return [];
    const of = `${way.name} ${cell.version} ${cell.connections}`;
    if (of === this.#of) return this.#clients;
    this.drop();
    this.#of = of;
    this.#clients = await Promise.all(Array.from({ length: cell.connections }, async () => way.connect(cell.version)));
    // Each has been answered once, also by the upstream that is connected to for it.
    await Promise.all(this.#clients.map((client) => client.get(sizes['1k'])));
    return this.#clients;
  }

  drop(): void {
    for (const client of this.#clients) client.close();
    this.#clients = [];
    this.#of = '';
  }
}

async function secured(version: Version, port: number, address: string, caPem: string, tunnel?: Peer): Promise<Client> {
  const plain = tunnel ? await tunnel.connect(port) : connectTcp({ host: address, port, noDelay: true });
  const socket = connectTls({ socket: plain, servername: host, ca: tunnel ? tunnel.caPem() : caPem, checkServerIdentity: () => undefined, ALPNProtocols: [version === 'http2' ? 'h2' : 'http/1.1'] });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
    plain.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
  if (version === 'http2' && socket.alpnProtocol !== 'h2') throw new Error('HTTP/2 is not spoken here');
  return clientOf(version, socket, host);
}

const both: readonly Version[] = ['http1', 'http2'];

/** Measures these cells of the table. `say` gets a line for each way; what a peer cannot do stands in no figure, and what we cannot do throws. */
async function benchTable(cells: readonly Cell[], say: (text: string) => void): Promise<Record<string, Figure>> {
  const children: ChildProcess[] = [];
  const role = async (name: string, plan?: ProxyPlan): Promise<{ child: ChildProcess; ready: Ready }> => {
    const started = await startRole(name, plan);
    children.push(started.child);
    return started;
  };
  let peers: Peer[] = [];
  const found = new Map<string, Map<string, Measured>>();
  try {
    const upstream = await role('files');
    const record = await role('record');
    const { port } = upstream.ready;
    const caPem = upstream.ready.caPem ?? '';
    const ways: Way[] = [{ name: 'direct', versions: both, pid: undefined, own: true, connect: (version) => secured(version, port, '127.0.0.1', caPem) }];
    for (const mode of ['passthrough', 'intercepted', 'searched'] as const satisfies readonly Mode[]) {
      const { child, ready } = await role('proxy', { upstreamPort: port, caPem, ledgerPath: record.ready.path ?? '', mode });
      const address = ((await askAddress(host, ready.dns ?? 0)) ?? '').replace(/^198\./, '127.');
      ways.push({ name: mode, versions: both, pid: child.pid, own: true, connect: (version) => secured(version, ready.port, address, mode === 'passthrough' ? caPem : (ready.caPem ?? '')) });
    }
    peers = await startPeers(port, say);
    for (const peer of peers) ways.push({ name: peer.name, versions: peer.name === 'mitmproxy' ? both : ['http1'], pid: peer.pid, own: false, connect: (version) => secured(version, port, '127.0.0.1', '', peer) });
    for (const way of ways) {
      const results = new Map<string, Measured>();
      found.set(way.name, results);
      const kept = new Kept();
      const from = performance.now();
      for (const cell of cells) {
        if (!way.versions.includes(cell.version)) continue;
        try {
          results.set(cell.name, await measure(way, cell, await kept.take(way, cell)));
        } catch (error) {
          kept.drop();
          const why = `${way.name}, ${cell.name}: ${error instanceof Error ? error.message : String(error)}`;
          if (way.own) throw new Error(why);
          say(`  failed: ${why}`);
        }
      }
      kept.drop();
      say(`  ${way.name}: ${results.size} cells in ${((performance.now() - from) / 1000).toFixed(0)} s${way.pid === undefined ? '' : `, at most ${memory(way.pid)} MiB of memory`}`);
    }
  } finally {
    for (const peer of peers) peer.stop();
    for (const child of children.toReversed()) child.disconnect();
  }
  return figures(found);
}

/** MiB that a process held at most. */
const memory = (pid: number): string => (Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024).toFixed(0);

const rounded = (value: number): number => Number(value.toPrecision(4));

function percentiles(times: readonly number[]): { p50: number; p99: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
  return { p50: at(0.5), p99: at(0.99) };
}
const one = (value: number): { p50: number; p99: number } => ({ p50: rounded(value), p99: rounded(value) });

/** `proxy.table` is the share of the direct way's rate, over all cells. Of each cell three figures: time, `.rate` and `.cpu`. The figure itself is that of the searched way, which is what a policy asks for that says nothing; all others stand beside it. */
function figures(found: ReadonlyMap<string, ReadonlyMap<string, Measured>>): Record<string, Figure> {
  const out: Record<string, Figure> = {};
  const shares = (way: string): number[] => [...(found.get(way) ?? [])].map(([name, { rate }]) => rate / (found.get('direct')?.get(name)?.rate ?? Number.NaN));
  const others = [...found.keys()].filter((way) => way !== 'searched' && way !== 'direct');
  out['proxy.table'] = { ...percentiles(shares('searched')), unit: 'ratio', n: shares('searched').length, peers: Object.fromEntries(others.map((way) => [way, percentiles(shares(way))])) };
  for (const [name, own] of found.get('searched') ?? []) {
    const beside = [...found].filter(([way]) => way !== 'searched').flatMap(([way, results]) => {
      const measured = results.get(name);
      return measured ? [[way, measured] as const] : [];
    });
    out[name] = { ...percentiles(own.times), unit: 'ms', n: own.times.length, peers: Object.fromEntries(beside.map(([way, { times }]) => [way, percentiles(times)])) };
    out[`${name}.rate`] = { ...one(own.rate), unit: '/s', n: own.times.length, peers: Object.fromEntries(beside.map(([way, { rate }]) => [way, one(rate)])) };
    out[`${name}.cpu`] = { ...one(own.cpu ?? 0), unit: 'µs', n: own.times.length, peers: Object.fromEntries(beside.flatMap(([way, { cpu }]) => (cpu === undefined ? [] : [[way, one(cpu)]]))) };
  }
  return out;
}

const asked = process.argv.slice(2);
const chosen = asked[0] === 'quick' ? quickCells : asked.length === 0 ? allCells : allCells.filter(({ name }) => asked.includes(name));
if (import.meta.main) {
  // What runs beside it ends when it exits.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  process.stdout.write(`${JSON.stringify(await benchTable(chosen, (text) => void process.stderr.write(`${text}\n`)), null, 2)}\n`);
}
