/** The shell script of a checkout, in a tree of its own with an npm that only pretends: where the command that it hands over to stands, and what stays when it is interrupted. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

const temporary = realpathSync(mkdtempSync(join(tmpdir(), 'nemoclaw-launcher-')));
after(() => rmSync(temporary, { recursive: true, force: true }));
const skip = process.getuid?.() === 0 ? false : 'needs root, to install';

/** The node that npm brings: of version 24, and what it installs says where it is called. */
const node = `#!/bin/sh
[ "$1" = --version ] && echo v24.0.0 && exit
mkdir -p "$3/bin" && printf '#!/bin/sh\\npwd\\n' >"$3/bin/nemoclaw" && chmod +x "$3/bin/nemoclaw"
`;

function tree(name: string, npm: string) {
  const [here, bin, tmp] = [join(temporary, name, 'checkout'), join(temporary, name, 'bin'), join(temporary, name, 'tmp')];
  for (const folder of [here, bin, tmp]) mkdirSync(folder, { recursive: true });
  copyFileSync(new URL('../../../nemoclaw', import.meta.url), join(here, 'nemoclaw'));
  writeFileSync(join(here, 'package-lock.json'), '{}');
  writeFileSync(join(temporary, name, 'node'), node, { mode: 0o755 });
  writeFileSync(join(bin, 'npm'), `#!/bin/sh\n${npm}\n`, { mode: 0o755 });
  return { script: join(here, 'nemoclaw'), bin, tmp, env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}`, TMPDIR: tmp, NEMOCLAW_ROOT: join(temporary, name) } };
}

test('a command begins where its caller stands, also when everything had to be fetched first', { skip }, () => {
  const { script, env, tmp } = tree('cold', 'mkdir -p node_modules/.bin && cp ../node node_modules/.bin/node');
  const { stdout, stderr, status } = spawnSync(script, ['status'], { cwd: temporary, env, encoding: 'utf8' });
  assert.deepEqual([stdout, status], [`${temporary}\n`, 0], stderr);
  assert.deepEqual(readdirSync(tmp), []);
});

test('what is interrupted leaves no log behind', { skip }, async () => {
  const { script, env, tmp } = tree('interrupted', 'exec sleep 30');
  const child = spawn(script, ['status'], { cwd: temporary, env, stdio: 'ignore', detached: true });
  while (readdirSync(tmp).length === 0) await setTimeout(20);
  // as Control-C does: to all of them
  process.kill(-(child.pid ?? 0), 'SIGINT');
  const [code] = await once(child, 'close') as [number | null];
  assert.equal(code, 130);
  assert.deepEqual(readdirSync(tmp), []);
});

test('another processor is refused before anything is fetched', { skip }, () => {
  const { script, env, bin, tmp } = tree('arm', 'touch fetched');
  writeFileSync(join(bin, 'uname'), '#!/bin/sh\necho aarch64\n', { mode: 0o755 });
  const { stderr, status } = spawnSync(script, ['onboard'], { env, encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^error: .*x86-64.*aarch64\n {2}fix: /);
  assert.deepEqual([readdirSync(join(script, '..')), readdirSync(tmp)], [['nemoclaw', 'package-lock.json'], []]);
});
