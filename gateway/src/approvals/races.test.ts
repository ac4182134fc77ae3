/** What happens at once: a decision while the agent gives up, a second person who drives what already asks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { consume, decide, held, inWorld, person, settled, toolRequest, wire } from './fake-holds.ts';

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

test('an approval whose word was lost is told to the same hold, once', inWorld(async (world, live) => {
  const { desk } = world.gateway.house;
  const hold = wire(live, toolRequest(live), 'h1');
  await desk.open(hold, () => Promise.reject(new Error('the link is gone')));
  const id = desk.list('waiting')[0]?.id ?? '';
  await decide(world, id);
  await desk.releaseAll(() => true);
  const said: unknown[] = [];
  const hear = (outcome: unknown): Promise<void> => {
    said.push(outcome);
    return Promise.resolve();
  };
  await desk.open(hold, hear);
  assert.deepEqual(said, [{ verdict: 'allow', approvalId: id, by: `uid:${person}` }]);
  await desk.open(hold, hear);
  assert.equal((said[1] as { verdict: string }).verdict, 'deny');
}));

test('a grant is not for the commands of who gave it', inWorld(async (world, live) => {
  world.people = 2;
  const request = toolRequest(live);
  const id = await held(world, live, 'h1', request);
  const { desk } = world.gateway.house;
  await desk.release(live.record.value.id, 'h1');
  await decide(world, id);
  const key = live.inForce.key(request);
  assert.deepEqual(desk.pending(live.record.value.id), [{ key, approvalId: id }]);
  live.drivers.add(person);
  assert.deepEqual(desk.pending(live.record.value.id), []);
  assert.equal(await consume(world, live, key, 1), 'no');
  live.drivers.delete(person);
  assert.equal(await consume(world, live, key, 2), 'ok');
}));
