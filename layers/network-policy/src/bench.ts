/** Benchmarks of the proxy: time added to a request, requests per second, new TLS connections per second; TLS on both sides, 200 rules, one event per request on a real record. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { Figure } from '@nemoclaw/contract';
import { startPeers } from './bench/bench-peers.ts';
import { startRole } from './bench/bench-processes.ts';
import { askAddress } from './testing/testing-egress.ts';

const host = 'api.bench.test';
const responseBytes = 1024;
const rounds = 4;

const headOf = (path: number): string => `GET /v1/items/${path % 1000} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`;

/** Sends one request after the other and calls `each` with the µs that every answer took. */
function pump(socket: TLSSocket, each: (micros: number) => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let got = 0;
    let whole = 0;
    let count = 0;
    let sent = 0;
    const send = (): void => {
      sent = performance.now();
      socket.write(headOf((count += 1)));
    };
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the connection was closed')));
    socket.on('data', (chunk: Buffer) => {
      if (whole === 0) {
        const end = chunk.indexOf('\r\n\r\n');
        if (chunk[9] !== 0x32) reject(new Error(chunk.toString('latin1', 0, 400)));
        whole = end + 4 + responseBytes;
      }
      got += chunk.length;
      if (got < whole) return;
      got = 0;
      whole = 0;
      if (each((performance.now() - sent) * 1000)) send();
      else resolve();
    });
    send();
  });
}

function open(port: number, address: string, caPem: string): Promise<TLSSocket> {
  return secured(connectTcp({ host: address, port, noDelay: true }), caPem);
}

async function secured(plain: Socket, caPem: string): Promise<TLSSocket> {
  // A proxy that was asked for an address may vouch for that instead of the name.
  const socket = connectTls({ socket: plain, servername: host, ca: caPem, checkServerIdentity: () => undefined });
  await once(socket, 'secureConnect');
  return socket;
}

function figure(values: number[], unit: string): Figure {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1));
  return { p50: at(0.5), p99: at(0.99), unit, n: values.length };
}
/** Of rounds with as much to do in each. */
const overall = (perSecond: readonly number[]): number => perSecond.length / perSecond.reduce((sum, each) => sum + 1 / each, 0);
const single = (value: number, unit: string, n: number): Figure => ({ p50: Math.round(value), p99: Math.round(value), unit, n });

type Peers = Record<string, { p50: number; p99: number }>;
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const pick = ({ p50, p99 }: Figure): { p50: number; p99: number } => ({ p50, p99 });

async function latency(socket: TLSSocket, n: number): Promise<number[]> {
  const out: number[] = [];
  let warm = Math.min(2000, n);
  await pump(socket, (micros) => {
    if (warm > 0) warm -= 1;
    else out.push(micros);
    return out.length < n;
  });
  socket.destroy();
  return out;
}

/** TLS connections per second, made by eight at once. */
async function handshakes(connect: () => Promise<TLSSocket>, n: number): Promise<number> {
  const started = performance.now();
  let left = n;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while ((left -= 1) >= 0) (await connect()).destroy();
  }));
  return n / ((performance.now() - started) / 1000);
}

/** 16 connections, `n` requests in all; requests per second. */
async function rate(connect: () => Promise<TLSSocket>, n: number): Promise<number> {
  const sockets = await Promise.all(Array.from({ length: 16 }, connect));
  const started = performance.now();
  let left = n;
  await Promise.all(sockets.map((socket) => pump(socket, () => (left -= 1) > 0)));
  const seconds = (performance.now() - started) / 1000;
  for (const socket of sockets) socket.destroy();
  return n / seconds;
}

interface Way {
  readonly connect: () => Promise<TLSSocket>;
  /** Of each request, µs; of each round, requests and TLS connections per second. */
  readonly times: number[];
  readonly rates: number[];
  readonly shakes: number[];
  /** That the proxy worked in those rounds. */
  proxySeconds: number;
}
const wayOf = (connect: Way['connect']): Way => ({ connect, times: [], rates: [], shakes: [], proxySeconds: 0 });

