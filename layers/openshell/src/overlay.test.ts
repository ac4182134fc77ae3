/** Workspaces that are written to a layer of their own: nothing reaches the folder, the layer has a size. Real kernel. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { trial, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const ephemeral = 'isolation: { network: none, filesystem: ephemeral, syscalls: standard }';
const trials: Trial[] = [];
function sandbox(spec: string): Trial {
  const made = trial(spec);
  trials.push(made);
  mkdirSync(join(made.workspace, 'folder'));
  for (const file of ['kept', 'changed', 'folder/inner', '.envrc']) writeFileSync(join(made.workspace, file), `${file}, as it was\n`);
  symlinkSync('kept', join(made.workspace, 'link'));
  return made;
}

before(() => buildNative('openshell-launch'));
after(() => trials.forEach((t) => t.remove()));

test('ephemeral: everything can be changed, nothing reaches the folder', root, async () => {
  const t = sandbox(ephemeral);
  const before = statSync(join(t.workspace, 'changed'));
  const result = await t.sh('cat changed folder/inner link; echo more >>changed; rm -r folder; mkdir folder; echo new >folder/new; mv kept moved; rm link; ln -s /etc link; chmod 777 changed; echo x >.envrc; mkdir .vscode; git init -q . && git config core.pager x; cat changed moved folder/new; ls folder');
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, /changed, as it was\nfolder\/inner, as it was\nkept, as it was\nchanged, as it was\nmore\nkept, as it was\nnew\nnew\n$/);
  assert.deepEqual(readdirSync(t.workspace).sort(), ['.envrc', 'changed', 'folder', 'kept', 'link']);
  assert.equal(readFileSync(join(t.workspace, 'changed'), 'utf8'), 'changed, as it was\n');
  assert.equal(statSync(join(t.workspace, 'changed')).mtimeMs, before.mtimeMs);
  assert.deepEqual(result.released?.found, []);
});

test('maxDisk is the size of the layer: what is beyond it gets "no space left"', root, async () => {
  const t = sandbox(`${ephemeral}, resources: { maxDisk: 8Mi }`);
  const result = await t.sh('dd if=/dev/zero of=big bs=1M count=6 2>/dev/null && echo fits; dd if=/dev/zero of=bigger bs=1M count=6; rm big bigger; dd if=/dev/zero of=again bs=1M count=6 2>/dev/null && echo fits again');
  assert.equal(result.stdout, 'fits\nfits again\n');
  assert.match(result.stderr, /No space left on device/);
});

test('neither layer can be seen or reached beside the workspace', root, async () => {
  const t = sandbox(ephemeral);
  const result = await t.sh('ls -a / | grep -E "lower|layer"; ls -a /workspace/.lower /workspace/.layer /.lower /.layer; grep -c " /\\." /proc/self/mounts; umount /workspace 2>&1; mount -t overlay x /tmp 2>&1; true');
  assert.doesNotMatch(result.stdout, /^\.(lower|layer)/m);
  assert.match(result.stdout, /^0$/m);
});

test('denied and frozen parts hold in a layer too', root, async () => {
  const t = sandbox(`${ephemeral}, filesystem: { deny: [/workspace/kept], readOnly: [/workspace/folder/**] }`);
  const result = await t.sh('cat kept; echo x >kept; mv kept k; echo x >folder/inner; rm -r folder; mv folder f; echo fine >other; cat other');
  assert.equal(result.stdout, 'fine\n');
  assert.ok(!existsSync(join(t.workspace, 'other')));
});
