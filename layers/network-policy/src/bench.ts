/** Benchmarks of the proxy: time added to a request, requests per second, new TLS connections per second; TLS on both sides, 200 rules, one event per request on a real record. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { fileURLToPath } from 'node:url';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { Figure } from '@nemoclaw/contract';
import type { ProxyPlan, Ready } from './bench-roles.ts';
import { askAddress } from './testing-egress.ts';

const host = 'api.bench.test';
const roles = fileURLToPath(new URL('bench-roles.ts', import.meta.url));
const responseBytes = 1024;

async function start(role: string, plan?: ProxyPlan): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = fork(roles, [role], { execPath: process.execPath, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  if (plan) child.send(plan);
  const [ready] = (await once(child, 'message')) as [Ready];
  return { child, ready };
}

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

async function open(port: number, address: string, caPem: string): Promise<TLSSocket> {
  const plain = connectTcp({ host: address, port, noDelay: true });
  const socket = connectTls({ socket: plain, servername: host, ca: caPem });
  await once(socket, 'secureConnect');
  return socket;
}

function figure(values: number[], unit: string): Figure {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => Number((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1));
  return { p50: at(0.5), p99: at(0.99), unit, n: values.length };
}
const single = (value: number, unit: string, n: number): Figure => ({ p50: Math.round(value), p99: Math.round(value), unit, n });

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

/**
 * All three figures; `n` requests for the time added, twice as many for the rate. Peers, in the same run: a bare Node proxy (node:https in, undici out, no policy, no record),
 * and for the rate what one core of the proxy's own CPU time would give.
 */
export async function bench(n = 10_000): Promise<Record<string, Figure>> {
  const upstream = await start('upstream');
  const record = await start('record');
  const plan = { upstreamPort: upstream.ready.port, caPem: upstream.ready.caPem ?? '', ledgerPath: record.ready.path ?? '' };
  const bare = await start('bare', plan);
  const proxy = await start('proxy', plan);
  try {
    const address = ((await askAddress(host, proxy.ready.dns ?? 0)) ?? '').replace(/^198\./, '127.');
    const caPem = proxy.ready.caPem ?? '';
    const through = (): Promise<TLSSocket> => open(proxy.ready.port, address, caPem);
    const straight = (): Promise<TLSSocket> => open(upstream.ready.port, '127.0.0.1', upstream.ready.caPem ?? '');
    const bareHop = (): Promise<TLSSocket> => open(bare.ready.port, '127.0.0.1', bare.ready.caPem ?? '');
    const times = { direct: [] as number[], bare: [] as number[], proxied: [] as number[] };
    // Taken in turns, so that all meet the same noise.
    for (let round = 0; round < 4; round += 1) {
      times.direct.push(...(await latency(await straight(), n / 4)));
      times.bare.push(...(await latency(await bareHop(), n / 4)));
      times.proxied.push(...(await latency(await through(), n / 4)));
    }
    const base = figure(times.direct, 'µs').p50;
    const above = (values: number[]): Figure => {
      const { p50, p99, unit, n: count } = figure(values, 'µs');
      return { p50: Number((p50 - base).toFixed(1)), p99: Number((p99 - base).toFixed(1)), unit, n: count };
    };
    const bareRate = await rate(bareHop, n * 2);
    const before = await used(proxy.child);
    const ownRate = await rate(through, n * 2);
    const cpu = ((await used(proxy.child)) - before) / 1e6;

    const shakes = Math.max(50, Math.min(2000, n / 10));
    const shaking = performance.now();
    let open8 = shakes;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while ((open8 -= 1) >= 0) (await through()).destroy();
    }));
    const shakeSeconds = (performance.now() - shaking) / 1000;
    return {
      'proxy.added': { ...above(times.proxied), peers: { 'bare Node proxy': pick(above(times.bare)) } },
      'proxy.rate': { ...single(ownRate, '/s', n * 2), peers: { 'bare Node proxy': pick(single(bareRate, '/s', 0)), 'per core of its own CPU time': pick(single((n * 2) / cpu, '/s', 0)) } },
      'proxy.handshakes': single(shakes / shakeSeconds, '/s', shakes),
    };
  } finally {
    for (const { child } of [proxy, bare, record, upstream]) child.disconnect();
  }
}

async function used(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [answer] = (await once(child, 'message')) as [{ cpu: number }];
  return answer.cpu;
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await bench(Number(process.argv[2] ?? 10_000)), null, 2)}\n`);
