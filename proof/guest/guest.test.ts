/** What is said when there is no guest, and that its first root is one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { archive } from './cpio.ts';
import { resultOf, suiteScript } from './suite.ts';

test('a guest that cannot be had is neither a pass nor silent, and a failure where one is required', () => {
  const cache = mkdtempSync(join(tmpdir(), 'nemoclaw-no-guest-'));
  try {
    const run = (more: Record<string, string>): { status: number | null; lines: string[] } => {
      // Without a PATH there is no apt, and the cache is empty.
      const done = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), 'proof/guest/suite/kernel.test.ts'], { env: { PATH: '/nonexistent', XDG_CACHE_HOME: cache, ...more }, encoding: 'utf8' });
      return { status: done.status, lines: done.stdout.trim().split('\n') };
    };
    const skipped = run({});
    assert.match(skipped.lines[0] ?? '', /^TIER A NOT TESTED: .+/);
    assert.deepEqual([skipped.lines.at(-1), skipped.status], ['0 passed, 0 failed', 0]);
    const required = run({ NEMOCLAW_REQUIRE_GUEST: '1' });
    assert.match(required.lines[0] ?? '', /^TIER A NOT TESTED: .+/);
    assert.deepEqual([required.lines.at(-1), required.status], ['0 passed, 1 failed', 1]);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
});

test('the archive is one that cpio reads', () => {
  const bytes = archive([{ name: 'modules', mode: 0o040755 }, { name: 'modules/a', mode: 0o100644, data: Buffer.from('content') }]);
  const listed = spawnSync('busybox', ['cpio', '-t'], { input: bytes, encoding: 'utf8' });
  if (listed.error === undefined) assert.deepEqual(listed.stdout.trim().split('\n'), ['modules', 'modules/a']);
  assert.equal(bytes.length % 4, 0);
  assert.ok(bytes.includes('TRAILER!!!'));
});

test('a failed test is not tried again; a Node that a signal ended is, and both are told', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-guest-script-'));
  try {
    // Stands for node: notes that it ran, ends as it is told.
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'node'), `#!/bin/sh\necho x >>${folder}/runs\n[ "$(wc -l <${folder}/runs)" -gt 1 ] && exit 0\nexit "$(cat ${folder}/code)"\n`, { mode: 0o755 });
    const script = suiteScript([{ files: ['a.test.ts'], only: ["it's one"], not: ['other'] }]).replaceAll('/run/', `${folder}/run/`).replace('cd /nemoclaw', `mkdir -p ${folder}/run`);
    const result = (code: number): { runs: number; said: string; status: number | null } => {
      rmSync(join(folder, 'runs'), { force: true });
      writeFileSync(join(folder, 'code'), String(code));
      const done = spawnSync('/bin/bash', ['-c', script], { env: { PATH: `${bin}:/usr/bin:/bin` }, encoding: 'utf8' });
      return { runs: readFileSync(join(folder, 'runs'), 'utf8').length / 2, said: done.stdout, status: done.status };
    };
    assert.deepEqual([result(0), result(1)].map(({ runs, status }) => [runs, status]), [[1, 0], [1, 1]]);
    const crashed = result(134);
    assert.deepEqual([crashed.runs, crashed.status], [2, 0]);
    assert.match(crashed.said, /^TRIED AGAIN: node was ended by signal 6$/m);
    assert.match(script, /--test-name-pattern='it.s one' --test-skip-pattern='other'/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('results come back as one line; a name that a shell would read is refused', () => {
  assert.deepEqual(resultOf('GUEST RESULT 4 1 2 3'), { passed: 4, failed: 3, skipped: 3 });
  assert.equal(resultOf('ok 1'), undefined);
  assert.throws(() => suiteScript([{ files: ['a; reboot'] }]), /not a path/);
});
