/** A gateway that is killed between the writes of a name and of what it stands for: after the next start the name can be used again. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { makeWorld } from '../fake-world.ts';
import { SqliteStore } from '../store/sqlite-store.ts';
import { createSandbox } from './create.ts';
import { keys } from './record.ts';

const here = (file: string): string => JSON.stringify(new URL(file, import.meta.url).href);
const input = { name: 'helper', blueprint: 'support' };

/** Runs `steps` in a gateway of its own on a store of files, which kills itself instead of doing the write that `when` names. */
function killedAt(file: string, when: string, steps: string): void {
  const program = `
    import { makeWorld } from ${here('../fake-world.ts')};
    import { SqliteStore } from ${here('../store/sqlite-store.ts')};
    import { createSandbox, forget } from ${here('./create.ts')};
    class Store extends SqliteStore {
      batch(writes) {
        if (writes.some((write) => ${when})) process.kill(process.pid, 'SIGKILL');
        return super.batch(writes);
      }
    }
    const world = await makeWorld({ store: new Store(process.argv[1]) });
    const made = () => createSandbox(world.gateway.house, ${JSON.stringify(input)}, 1000);
    ${steps}`;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, file], { encoding: 'utf8', env: { ...process.env, TMPDIR: dirname(file) } });
  assert.equal(signal, 'SIGKILL', stderr);
}

const cases: readonly (readonly [what: string, when: string, steps: string])[] = [
  ['between name and record', `write.op === 'put' && /record$/.test(write.key)`, 'await made();'],
  ['between the end of the record and that of the name', `write.op === 'delete' && /^name/.test(write.key)`, 'await forget(world.gateway.house, await made());'],
];
for (const [what, when, steps] of cases) {
  test(`killed ${what}: the name is free after the next start, and on record as freed`, async () => {
    const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-crash-'));
    try {
      const file = join(dir, 'store.db');
      killedAt(file, when, steps);
      const store = new SqliteStore(file);
      const left = await store.get(keys.name('helper'));
      assert.ok(left, 'the name was left behind');
      assert.equal(await store.get(keys.record((left.value as { id: string }).id)), undefined);
      const world = await makeWorld({ store });
      try {
        assert.ok(world.record.events.some(({ message }) => /^The name helper is free again/.test(message)));
        const live = await createSandbox(world.gateway.house, input, 1000);
        assert.equal(live.record.value.state, 'running');
        await world.restart();
        assert.ok(world.gateway.house.sandboxes.byName('helper'), 'a name that stands for something is kept');
      } finally {
        await world.close();
        await store.close();
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
}

test('a store that refuses the record keeps no name either', async () => {
  const world = await makeWorld();
  try {
    const { batch } = world.store;
    let broken = true;
    world.store.batch = (writes) => (broken && writes.some(({ key }) => key.endsWith('/record')) ? Promise.reject(new Error('no room')) : batch.call(world.store, writes));
    await assert.rejects(createSandbox(world.gateway.house, input, 1000), /no room/);
    assert.equal(await world.store.get(keys.name('helper')), undefined);
    assert.deepEqual([...world.backend.sandboxes.keys()], [], 'nor is anything left in the kernel');
    broken = false;
    assert.equal((await createSandbox(world.gateway.house, input, 1000)).record.value.state, 'running');
  } finally {
    await world.close();
  }
});

test('a name whose record cannot be read stays taken', async () => {
  const world = await makeWorld();
  try {
    const { value, revision } = (await createSandbox(world.gateway.house, input, 1000)).record;
    await world.store.put(keys.record(value.id), { nothing: 'of ours' }, revision);
    await world.restart();
    assert.ok(await world.store.get(keys.name('helper')));
  } finally {
    await world.close();
  }
});