/**
 * All three figures; `n` requests for the time added, twice as many for the rate. Peers, in the same run: no proxy at all, a bare Node proxy (node:https in,
 * undici out, no policy, no record), mitmproxy and http-mitm-proxy where they can be had, and for the rate what one core of the proxy's own CPU time would give.
 */
export async function bench(n = 10_000): Promise<Record<string, Figure>> {
  const upstream = await startRole('upstream');
  const record = await startRole('record');
  const plan = { upstreamPort: upstream.ready.port, caPem: upstream.ready.caPem ?? '', ledgerPath: record.ready.path ?? '' };
  const bare = await startRole('bare', plan);
  const proxy = await startRole('proxy', plan);
  const peers = await startPeers(upstream.ready.port, say);
  try {
    const address = ((await askAddress(host, proxy.ready.dns ?? 0)) ?? '').replace(/^198\./, '127.');
    const caPem = proxy.ready.caPem ?? '';
    const direct = wayOf(() => open(upstream.ready.port, '127.0.0.1', upstream.ready.caPem ?? ''));
    const bareNode = wayOf(() => open(bare.ready.port, '127.0.0.1', bare.ready.caPem ?? ''));
    const own = wayOf(() => open(proxy.ready.port, address, caPem));
    const shakes = Math.max(48, Math.min(2000, n / 10));
    // Taken in turns, so that all meet the same noise, and a client that is as warm.
    for (let round = 0; round < rounds; round += 1) {
      for (const way of [direct, bareNode, own]) {
        way.times.push(...(await latency(await way.connect(), n / rounds)));
        const before = await used(proxy.child);
        way.rates.push(await rate(way.connect, (n * 2) / rounds));
        way.proxySeconds += ((await used(proxy.child)) - before) / 1e6;
        way.shakes.push(await handshakes(way.connect, shakes / rounds));
      }
    }
    const base = figure(direct.times, 'µs').p50;
    const above = (values: number[]): Figure => {
      const { p50, p99, unit, n: count } = figure(values, 'µs');
      return { p50: Number((p50 - base).toFixed(1)), p99: Number((p99 - base).toFixed(1)), unit, n: count };
    };
    const one = (value: number): { p50: number; p99: number } => pick(single(value, '/s', 0));
    const added: Peers = { 'bare Node proxy': pick(above(bareNode.times)) };
    const rates: Peers = { direct: one(overall(direct.rates)), 'bare Node proxy': one(overall(bareNode.rates)), 'per core of its own CPU time': one((n * 2) / own.proxySeconds) };
    const shaken: Peers = { direct: one(overall(direct.shakes)), 'bare Node proxy': one(overall(bareNode.shakes)) };
    for (const peer of peers) {
      // They are slower, and are given less to do.
      const few = Math.max(100, n / 5);
      const hop = async (): Promise<TLSSocket> => secured(await peer.connect(upstream.ready.port), peer.caPem());
      try {
        added[peer.name] = pick(above(await latency(await hop(), few)));
        rates[peer.name] = one(await rate(hop, few));
        shaken[peer.name] = one(await handshakes(hop, Math.max(20, shakes / 5)));
      } catch (error) {
        say(`${peer.name} failed: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    return {
      'proxy.added': { ...above(own.times), peers: added },
      'proxy.rate': { ...single(overall(own.rates), '/s', n * 2), peers: rates },
      'proxy.handshakes': { ...single(overall(own.shakes), '/s', shakes), peers: shaken },
    };
  } finally {
    for (const peer of peers) peer.stop();
    for (const { child } of [proxy, bare, record, upstream]) child.disconnect();
  }
}

async function used(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [answer] = (await once(child, 'message')) as [{ cpu: number }];
  return answer.cpu;
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await bench(Number(process.argv[2] ?? 10_000)), null, 2)}\n`);
