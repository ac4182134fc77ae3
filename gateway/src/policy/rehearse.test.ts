/** A rehearsal goes the way of a change and leaves no trace, whatever the blueprints are like. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { blueprintFiles, makeWorld } from '../fake-world.ts';
import { createSandbox } from '../sandboxes/create.ts';
import { rehearseChanges, rounds } from './rehearse.ts';

async function rehearsed(prepare: (dir: string, compiled: number) => void = () => undefined): Promise<number> {
  const world = await makeWorld();
  // The rehearsal itself keeps no process alive.
  const awake = setInterval(() => undefined, 1000);
  try {
    const live = await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, 1000);
    const before = JSON.stringify([await world.store.list('')]);
    const [events, heard, inForce] = [world.record.events.length, world.worker.heard.length, live.inForce];
    let compiled = 0;
    let planned = 0;
    await rehearseChanges({
      ...world.gateway.house,
      compile: (bundle, version) => {
        compiled += 1;
        prepare(world.dir, compiled);
        return world.gateway.house.compile(bundle, version);
      },
      plan: (request) => {
        planned += 1;
        return world.gateway.house.plan(request);
      },
    });
    assert.equal(planned, compiled);
    assert.equal(JSON.stringify([await world.store.list('')]), before);
    assert.deepEqual([world.record.events.length, world.worker.heard.length], [events, heard]);
    assert.equal(live.inForce, inForce);
    return compiled;
  } finally {
    clearInterval(awake);
    await world.close();
  }
}

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
