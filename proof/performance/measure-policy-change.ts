/** `network.apply`: from the request that changes the policy to the first answer on a new connection that the new version decided, beside open streams. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { PolicyApplied } from '@nemoclaw/contract';
import { until } from '../harness/instance.ts';
import { nowMs } from './api.ts';
import { figure, percentiles, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { networkPolicy, upstreamName } from './policies.ts';

const streams = 1000;

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const count = bench.by(20, 200, 1000);
  return world.within('bench', async (name) => {
    const exec = await world.api.open(name);
    const ended = exec.run(['/workspace/client', 'watch', upstreamName, String(world.port), String(streams)]);
    // Its failure is reported where it is waited for.
    ended.catch(() => undefined);
    const saying = (known: number, word: string): Promise<string> => Promise.race([until(word, () => exec.lines.slice(known).find((line) => line.startsWith(word)), 60_000), ended.then(() => '')]);
    await saying(0, 'ready');
    exec.write('ask\n');
    await saying(0, 'now ');
    const times = { seen: [] as number[], begun: [] as number[], said: [] as number[] };
    const phases = new Map<string, number[]>();
    for (let i = 0; i < count; i += 1) {
      const known = exec.lines.length;
      exec.write('ask\n');
      await saying(known, 'asking');
      await sleep(5);
      const start = nowMs();
      const applied = await world.api.call<PolicyApplied>('PUT', `/v1/sandboxes/${name}/policy`, { files: { 'network.yaml': networkPolicy(world.ports, i % 2 === 1) } });
      const line = await saying(known, 'now ');
      const [, rule, ns, begun] = line.split(' ');
      if ((rule === 'egress.deny[1]') !== (i % 2 === 1)) throw new Error(`after version ${applied.version} a new connection got ${line}: ${exec.errors}`);
      times.seen.push(Number(ns) / 1e6 - start);
      times.begun.push(Number(begun) / 1e6 - start);
      times.said.push(applied.appliedMs);
      for (const [phase, ms] of Object.entries(applied.phases)) phases.set(phase, [...(phases.get(phase) ?? []), ms]);
      await sleep(10);
    }
    bench.say(`  phases, p50 / p99 in ms: ${[...phases].map(([phase, ms]) => `${phase} ${percentiles(ms).p50.toFixed(2)} / ${percentiles(ms).p99.toFixed(2)}`).join(', ')}`);
    exec.endInput();
    await ended;
    if (exec.lines.at(-1) !== `alive ${streams}`) throw new Error(`of ${streams} streams whose decision did not change: ${exec.lines.at(-1)}`);
    return { 'network.apply': figure(times.seen, 'ms', { 'that connection’s begin': times.begun, 'the gateway’s own word': times.said }) };
  });
}

export const policyChange: Group = { names: ['network.apply'], run };
