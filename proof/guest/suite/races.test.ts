/** Names, links, descriptors and arguments that change while the kernel of tier A asks about them: what a person was not asked about is never touched. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { programs } from './kept.ts';

const kinds = ['flip', 'swap', 'storm', 'redirect', 'rewrite', 'pass'];
const rounds = 3000;
const holder = new URL('../../../layers/openshell/native/build/test-lsm', import.meta.url).pathname;

test(`a hostile process wins 0 of ${rounds} by each of ${kinds.length} races`, { timeout: 900_000 }, async (t) => {
  const folder = mkdtempSync('/tmp/races-');
  try {
    for (const name of ['prod', 'prod/may', 'prod/keep']) mkdirSync(join(folder, name));
    const rule = (path: string, ask: readonly string[]) => ({ path, deny: [], ask, askSelf: [], named: false, protect: false, escalate: 0 });
    const names = { protectedNames: [], topNames: [], hooks: [], hooksBelow: [], unprotectedFolders: [] };
    writeFileSync(join(folder, 'rules.json'), JSON.stringify({ rules: [rule('/', []), rule(join(folder, 'prod'), ['delete', 'rename', 'write'])], elsewhere: { deny: [], ask: [] }, families: [1], ...names }));
    const script = `cd ${folder} && for kind in ${kinds.join(' ')}; do rm -f one two link next out; ${programs}/races $kind ${rounds} || exit 1; done`;
    const { stdout } = await promisify(execFile)(holder, ['races', '/sys/fs/cgroup/races', join(folder, 'rules.json'), 'by-name', '/bin/sh', '-c', script], { maxBuffer: 1 << 24 });
    for (const kind of kinds) {
      const line = stdout.split('\n').find((one) => one.startsWith(`${kind} `)) ?? stdout;
      t.diagnostic(line);
      const counts = new Map([...line.matchAll(/(\w+)=(\d+)/g)].map((found) => [found[1], Number(found[2])]));
      assert.deepEqual([counts.get('rounds'), counts.get('lost')], [rounds, 0], line);
      assert.ok((counts.get('done') ?? 0) > 0, `nothing was ever done: ${line}`);
      assert.ok((counts.get('refused') ?? 0) > 0, `the other object was never asked for: ${line}`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
