/** `proxy.fairness`: one sandbox attacks the data plane that it shares with another; how much longer the other one's requests take, beside what they take in between. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetworkService, serviceName } from '../faults/network-service.ts';
import { checkout } from '../harness/instance.ts';
import { figure, percentile, type Figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import type { World } from './world.ts';

/** What `network-agent.py` can do to a data plane. */
const kinds = ['connections', 'handshakes', 'bombs', 'slow', 'names', 'heads', 'bodies'] as const;
/** How the other one's requests go: over one plain connection that is kept, or each over TLS from the question for the name on. */
const ways = ['kept', 'new'] as const;
/** Seconds of one look at the requests of the other. */
const look = 2;

/** Where a service is: `secure` with TLS. */
interface Ports {
  readonly plain: number;
  readonly secure: number;
}

function policy({ plain, secure }: Ports): string {
  return `networkPolicy:
  name: fairness
  egress:
    allow:
      - { domain: ${serviceName}, ports: [${plain}], methods: [GET, POST], addresses: [127.0.0.1] }
      - { domain: ${serviceName}, ports: [${secure}], methods: [GET], addresses: [127.0.0.1], ca: service.pem }
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
async function agent<T>(world: World, name: string, ports: Ports, what: string, amount: number): Promise<T> {
  const exec = await world.api.open(name);
  await exec.run(['/usr/bin/env', `PORT=${ports.plain}`, `SECURE=${ports.secure}`, '/usr/bin/python3', '/workspace/agent.py', what, String(amount)]);
  return JSON.parse(exec.lines.at(-1) ?? '') as T;
}

type Times = Readonly<Record<(typeof ways)[number], readonly number[]>>;

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const own = new NetworkService();
  const aside = await serviceAside();
  const secure = await own.listenSecurely();
  const ports = { attacker: { plain: aside.port, secure: secure.port }, victim: { plain: await own.listen(), secure: secure.port } };
  const asked = kinds.filter((kind) => ways.some((way) => bench.wants(`proxy.fairness.${kind}.${way}`)));
  const rounds = bench.by(1, 3, 12);
  const figures: Record<string, Figure> = {};
  const ratios: Record<string, { p50: number; p99: number }> = {};
  try {
    writeFileSync(join(realpathSync(world.instance.lib), 'blueprints/bench/service.pem'), secure.rootPem, { mode: 0o644 });
    await world.within('bench', (attacker, theirs) =>
      world.within('bench', async (victim, ours) => {
        for (const { path } of [theirs, ours]) copyFileSync(join(checkout, 'proof/faults/network-agent.py'), join(path, 'agent.py'));
        for (const [name, port] of [[attacker, ports.attacker], [victim, ports.victim]] as const) await world.api.call('PUT', `/v1/sandboxes/${name}/policy`, { files: { 'network.yaml': policy(port) } });
        const lookedAt = async (): Promise<Times> => {
          const { failed, ...times } = await agent<Times & { readonly failed: readonly unknown[] }>(world, victim, ports.victim, 'times', look);
          if (failed.length > 0) throw new Error(`requests of the other sandbox failed: ${JSON.stringify(failed.slice(0, 3))}`);
          return times;
        };
        await lookedAt();
        for (const kind of asked) {
          const idle: Times[] = [];
          const attacked: Times[] = [];
          // Idle and attacked in turns, so that what else the machine does falls on both.
          for (let round = 0; round < rounds; round += 1) {
            idle.push(await lookedAt());
            const attack = agent<Readonly<Record<string, number>>>(world, attacker, ports.attacker, kind, look + 2);
            // Its failure is reported where it is waited for.
            attack.catch(() => undefined);
            await sleep(500);
            attacked.push(await lookedAt());
            const counts = await attack;
            if (Object.keys(counts).length === 0) throw new Error(`${kind}: there was no attack`);
            if (round === 0) bench.say(`  ${kind}: ${JSON.stringify(counts)}`);
            await sleep(300);
          }
          for (const way of ways) {
            const [under, without] = [attacked, idle].map((looks) => looks.flatMap((times) => times[way])) as [number[], number[]];
            const ratio = (share: number): number => Number((percentile(under, share) / percentile(without, share)).toPrecision(3));
            ratios[`${kind} ${way}`] = { p50: ratio(0.5), p99: ratio(0.99) };
            figures[`proxy.fairness.${kind}.${way}`] = figure(under, 'ms', { idle: without });
          }
        }
      }),
    );
  } finally {
    own.close();
    aside.close();
  }
  const all = Object.values(ratios);
  if (asked.length < kinds.length) return figures;
  const worst = { p50: Math.max(...all.map(({ p50 }) => p50)), p99: Math.max(...all.map(({ p99 }) => p99)) };
  const n = Object.values(figures).reduce((sum, one) => sum + one.n, 0);
  return { 'proxy.fairness': { ...worst, unit: '× idle', n, peers: ratios }, ...figures };
}

export const fairness: Group = { names: ['proxy.fairness', ...kinds.flatMap((kind) => ways.map((way) => `proxy.fairness.${kind}.${way}`))], run };
