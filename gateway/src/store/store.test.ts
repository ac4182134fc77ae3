/** The contract every adapter of the store keeps, run over each of them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { StoreConflict, type Store, type StoreChange } from '@nemoclaw/contract';
import { MemoryStore } from './memory-store.ts';
import { SqliteStore } from './sqlite-store.ts';

async function take(changes: AsyncIterable<StoreChange>, count: number): Promise<StoreChange[]> {
  const out: StoreChange[] = [];
  for await (const change of changes) if (out.push(change) >= count) break;
  return out;
}

function contract(name: string, open: () => { store: Store; clean: () => void }): void {
  const withStore = (body: (store: Store) => Promise<void>) => async (): Promise<void> => {
    const { store, clean } = open();
    try {
      await body(store);
    } finally {
      await store.close();
      clean();
    }
  };

  describe(`store: ${name}`, () => {
    test('keeps what is put and lists by prefix in order', withStore(async (store) => {
      await store.put('sandbox/b/record', { n: 2 }, 0);
      await store.put('sandbox/a/record', { n: 1 }, 0);
      await store.put('sandboxes/x', 1, 0);
      assert.deepEqual((await store.get('sandbox/a/record'))?.value, { n: 1 });
      assert.deepEqual((await store.list('sandbox/')).map((entry) => entry.key), ['sandbox/a/record', 'sandbox/b/record']);
      assert.equal(await store.get('sandbox/none/record'), undefined);
    }));

    test('a lost compare-and-set rejects and changes nothing', withStore(async (store) => {
      const first = await store.put('name/x', 'one', 0);
      const second = await store.put('name/x', 'two', first);
      assert.ok(second > first);
      await assert.rejects(store.put('name/x', 'three', first), StoreConflict);
      await assert.rejects(store.put('name/x', 'four', 0), StoreConflict);
      await assert.rejects(store.delete('name/x', first), StoreConflict);
      await assert.rejects(store.delete('name/absent', 0), StoreConflict);
      assert.equal((await store.get('name/x'))?.value, 'two');
      await store.delete('name/x', second);
      assert.equal(await store.get('name/x'), undefined);
    }));

    test('of many at once exactly one wins', withStore(async (store) => {
      const revision = await store.put('name/x', 0, 0);
      const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => store.put('name/x', i, revision)));
      assert.equal(results.filter((result) => result.status === 'fulfilled').length, 1);
    }));

    test('a batch is all or nothing, within one prefix', withStore(async (store) => {
      const revision = await store.put('sandbox/a/one', 1, 0);
      await assert.rejects(store.batch([{ op: 'put', key: 'sandbox/a/two', value: 2, expectedRevision: 0 }, { op: 'put', key: 'sandbox/a/one', value: 9, expectedRevision: revision + 5 }]), StoreConflict);
      assert.equal(await store.get('sandbox/a/two'), undefined);
      await assert.rejects(store.batch([{ op: 'put', key: 'sandbox/a/two', value: 2, expectedRevision: 0 }, { op: 'put', key: 'sandbox/b/two', value: 2, expectedRevision: 0 }]), TypeError);
      await assert.rejects(store.batch([{ op: 'put', key: 'sandbox/a/two', value: 2, expectedRevision: 0 }, { op: 'put', key: 'sandbox/a/two', value: 3, expectedRevision: 0 }]), TypeError);
      await assert.rejects(store.put('no-prefix', 1, 0), TypeError);
      const revisions = await store.batch([{ op: 'put', key: 'sandbox/a/two', value: 2, expectedRevision: 0 }, { op: 'delete', key: 'sandbox/a/one', revision }]);
      assert.equal(revisions.length, 2);
      assert.equal(await store.get('sandbox/a/one'), undefined);
    }));

    test('what is handed out is a copy', withStore(async (store) => {
      await store.put('name/x', { list: [1] }, 0);
      const entry = await store.get('name/x');
      (entry?.value as { list: number[] }).list.push(2);
      assert.deepEqual((await store.get('name/x'))?.value, { list: [1] });
    }));

    test('a watcher that comes back after revision N misses nothing', withStore(async (store) => {
      const signal = new AbortController();
      const revision = await store.put('sandbox/a/x', 1, 0);
      const live = take(store.watch('sandbox/a/', 0, signal.signal), 2);
      const second = await store.put('sandbox/a/x', 2, revision);
      await store.put('sandbox/b/x', 0, 0);
      const seen = await live;
      assert.deepEqual(seen.map((change) => change.revision), [revision, second]);
      await store.delete('sandbox/a/x', second);
      const back = take(store.watch('sandbox/a/', second, signal.signal), 2);
      const last = await store.put('sandbox/a/x', 3, 0);
      const after = await back;
      assert.deepEqual(after.map((change) => 'deleted' in change), [true, false]);
      assert.equal(after[1]?.revision, last);
      signal.abort();
    }));

    test('a watcher ends when its signal aborts', withStore(async (store) => {
      const signal = new AbortController();
      const watching = take(store.watch('sandbox/', 0, signal.signal), 1);
      signal.abort();
      assert.deepEqual(await watching, []);
    }));
  });
}

contract('memory', () => ({ store: new MemoryStore(), clean: () => {} }));
contract('sqlite', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-store-'));
  return { store: new SqliteStore(join(dir, 'store.db')), clean: () => rmSync(dir, { recursive: true }) };
});

test('sqlite: what was acknowledged survives kill -9, and revisions go on', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-store-'));
  try {
    const file = join(dir, 'store.db');
    const program = `
      import { SqliteStore } from ${JSON.stringify(new URL('./sqlite-store.ts', import.meta.url).href)};
      const store = new SqliteStore(process.argv[1]);
      for (let i = 1; ; i++) { await store.put('sandbox/a/' + i, { i }, 0); process.stdout.write(i + '\\n'); }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
    let acknowledged = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      acknowledged = Math.max(acknowledged, ...chunk.toString().split('\n').slice(0, -1).map(Number));
      if (acknowledged >= 50) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const store = new SqliteStore(file);
    const kept = await store.list('sandbox/a/');
    assert.ok(acknowledged >= 50 && kept.length >= acknowledged, `${kept.length} kept of ${acknowledged}`);
    const revision = await store.put('sandbox/a/again', 1, 0);
    assert.ok(revision > Math.max(...kept.map((entry) => entry.revision)));
    await store.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

describe('sqlite: the file', () => {
  const inFolder = (body: (file: string) => Promise<void>) => async (): Promise<void> => {
    const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-store-'));
    try {
      await body(join(dir, 'store.db'));
    } finally {
      rmSync(dir, { recursive: true });
    }
  };

  test('is as it was after it was closed, and revisions go on after a removal', inFolder(async (file) => {
    const store = new SqliteStore(file);
    const revision = await store.put('name/x', { n: 1 }, 0);
    await store.put('name/y', 'y'.repeat(3_000_000), 0);
    await store.delete('name/x', revision);
    await store.close();
    const again = new SqliteStore(file);
    assert.deepEqual((await again.list('name/')).map(({ key }) => key), ['name/y']);
    assert.equal(await again.put('name/z', 1, 0), revision + 3);
    await again.close();
  }));

  test('each commit is synced before it resolves; after a sync that failed nothing is taken', inFolder(async (file) => {
    let synced = 0;
    let failing = false;
    const store = new SqliteStore(file, () => {
      if (failing) throw new Error('EIO');
      synced += 1;
    });
    await store.put('name/x', 1, 0);
    await store.put('name/y', 1, 0);
    assert.equal(synced, 2);
    failing = true;
    await assert.rejects(store.put('name/z', 1, 0), /could not be put on disk/);
    failing = false;
    await assert.rejects(store.put('name/w', 1, 0), /could not be put on disk/);
    assert.equal(await store.get('name/w'), undefined);
    await store.close();
  }));

  test('one that kept every value that was written keeps what was removed, and no such value', inFolder(async (file) => {
    const former = new DatabaseSync(file);
    former.exec("PRAGMA journal_mode = WAL; CREATE TABLE change (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT); INSERT INTO change VALUES (1, 'name/x', '\"told-in-confidence\"'), (2, 'name/x', NULL)");
    former.close();
    const store = new SqliteStore(file);
    const back = await take(store.watch('name/', 0, new AbortController().signal), 1);
    assert.deepEqual(back, [{ key: 'name/x', deleted: true, revision: 2 }]);
    assert.equal(await store.put('name/x', 1, 0), 3);
    await store.close();
    assert.ok(!readFileSync(file).includes('told-in-confidence'));
  }));

  test('what is replaced or removed is not in the file any more when the log was folded', inFolder(async (file) => {
    const store = new SqliteStore(file);
    const revision = await store.put('name/x', { body: `told-in-confidence ${'x'.repeat(19_000)}` }, 0);
    await store.put('name/y', `told-in-confidence ${'y'.repeat(300)}`, 0);
    await store.delete('name/y', revision + 1);
    await store.put('name/x', { body: '' }, revision);
    await store.close();
    assert.ok(!readFileSync(file).includes('told-in-confidence'));
  }));
});

test('no file of the gateway but the adapter speaks SQL', () => {
  const root = new URL('../', import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'));
  assert.ok(files.length > 3);
  const speaking = files.filter((file) => /node:sqlite|\b(SELECT .* FROM|INSERT INTO|CREATE TABLE)\b/.test(readFileSync(new URL(file, root), 'utf8')));
  assert.deepEqual(speaking, ['store/sqlite-store.ts']);
});
