/** Benchmarks of the proxy: time added to a request, requests per second, new TLS connections per second; TLS on both sides, 200 rules, one event per request on a real record. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Figure } from '@nemoclaw/contract';
import { startPeers } from './bench/bench-peers.ts';
import { startRole } from './bench/bench-processes.ts';
import type { Ready } from './bench/bench-roles.ts';
import { startSquid } from './bench/bench-squid.ts';
import { TlsClient } from './bench/tls-client.ts';
import type { Target } from './bench/tls-client.ts';
import { askAddress } from './testing/testing-egress.ts';

const host = 'api.bench.test';
const rounds = 4;
/** Connections at once, for the rate. */
const together = 16;

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

interface Way {
  readonly target: Target;
  /** Of each request, µs; of each round, requests and TLS connections per second. */
  readonly times: number[];
  readonly rates: number[];
  readonly shakes: number[];
  /** In those rounds: requests, and how long the proxy worked. */
  sent: number;
  proxySeconds: number;
}
const wayOf = (target: Target): Way => ({ target, times: [], rates: [], shakes: [], sent: 0, proxySeconds: 0 });

/**
 * All three figures; `n` requests for the time added, twice as many for the rate. Peers, in the same run: no proxy at all, a bare Node proxy (node:https in,
 * undici out, no policy, no record), our own where the policy says `scanForPII: false`, squid, mitmproxy and http-mitm-proxy where they can be had, and for the rate what one core of the proxy's own CPU time would give.
 */
export async function bench(n = 10_000): Promise<Record<string, Figure>> {
  const client = new TlsClient(host);
  const upstream = await startRole('upstream');
  const record = await startRole('record');
  const plan = { upstreamPort: upstream.ready.port, caPem: upstream.ready.caPem ?? '', ledgerPath: record.ready.path ?? '' };
  const bare = await startRole('bare', plan);
  const proxy = await startRole('proxy', plan);
  const unsearched = await startRole('proxy', { ...plan, mode: 'intercepted' });
  const peers = await startPeers(upstream.ready.port, say, [startSquid]);
  try {
    const at = async ({ port, dns, caPem = '' }: Ready): Promise<Way> => {
      const address = dns === undefined ? '127.0.0.1' : ((await askAddress(host, dns)) ?? '').replace(/^198\./, '127.');
      return wayOf({ address, port, caPem });
    };
    const [direct, bareNode, plain, own] = [await at(upstream.ready), await at(bare.ready), await at(unsearched.ready), await at(proxy.ready)];
    const shakes = Math.max(48, Math.min(2000, n / 10));
    // Taken in turns, so that all meet the same noise, and a client that is as warm.
    for (let round = 0; round < rounds; round += 1) {
      for (const way of [direct, bareNode, plain, own]) {
        way.times.push(...(await client.requests(way.target, n / rounds, 1)).micros);
        const before = await used(proxy.child);
        const { sent, perSecond } = await client.requests(way.target, (n * 2) / rounds, together);
        way.proxySeconds += ((await used(proxy.child)) - before) / 1e6;
        way.sent += sent;
        way.rates.push(perSecond);
        way.shakes.push(await client.handshakes(way.target, shakes / rounds));
      }
    }
    const base = figure(direct.times, 'µs').p50;
    const above = (values: number[]): Figure => {
      const { p50, p99, unit, n: count } = figure(values, 'µs');
      return { p50: Number((p50 - base).toFixed(1)), p99: Number((p99 - base).toFixed(1)), unit, n: count };
    };
    const one = (value: number): { p50: number; p99: number } => pick(single(value, '/s', 0));
    const added: Peers = { 'bare Node proxy': pick(above(bareNode.times)), 'without the search': pick(above(plain.times)) };
    const rates: Peers = { direct: one(overall(direct.rates)), 'bare Node proxy': one(overall(bareNode.rates)), 'without the search': one(overall(plain.rates)), 'per core of its own CPU time': one(own.sent / own.proxySeconds) };
    const shaken: Peers = { direct: one(overall(direct.shakes)), 'bare Node proxy': one(overall(bareNode.shakes)) };
    for (const peer of peers) {
      // They are slower, and are given less to do.
      const few = Math.max(100, n / 5);
      const hop: Target = { address: '127.0.0.1', port: peer.port, caPem: peer.caPem(), tunnel: `127.0.0.1:${upstream.ready.port}` };
      try {
        added[peer.name] = pick(above([...(await client.requests(hop, few, 1)).micros]));
        rates[peer.name] = one((await client.requests(hop, few, together)).perSecond);
        shaken[peer.name] = one(await client.handshakes(hop, Math.max(20, shakes / 5)));
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
    client.close();
    for (const peer of peers) peer.stop();
    for (const { child } of [proxy, unsearched, bare, record, upstream]) child.disconnect();
  }
}

async function used(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [answer] = (await once(child, 'message')) as [{ cpu: number }];
  return answer.cpu;
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await bench(Number(process.argv[2] ?? 10_000)), null, 2)}\n`);
