/** `proxy.fairness`: one sandbox attacks the data plane that it shares with another; how much longer the other one's requests take, beside what they take in between. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetworkService } from '../faults/network-service.ts';
import { checkout } from '../harness/instance.ts';
import { figure, percentile, type Figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import type { World } from './world.ts';

/** What `network-agent.py` can do to a data plane. */
const kinds = ['connections', 'handshakes', 'bombs', 'slow', 'names', 'heads', 'bodies'] as const;
/** Seconds of one look at the requests of the other. */
const look = 1.5;

function policy(port: number): string {
  return `networkPolicy:
  name: fairness
  egress:
    allow:
      - { domain: service.example, ports: [${port}], methods: [GET, POST], addresses: [127.0.0.1] }
    deny:
      - domain: "*"
  inspection: { tlsDecrypt: true, logPayloads: false, scanForPII: true }
`;
}

/** A service in a process of its own: what an attack costs its own service is not the data plane's. */
async function serviceAside(): Promise<{ readonly port: number; close(): void }> {
  const child = spawn(process.execPath, [join(checkout, 'proof/faults/network-service-main.ts')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  return { port: Number(said.toString()), close: () => void child.kill('SIGKILL') };
}

/** Runs the agent in a sandbox; its answer. */
async function agent<T>(world: World, name: string, port: number, what: string, amount: number): Promise<T> {
  const exec = await world.api.open(name);
  await exec.run(['/usr/bin/env', `PORT=${port}`, '/usr/bin/python3', '/workspace/agent.py', what, String(amount)]);
  return JSON.parse(exec.lines.at(-1) ?? '') as T;
}

interface Looked {
  readonly times: readonly number[];
  readonly failed: readonly unknown[];
}

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const own = new NetworkService();
  const ports = { attacker: 0, victim: await own.listen() };
  const aside = await serviceAside();
  ports.attacker = aside.port;
  const rounds = bench.by(1, 3, 12);
  const figures: Record<string, Figure> = {};
  const ratios: Record<string, { p50: number; p99: number }> = {};
  try {
    await world.within('bench', (attacker, theirs) =>
      world.within('bench', async (victim, ours) => {
        for (const { path } of [theirs, ours]) copyFileSync(join(checkout, 'proof/faults/network-agent.py'), join(path, 'agent.py'));
        for (const [name, port] of [[attacker, ports.attacker], [victim, ports.victim]] as const) await world.api.call('PUT', `/v1/sandboxes/${name}/policy`, { files: { 'network.yaml': policy(port) } });
        const lookedAt = async (): Promise<readonly number[]> => {
          const { times, failed } = await agent<Looked>(world, victim, ports.victim, 'times', look);
          if (failed.length > 0) throw new Error(`requests of the other sandbox failed: ${JSON.stringify(failed.slice(0, 3))}`);
          return times;
        };
        await lookedAt();
        for (const kind of kinds) {
          if (!bench.wants('proxy.fairness') && !bench.wants(`proxy.fairness.${kind}`)) continue;
          const idle: number[] = [];
          const attacked: number[] = [];
          // Idle and attacked in turns, so that what else the machine does falls on both.
          for (let round = 0; round < rounds; round += 1) {
            idle.push(...(await lookedAt()));
            const attack = agent<Readonly<Record<string, number>>>(world, attacker, ports.attacker, kind, look + 2);
            // Its failure is reported where it is waited for.
            attack.catch(() => undefined);
            await sleep(500);
            attacked.push(...(await lookedAt()));
            const counts = await attack;
            if (Object.keys(counts).length === 0) throw new Error(`${kind}: there was no attack`);
            if (round === 0) bench.say(`  ${kind}: ${JSON.stringify(counts)}`);
            await sleep(300);
          }
          const ratio = (share: number): number => Number((percentile(attacked, share) / percentile(idle, share)).toPrecision(3));
          ratios[kind] = { p50: ratio(0.5), p99: ratio(0.99) };
          figures[`proxy.fairness.${kind}`] = figure(attacked, 'ms', { idle });
        }
      }),
    );
  } finally {
    own.close();
    aside.close();
  }
  const all = Object.values(ratios);
  if (all.length < kinds.length) return figures;
  const worst = { p50: Math.max(...all.map(({ p50 }) => p50)), p99: Math.max(...all.map(({ p99 }) => p99)) };
  const n = Object.values(figures).reduce((sum, one) => sum + one.n, 0);
  return { 'proxy.fairness': { ...worst, unit: '× idle', n, peers: ratios }, ...figures };
}

export const fairness: Group = { names: ['proxy.fairness', ...kinds.map((kind) => `proxy.fairness.${kind}`)], run };
