/** A yes in tier A is for the one call that was shown: another one of the same thread, on the same object, of the same kind, is held anew. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { programs } from './kept.ts';

/** The one call is done, the other refused. */
const twoCalls = ['append', 'read-too', 'same', 'empty', 'create', 'truncate', 'mode', 'owner', 'rename-how', 'rename-to', 'link', 'folder', 'pipe', 'remove', 'attribute', 'exec', 'connect', 'thread'];
/** The call itself is refused, as it has become another one. */
const changed = ['how', 'target', 'value', 'times'];
const rights = ['read', 'write', 'create', 'delete', 'rename', 'exec', 'connect'];
const holder = new URL('../../../layers/openshell/native/build/test-lsm', import.meta.url).pathname;

test('a yes for one call is none for another of the same kind on the same object', { timeout: 1_200_000 }, async (t) => {
  const folder = mkdtempSync('/tmp/once-');
  const listener = createServer();
  try {
    for (const kind of [...twoCalls, ...changed]) {
      mkdirSync(join(folder, 'asked', kind), { recursive: true });
      writeFileSync(join(folder, 'asked', kind, 'f'), 'content');
    }
    linkSync(join(folder, 'asked/remove/f'), join(folder, 'asked/remove/second'));
    copyFileSync(join(programs, 'again'), join(folder, 'asked/exec/program'));
    await once(listener.listen(join(folder, 'asked/connect/listening')), 'listening');
    const rule = (path: string, ask: readonly string[]) => ({ path, deny: [], ask, askSelf: [], named: false, protect: false, escalate: 0 });
    const names = { protectedNames: [], topNames: [], hooks: [], hooksBelow: [], unprotectedFolders: [] };
    writeFileSync(join(folder, 'rules.json'), JSON.stringify({ rules: [rule('/', []), rule(join(folder, 'asked'), rights)], elsewhere: { deny: [], ask: [] }, families: [1], ...names }));
    const script = `cd ${folder}/asked && exec ${programs}/again`;
    const { stdout } = await promisify(execFile)(holder, ['once', '/sys/fs/cgroup/once', join(folder, 'rules.json'), 'first', '/bin/sh', '-c', script], { maxBuffer: 1 << 24 });
    const ended = new Map([...stdout.matchAll(/^(\S+) (call|other)=(-?\d+)$/gm)].map(([, kind, which, code]) => [`${kind} ${which}`, Number(code)]));
    const of = (kind: string) => [ended.get(`${kind} call`), ended.get(`${kind} other`)];
    assert.deepEqual(new Map(twoCalls.map((kind) => [kind, of(kind)])), new Map(twoCalls.map((kind) => [kind, [0, 1]])), stdout);
    assert.deepEqual(new Map(changed.map((kind) => [kind, of(kind)])), new Map(changed.map((kind) => [kind, [1, -1]])), stdout);
    // Each of them was put to the person.
    assert.equal([...stdout.matchAll(/^asked /gm)].length, 2 * (twoCalls.length + changed.length), stdout);
    t.diagnostic(`${twoCalls.length + changed.length} kinds`);
  } finally {
    listener.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
