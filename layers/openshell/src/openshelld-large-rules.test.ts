/** Rules as large as they may be come back after a restart of openshelld; larger ones are refused at once, at the start as in a change. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { LaunchPlan } from '@nemoclaw/contract';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';

/** Bytes of the rules of one sandbox at most; SHIM_RULES_MAX on the C side. */
const most = 192 * 1024;
const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }] }, enforcement: best-effort';

/** Of a plan whose rules take so many bytes, as JSON without spaces. */
function filled(plan: LaunchPlan, bytes: number): LaunchPlan {
  const entry = (length: number): LaunchPlan => ({ ...plan, recordRules: { ...plan.recordRules, paths: [...plan.recordRules.paths, { path: `/workspace/${'x'.repeat(length)}`, read: null, write: null, exec: null }] } });
  const size = ({ escalate, locks, lsm, recordRules }: LaunchPlan): number => [escalate, locks, lsm, recordRules].reduce<number>((sum, part) => sum + JSON.stringify(part).length, 0);
  return entry(bytes - size(entry(0)));
}

describe('rules that are large', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let next = 0;
  const alive = async (sandbox: string): Promise<string> => (await gateway.run(sandbox, `e${(next += 1)}`, ['/bin/echo', sandbox])).stdout;
  before(async () => {
    instance = await TestInstance.start();
    gateway = await instance.service('gateway');
  });
  after(async () => {
    await instance?.stop();
  });

  it('as large as they may be, at the start or by a change, they outlive openshelld; one byte more is refused with the reason', async () => {
    const { id } = await instance.workspace('project');
    const plan = instance.plan(spec);
    const change = ({ escalate, limits: { memoryBytes, pids, cpuMillis }, recordRules, lsm }: LaunchPlan): Promise<unknown> => gateway.call('update', 'changed', escalate, { memoryBytes, pids, cpuMillis }, recordRules, lsm);
    await assert.rejects(gateway.call('create', 'over', filled(plan, most + 1), id, 'worker:1'), { code: 'plan', message: /the policy is too large: its rules take 196609 bytes, 196608 at most/ });
    await gateway.call('create', 'made', filled(plan, most), id, 'worker:1');
    await gateway.call('create', 'changed', plan, id, 'worker:1');
    await change(filled(plan, most));
    await assert.rejects(change(filled(plan, most + 1)), { code: 'plan', message: /the policy is too large/ });
    for (const sandbox of ['made', 'changed']) assert.equal(await alive(sandbox), `${sandbox}\n`);
    await instance.killDaemon();
    for (const sandbox of ['made', 'changed']) assert.equal(await alive(sandbox), `${sandbox}\n`);
  });
});
