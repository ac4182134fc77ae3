/** A rehearsal goes the way of a change and leaves no trace, whatever the blueprints are like and whatever changes meanwhile. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { blueprintFiles, makeWorld, type World } from '../fake-world.ts';
import { createSandbox } from '../sandboxes/create.ts';
import { setPolicy } from './change.ts';
import { rehearseChanges, rehearseSwitches, rounds } from './rehearse.ts';

/** A rehearsal keeps no process awake. */
async function awake<T>(work: (world: World) => Promise<T>): Promise<T> {
  const world = await makeWorld();
  const timer = setInterval(() => undefined, 1000);
  try {
    return await work(world);
  } finally {
    clearInterval(timer);
    await world.close();
  }
}

const rehearsed = (before: (dir: string, compiled: number) => void = () => undefined): Promise<number> =>
  awake(async (world) => {
    const live = await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, 1000);
    const stored = JSON.stringify([await world.store.list('')]);
    const [events, heard, inForce] = [world.record.events.length, world.worker.heard.length, live.inForce];
    let compiled = 0;
    let planned = 0;
    await rehearseChanges({
      ...world.gateway.house,
      compile: (bundle, version) => {
        compiled += 1;
        before(world.dir, compiled);
        return world.gateway.house.compile(bundle, version);
      },
      plan: (request) => {
        planned += 1;
        return world.gateway.house.plan(request);
      },
    });
    assert.equal(planned, compiled);
    assert.equal(JSON.stringify([await world.store.list('')]), stored);
    assert.deepEqual([world.record.events.length, world.worker.heard.length], [events, heard]);
    assert.equal(live.inForce, inForce);
    return compiled;
  });

test('as many rounds as it takes, each to the compiled policy', async () => {
  assert.ok('network.yaml' in blueprintFiles);
  assert.equal(await rehearsed(), rounds);
});

test('a blueprint that goes away meanwhile ends it and nothing else', async () => {
  assert.equal(
    await rehearsed((dir, compiled) => {
      if (compiled === 3) rmSync(join(dir, 'blueprints'), { recursive: true });
    }),
    3,
  );
});

/** Versions that the worker prepared, and those it switched to. */
const switches = ({ worker }: World): [number[], number[]] => [
  worker.heard.flatMap((message) => (message.t === 'prepare' ? [message.config.version] : [])),
  worker.heard.flatMap((message) => (message.t === 'switch' ? [message.version] : [])),
];

test('a worker that serves a sandbox goes through its switches once, to what is in force', () =>
  awake(async (world) => {
    const { house } = world.gateway;
    const rehearsed = new WeakSet<object>();
    await rehearseSwitches(house, rehearsed);
    assert.deepEqual(switches(world), [[], []]);

    const live = await createSandbox(house, { name: 'helper', blueprint: 'support' }, 1000);
    const before = JSON.stringify([await world.store.list(''), world.worker.configs.get(live.record.value.id), world.record.events]);
    await rehearseSwitches(house, rehearsed);
    await rehearseSwitches(house, rehearsed);
    const same = Array.from({ length: rounds }, () => 1);
    assert.deepEqual(switches(world), [same, same]);
    assert.equal(JSON.stringify([await world.store.list(''), world.worker.configs.get(live.record.value.id), world.record.events]), before);

    await world.restart();
    await world.worker.until((worker) => worker.configs.get(live.record.value.id));
    await rehearseSwitches(world.gateway.house, rehearsed);
    assert.deepEqual(switches(world), [same, same]);
  }));

test('a change in the middle of it is in force afterwards, and nothing that came before', () =>
  awake(async (world) => {
    const { house } = world.gateway;
    const live = await createSandbox(house, { name: 'helper', blueprint: 'support' }, 1000);
    const rehearsal = rehearseSwitches(house, new WeakSet());
    await world.worker.until((worker) => worker.heard.some(({ t }) => t === 'switch'));
    await setPolicy(house, 'helper', { files: { 'approvals.yaml': 'timeout: 5m\n' } }, 1000);
    await rehearsal;
    const [prepared, switched] = switches(world);
    assert.deepEqual(switched, [...switched].sort());
    assert.deepEqual([prepared, switched.at(-1), switched.length], [switched, 2, rounds + 1]);
    assert.equal(world.worker.configs.get(live.record.value.id)?.version, 2);
  }));

test('a worker that does not take it rehearses again, and nothing else comes of it', () =>
  awake(async (world) => {
    const { house } = world.gateway;
    const live = await createSandbox(house, { name: 'helper', blueprint: 'support' }, 1000);
    const rehearsed = new WeakSet<object>();
    world.worker.reply = () => 'no';
    await rehearseSwitches(house, rehearsed);
    assert.equal(switches(world)[1].length, 1);
    assert.deepEqual([live.record.value.state, live.policy.value.version], ['running', 1]);
    world.worker.reply = () => '';
    await rehearseSwitches(house, rehearsed);
    assert.equal(switches(world)[1].length, rounds + 1);
  }));
