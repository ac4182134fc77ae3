/** What is counted, by the API and as Prometheus reads it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seenViewSchema } from '@nemoclaw/contract';
import { readExposition } from '@nemoclaw/ledger';
import { z } from 'zod';
import { makeWorld } from '../fake-world.ts';
import { routes } from './routes.ts';

test('the counts of each sandbox, by name, and why there are none', async () => {
  const world = await makeWorld();
  try {
    const { house } = world.gateway;
    const app = routes(house);
    const get = async (path: string): Promise<Response> => app.fetch(new Request(`http://nemoclaw${path}`), { peer: { uid: 1000 } });
    for (const name of ['counted', 'dark']) {
      const made = await app.fetch(new Request('http://nemoclaw/v1/sandboxes', { method: 'POST', body: JSON.stringify({ name, blueprint: 'support' }) }), { peer: { uid: 1000 } });
      assert.equal(made.status, 201, await made.text());
    }
    world.backend.seenReports.set(house.sandboxes.must('counted').record.value.id, { counts: { openat: [5, 1, 2, 0, 0, 0, 0], unlink: [1, 0, 0, 0, 0, 3, 2], keyctl: [0, 0, 0, 9, 0, 0, 0] }, ended: 4, withheld: 6, ringFull: 7 });
    const views = z.array(seenViewSchema).parse(await (await get('/v1/seen')).json());
    assert.deepEqual(views.map((view) => [view.sandbox, view.report?.ended, view.why]), [['counted', 4, ''], ['dark', undefined, 'not counted']]);

    const answer = await get('/metrics');
    assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    const { samples } = readExposition(await answer.text());
    const value = (name: string, labels: Record<string, string> = {}): number | undefined => samples.find((one) => one.name === name && Object.entries(labels).every(([key, is]) => one.labels.get(key) === is))?.value;
    assert.equal(value('nemoclaw_sandboxes', { state: 'running' }), 2);
    assert.equal(value('nemoclaw_seen', { sandbox: 'counted' }), 1);
    assert.equal(value('nemoclaw_seen', { sandbox: 'dark' }), 0);
    const calls = (of: string, verdict: string): number | undefined => value('nemoclaw_syscalls_total', { sandbox: 'counted', class: of, verdict });
    assert.deepEqual([calls('file', 'done'), calls('file', 'denied'), calls('file', 'heldDenied'), calls('file', 'approved'), calls('other', 'filtered'), calls('network', 'done')], [6, 1, 3, 2, 9, 0]);
    assert.equal(value('nemoclaw_events_not_told_total', { sandbox: 'counted', why: 'ring' }), 7);
    assert.equal(value('nemoclaw_tasks_ended_total', { sandbox: 'counted' }), 4);
    assert.equal(value('nemoclaw_record_up'), 1);
    assert.equal(samples.filter((one) => one.name === 'nemoclaw_syscalls_total').reduce((sum, one) => sum + one.value, 0), 23);
  } finally {
    await world.close();
  }
});
