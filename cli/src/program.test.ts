/** The program as it is started: version without loading anything, exit codes, output on the right stream. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const bin = new URL('../bin/nemoclaw.js', import.meta.url).pathname;
const start = (...args: string[]) => spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8', env: { NEMOCLAW_ROOT: '/nonexistent/root' } });

test('--version prints the version and loads nothing but the entry', () => {
  const { version }: { version: string } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const { stdout, stderr, status } = start('--version');
  assert.deepEqual({ stdout, stderr, status }, { stdout: `nemoclaw ${version}\n`, stderr: '', status: 0 });
  // alone in a folder it has nothing else to load
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-version-'));
  try {
    mkdirSync(join(folder, 'bin'));
    copyFileSync(bin, join(folder, 'bin/nemoclaw.js'));
    writeFileSync(join(folder, 'package.json'), '{"version":"9.8.7","type":"module"}');
    const alone = spawnSync(process.execPath, [join(folder, 'bin/nemoclaw.js'), '--version'], { encoding: 'utf8', env: {} });
    assert.deepEqual([alone.stdout, alone.status], ['nemoclaw 9.8.7\n', 0]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('without a command it shows what there is', () => {
  const { stdout, status } = start();
  assert.equal(status, 0);
  assert.match(stdout, /nemoclaw onboard/);
});

test('exit codes: 2 for usage, 5 where nothing runs; errors on stderr', () => {
  assert.equal(start('list', '--nope').status, 2);
  const { status, stdout, stderr } = start('list');
  assert.equal(status, 5);
  assert.equal(stdout, '');
  assert.match(stderr, /NEMO_E_NO_DAEMON/);
});

test('an error that quotes a hostile policy moves no cursor and hides nothing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-hostile-'));
  try {
    writeFileSync(join(folder, 'sandbox.yaml'), 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: x }\nspec:\n  isolation: { network: none, filesystem: read-only, syscalls: minimal }\n  "is\u009b2J\u202eowned": 1\n');
    const { stderr, status } = start('policy', 'validate', join(folder, 'sandbox.yaml'));
    assert.notEqual(status, 0);
    assert.doesNotMatch(stderr, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    assert.match(stderr, /owned/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a reader that has seen enough ends it without a word', async () => {
  const child = spawn(process.execPath, [bin, '--help'], { stdio: ['ignore', 'pipe', 'pipe'], env: { NEMOCLAW_ROOT: '/nonexistent/root' } });
  child.stdout.destroy();
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.deepEqual([code, said], [141, '']);
});
