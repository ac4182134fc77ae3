/** What people ask of a sandbox's layer, and what they are told of what it left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NemoError } from '@nemoclaw/contract';
import { makeWorld, type World } from '../fake-world.ts';
import { createSandbox } from './create.ts';
import { commitLayer, diffLayer, discardLayer, listSnapshots, restoreSnapshot, takeSnapshot } from './layer.ts';
import { destroySandbox, stopSandbox } from './life.ts';

const uid = 1000;
const refused = (code: string) => (error: unknown): boolean => error instanceof NemoError && error.code === code;

async function inWorld(body: (world: World, id: string) => Promise<void>): Promise<void> {
  const world = await makeWorld({});
  try {
    const live = await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, uid);
    await body(world, live.record.value.id);
  } finally {
    await world.close();
  }
}

test('each request reaches openshelld, and what changes something is on record first', () =>
  inWorld(async (world, id) => {
    const { house } = world.gateway;
    world.backend.layerAnswer = { changes: [], more: 0, checked: true };
    assert.deepEqual(await diffLayer(house, 'helper', uid), world.backend.layerAnswer);
    await commitLayer(house, 'helper', uid);
    await discardLayer(house, 'helper', uid);
    await listSnapshots(house, 'helper', uid);
    await restoreSnapshot(house, 'helper', 'one', uid);
    assert.deepEqual(world.backend.layers.map(({ sandbox, op }) => [sandbox, op]), ['diff', 'commit', 'discard', 'snapshots', 'restore'].map((op) => [id, op]));
    for (const message of ['carried out in its workspace', 'are discarded', 'restored from the snapshot one']) assert.ok(world.record.events.some((event) => event.message.includes(message)), message);
  }));

test('a snapshot is taken while the sandbox stands still, and it goes on also where that failed', () =>
  inWorld(async (world) => {
    const { house } = world.gateway;
    await takeSnapshot(house, 'helper', 'before', uid);
    assert.deepEqual(world.backend.frozen, [true, false]);
    world.backend.layerAnswer = Object.assign(new Error('there is a snapshot of that name'), { code: 'exists' });
    await assert.rejects(takeSnapshot(house, 'helper', 'before', uid), refused('NEMO_E_CONFLICT'));
    assert.deepEqual(world.backend.frozen, [true, false, true, false]);
    await assert.rejects(takeSnapshot(house, 'helper', '../x', uid), refused('NEMO_E_NAME'));
  }));

test('what openshelld refuses is said with a way out', () =>
  inWorld(async (world) => {
    const { house } = world.gateway;
    for (const [code, expected] of [['running', 'NEMO_E_STATE'], ['no-layer', 'NEMO_E_NOT_FOUND'], ['no-snapshot', 'NEMO_E_NOT_FOUND'], ['busy', 'NEMO_E_CONFLICT'], ['registration', 'NEMO_E_WORKSPACE'], ['internal', 'NEMO_E_BACKEND']] as const) {
      world.backend.layerAnswer = Object.assign(new Error(code), { code });
      await assert.rejects(commitLayer(house, 'helper', uid), refused(expected), code);
    }
  }));

test('what a sandbox left is kept with it, told when it is removed, and its layer goes', () =>
  inWorld(async (world, id) => {
    const { house } = world.gateway;
    world.backend.released = { checked: true, entries: 9, quarantine: '.nemoclaw-quarantine/x', found: [{ path: '.envrc', why: 'new', moved: true }], more: 0, problem: '' };
    const live = await stopSandbox(house, 'helper', uid);
    assert.deepEqual(live.record.value.left?.found, [{ path: '.envrc', why: 'new', moved: true }]);
    const left = await destroySandbox(house, 'helper', uid);
    assert.equal(left?.quarantine, '.nemoclaw-quarantine/x');
    assert.deepEqual(world.backend.layers, [{ sandbox: id, op: 'remove', name: undefined }]);
  }));

test('what openshelld finds by itself is kept with the sandbox', () =>
  inWorld(async (world, id) => {
    await world.gateway.workspaceReleased(id, { checked: false, entries: 9, quarantine: '', found: [], more: 0, problem: 'the check ended without an answer' });
    assert.equal(world.gateway.house.sandboxes.must('helper').record.value.left?.problem, 'the check ended without an answer');
  }));
