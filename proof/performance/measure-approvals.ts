/** `approval.resume`: from the approval of a held deletion, or a held request, to the agent's call returning. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApprovalView } from '@nemoclaw/contract';
import { until } from '../harness/instance.ts';
import { nowMs } from './api.ts';
import { figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { heldName } from './policies.ts';
import type { World } from './world.ts';

/** ms for each of `count` holds that the program makes, one after the other; `expected` is what its call must return. */
async function resumes(world: World, name: string, argv: readonly string[], count: number, expected: string): Promise<number[]> {
  const exec = await world.api.open(name);
  const ended = exec.run(argv);
  ended.catch(() => undefined);
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const waiting = async (): Promise<ApprovalView | undefined> => (await world.api.call<ApprovalView[]>('GET', '/v1/approvals?state=waiting'))[0];
    const approval = await Promise.race([until('a question', waiting), ended.then(() => undefined)]);
    if (!approval) throw new Error(`the program ended early: ${exec.lines.join('; ')}`);
    // What is waiting has settled: the hold is as it would be when a person reads the card.
    await sleep(10);
    const start = nowMs();
    await world.api.call('POST', `/v1/approvals/${approval.id}/decision`, { verdict: 'approve' });
    const line = await Promise.race([until('the call’s return', () => exec.lines[i]), ended.then(() => exec.lines[i] ?? '')]);
    const [, , result, ns] = line.split(' ');
    if (result !== expected) throw new Error(`after approval: ${line}`);
    times.push(Number(ns) / 1e6 - start);
  }
  await ended;
  return times;
}

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const count = bench.by(20, 100, 500);
  return world.within('bench-ruled', async (name, workspace) => {
    for (let i = 0; i < count; i += 1) writeFileSync(join(workspace.path, 'archive', String(i)), 'old\n');
    const removal = await resumes(world, name, ['/workspace/client', 'remove', '/workspace/archive', String(count)], count, '0');
    const http = await resumes(world, name, ['/workspace/client', 'put', heldName, String(world.port), String(count)], count, '200');
    return { 'approval.resume': figure([...removal, ...http], 'ms'), 'approval.resume.unlink': figure(removal, 'ms'), 'approval.resume.http': figure(http, 'ms') };
  });
}

export const approvals: Group = { names: ['approval.resume', 'approval.resume.unlink', 'approval.resume.http'], run };
