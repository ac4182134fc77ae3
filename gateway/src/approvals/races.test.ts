/** What happens at once: a decision while the agent gives up, a second person who drives what already asks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, held, inWorld, person, settled, toolRequest, wire } from './fake-holds.ts';

for (const verdict of ['approve', 'deny'] as const) {
  test(`what a person is deciding stands, though the agent gives it up meanwhile: ${verdict}`, inWorld(async (world, live) => {
    const id = await held(world, live);
    const deciding = decide(world, id, verdict);
    await Promise.all([deciding, world.gateway.house.desk.withdraw(live.record.value.id, 'h1', 'client went away')]);
    assert.deepEqual([settled(world, id)?.state, settled(world, id)?.by], [verdict === 'approve' ? 'approved' : 'rejected', `uid:${person}`]);
  }));
}

test('nobody approves what their own command asks, though the question stood before it', inWorld(async (world, live) => {
  world.people = 2;
  const request = toolRequest(live);
  const id = await held(world, live, 'h1', request);
  const { desk } = world.gateway.house;
  await desk.release(live.record.value.id, 'h1');
  live.drivers.add(person);
  await desk.open(wire(live, request, 'h2'), async () => undefined);
  assert.equal(desk.list('waiting').length, 1);
  await assert.rejects(decide(world, id), (error: { code?: string }) => error.code === 'NEMO_E_SELF_APPROVAL');
}));
