/** Benchmarks `router.added`, `router.added.100k` and `router.rate`: client, router, provider and ledger are four processes on this machine. Run it directly to print the figures as JSON. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Figure } from '@nemoclaw/contract';
import { BenchClient, chatRequest } from './bench-client.ts';

const file = fileURLToPath(new URL('./bench-process.ts', import.meta.url));

async function start(...args: string[]): Promise<{ readonly child: ChildProcess; readonly said: string }> {
  const child = fork(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const said = await new Promise<string>((resolve, reject) => {
    child.once('message', (message) => resolve(String(message)));
    child.once('exit', (code) => reject(new Error(`${args[0]} ended with ${code}`)));
  });
  return { child, said };
}

/** A chat of about `size` bytes in messages of 500; different every time. */
function bodyOf(size: number, serial: number): string {
  const text = `${serial} ${'The quick brown fox. '.repeat(24)}`.slice(0, 500);
  const messages = Array.from({ length: Math.max(1, Math.round(size / 540)) }, (_, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content: `${i} ${text}` }));
  const tools = [{ type: 'function', function: { name: 'app1_read', description: 'Reads.', parameters: { type: 'object', properties: { id: { type: 'string' } } } } }];
  return JSON.stringify({ model: 'm', messages, tools });
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** What the router adds to a request, and what a bare Node hop adds in the same run. Blocks of requests go directly, through the hop and through the router in turn; p50: difference of medians, p99: the slow hundredth above the direct median. */
async function added(ports: Ports, size: number, n: number): Promise<Figure> {
  const requests = Array.from({ length: 1000 }, (_, i) => chatRequest(bodyOf(size, i)));
  const clients = { direct: await BenchClient.open(ports.provider), hop: await BenchClient.open(ports.hop), router: await BenchClient.open(ports.router) };
  const times = { direct: [] as number[], hop: [] as number[], router: [] as number[] };
  const block = 100;
  const warm = Math.ceil(n / 4);
  for (let from = -warm; from < n; from += block) {
    for (const way of ['direct', 'hop', 'router'] as const) {
      for (let i = from; i < from + block; i++) {
        const request = requests[Math.abs(i) % requests.length];
        if (!request) continue;
        const took = await clients[way].once(request);
        // The first of a block pays for the caches that the others used.
        if (from >= 0 && i - from >= 10) times[way].push(took);
      }
    }
  }
  for (const client of Object.values(clients)) client.close();
  for (const list of Object.values(times)) list.sort((a, b) => a - b);
  const base = percentile(times.direct, 0.5);
  const above = (list: readonly number[]): { p50: number; p99: number } => ({ p50: percentile(list, 0.5) - base, p99: percentile(list, 0.99) - base });
  return { ...above(times.router), unit: 'ms', n: times.router.length, peers: { 'bare Node hop': above(times.hop) } };
}

/** Requests of 1 KB per second, 16 at a time; p99 is the slowest of ten slices. */
async function rate(port: number, n: number): Promise<{ p50: number; p99: number }> {
  const requests = Array.from({ length: 1000 }, (_, i) => chatRequest(bodyOf(1000, i)));
  const clients = await Promise.all(Array.from({ length: 16 }, () => BenchClient.open(port)));
  const slices: number[] = [];
  const per = Math.floor(n / 10);
  for (let slice = 0; slice < 10; slice++) {
    let left = per;
    const begin = performance.now();
    await Promise.all(
      clients.map(async (client) => {
        while (left-- > 0) await client.once(requests[Math.abs(left) % requests.length] ?? Buffer.alloc(0));
      }),
    );
    slices.push((per * 1000) / (performance.now() - begin));
  }
  for (const client of clients) client.close();
  slices.sort((a, b) => a - b);
  return { p50: percentile(slices, 0.5), p99: slices[0] ?? Number.NaN };
}

interface Ports {
  readonly provider: number;
  readonly hop: number;
  readonly router: number;
}

/** All figures of the router. `scale` shortens the run. */
export async function bench(scale = 1): Promise<Readonly<Record<string, Figure>>> {
  const provider = await start('provider');
  const ledger = await start('ledger');
  const hop = await start('hop', provider.said);
  const router = await start('router', provider.said, ledger.said);
  const ports: Ports = { provider: Number(provider.said), hop: Number(hop.said), router: Number(router.said) };
  try {
    const n = Math.ceil(20_000 * scale);
    return {
      'router.added': await added(ports, 1000, Math.ceil(4000 * scale)),
      'router.added.100k': await added(ports, 100_000, Math.ceil(1000 * scale)),
      'router.rate': { ...(await rate(ports.router, n)), unit: 'per second', n, peers: { 'bare Node hop': await rate(ports.hop, n) } },
    };
  } finally {
    for (const { child } of [router, hop, ledger, provider]) child.disconnect();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${JSON.stringify(await bench(Number(process.argv[2] ?? 1)), null, 2)}\n`);
