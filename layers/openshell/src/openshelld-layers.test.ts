/** Overlay workspaces whose layer is kept: looked at, carried out in the folder, discarded, copied and copied back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lchownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { LayerCommit, LayerDiff, LayerSnapshots } from '@nemoclaw/contract';
import { TestInstance, testUids, type TestService } from './openshelld-test-instance.ts';
import { LayerWork, oneInstance, told } from './openshelld-test-layer.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };

void describe('layers that are kept', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });

  const work = (): Promise<LayerWork> => LayerWork.over(instance, gateway, ['kept', 'changed', 'gone', 'folder/a', 'folder/deep/b', 'link']);

  it('diff says what was added, changed and deleted; the folder stays as it is; commit carries it out as the owner', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('echo more >>changed; rm gone; rm -r folder; mkdir folder; echo n >folder/new; mkdir -p x/y; echo z >x/y/z; chmod 755 x/y/z; rm link; ln -s /etc/passwd link; touch kept; mkfifo pipe');
      const diff = await w.layer<LayerDiff>('diff');
      assert.deepEqual(told(diff), ['added file folder/new', 'added file x/y/z', 'added folder folder', 'added folder x', 'added folder x/y', 'added other pipe', 'changed file changed', 'changed link link', 'deleted file gone', 'deleted folder folder'].sort());
      assert.deepEqual(readdirSync(w.path).sort(), ['changed', 'folder', 'gone', 'kept', 'link']);
      await assert.rejects(w.layer('commit'), { code: 'running' });
      await w.stop();
      const done = await w.layer<LayerCommit>('commit');
      assert.deepEqual(done.left, [{ path: 'pipe', why: 'refused' }]);
      assert.deepEqual(readdirSync(w.path).sort(), ['changed', 'folder', 'kept', 'link', 'x']);
      assert.equal(readFileSync(join(w.path, 'changed'), 'utf8'), 'changed\nmore\n');
      assert.deepEqual(readdirSync(join(w.path, 'folder')), ['new']);
      assert.equal(readlinkSync(join(w.path, 'link')), '/etc/passwd');
      assert.equal(statSync(join(w.path, 'x/y/z')).mode & 0o777, 0o755);
      for (const file of ['changed', 'folder/new', 'x', 'x/y/z']) assert.equal(lstatSync(join(w.path, file)).uid, testUids.person, file);
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added other pipe']);
      await w.start();
      assert.equal(await w.sh('cat changed x/y/z; ls folder'), 'changed\nmore\nz\nnew\n');
      await w.stop();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('a layer lives on from stop to start, under whatever uid; discard drops it', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('echo mine >mine; rm gone');
      await w.stop();
      await w.start();
      assert.equal(await w.sh('cat mine; echo again >>mine; ls gone 2>/dev/null || echo gone'), 'mine\ngone\n');
      await w.stop();
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file mine', 'deleted file gone']);
      await w.layer('discard');
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), []);
      await w.start();
      assert.equal(await w.sh('ls mine 2>/dev/null || echo no; cat gone'), 'no\ngone\n');
      await w.stop();
      await w.layer('remove');
      await assert.rejects(w.layer('diff'), { code: 'no-layer' });
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('what the owner changed meanwhile is a conflict, never overwritten', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('echo agent >changed; rm gone; rm -r folder; echo agent >new; echo agent >kept');
      await w.stop();
      writeFileSync(join(w.path, 'changed'), 'owner\n');
      writeFileSync(join(w.path, 'gone'), 'owner\n');
      writeFileSync(join(w.path, 'folder/deep/b'), 'owner\n');
      writeFileSync(join(w.path, 'new'), 'owner\n');
      const done = await w.layer<LayerCommit>('commit');
      assert.deepEqual(done.left.map((one) => `${one.why} ${one.path}`).sort(), ['conflict changed', 'conflict folder', 'conflict gone', 'conflict new']);
      for (const file of ['changed', 'gone', 'folder/deep/b', 'new']) assert.equal(readFileSync(join(w.path, file), 'utf8'), 'owner\n');
      assert.equal(readFileSync(join(w.path, 'kept'), 'utf8'), 'agent\n');
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('protected names stay in the layer', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('echo x >.envrc; mkdir -p .vscode; echo x >.vscode/tasks.json; git init -q repo; echo x >repo/.git/hooks/pre-commit; git -C repo config core.fsmonitor x; echo fine >repo/file');
      await w.stop();
      const done = await w.layer<LayerCommit>('commit');
      assert.deepEqual(done.left.map((one) => `${one.why} ${one.path}`).sort(), ['protected .envrc', 'protected .vscode', 'protected .vscode/tasks.json', 'protected repo/.git/config', 'protected repo/.git/hooks/pre-commit']);
      assert.ok(existsSync(join(w.path, 'repo/.git/HEAD')) && existsSync(join(w.path, 'repo/file')));
      assert.ok(!existsSync(join(w.path, '.envrc')) && !existsSync(join(w.path, 'repo/.git/hooks/pre-commit')));
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('a link in the folder never leads a commit out of it', async () => {
    const w = await work();
    const elsewhere = mkdtempSync(join(tmpdir(), 'nemoclaw-elsewhere-'));
    try {
      lchownSync(elsewhere, testUids.person, testUids.person);
      await w.start();
      await w.sh('echo agent >folder/deep/new; echo agent >folder/a');
      await w.stop();
      rmSync(join(w.path, 'folder'), { recursive: true });
      symlinkSync(elsewhere, join(w.path, 'folder'));
      mkdirSync(join(elsewhere, 'deep'));
      lchownSync(join(elsewhere, 'deep'), testUids.person, testUids.person);
      const done = await w.layer<LayerCommit>('commit');
      assert.ok(done.left.length > 0);
      assert.deepEqual(readdirSync(elsewhere, { recursive: true }), ['deep']);
    } finally {
      rmSync(w.path, { recursive: true });
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('a snapshot of what runs never leads out of the layer, however the agent swaps folders for links', async () => {
    const w = await work();
    const closed = mkdtempSync(join(tmpdir(), 'nemoclaw-closed-'));
    mkdirSync(join(closed, 'folder'));
    writeFileSync(join(closed, 'folder/canary'), 'of the host');
    try {
      chmodSync(closed, 0o711); // the name can be guessed, and root can read it
      await w.start();
      const swap = `import ctypes, os, time
os.chdir('/workspace')
for n in ('d', 'l', 'ready'): os.path.exists(n) or os.mkdir(n)
for i in range(300): os.mkdir('d/%d' % i), os.symlink('${closed}/folder', 'l/%d' % i)
c = ctypes.CDLL(None)
pairs = [(b'd/%d' % i, b'l/%d' % i) for i in range(300)]
os.rmdir('ready')
end = time.time() + 60
while time.time() < end and not os.path.exists('over'):
    for a, b in pairs: c.renameat2(-100, a, -100, b, 2)
`;
      await w.sh('mkdir ready');
      const storm = gateway.run(w.id, `${w.id}-storm`, ['/usr/bin/python3', '-c', swap]);
      await w.sh('while [ -e ready ]; do sleep 0.05; done');
      let taken = 0;
      for (let n = 0; n < 3; n += 1) await w.layer('snapshot', `s${n}`).then(() => (taken += 1), () => undefined);
      await w.sh('touch over');
      await storm;
      await w.stop();
      const all = join(instance.state, 'layers', w.id, 'snapshots');
      assert.equal(spawnSync('find', ['-P', all, '-name', 'canary'], { encoding: 'utf8' }).stdout, '', `${taken} of 3 were taken`);
    } finally {
      rmSync(w.path, { recursive: true });
      rmSync(closed, { recursive: true });
    }
  });

  it('a sandbox does not start while its layer is being carried out', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('mkdir many; for i in $(seq 1000); do echo x >many/$i; done');
      await w.stop();
      const plan = w.plan();
      const commit = w.layer<LayerCommit>('commit');
      // Sent in the same moment: a plan takes longer to make than a small layer to be carried out.
      await assert.rejects(w.launch(plan), /busy/);
      assert.equal((await commit).committed, 1001);
      await w.start();
      await w.stop();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('snapshots are taken while it runs, listed, and restored', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('echo one >state; rm gone; rm -r folder');
      await w.layer('snapshot', 'first');
      await w.sh('echo two >state; mkdir folder; echo x >changed');
      await assert.rejects(w.layer('snapshot', 'first'), { code: 'exists' });
      await assert.rejects(w.layer('snapshot', '../evil'), { code: 'protocol' });
      await assert.rejects(w.layer('restore', 'first'), { code: 'running' });
      await w.stop();
      assert.deepEqual((await w.layer<LayerSnapshots>('snapshots')).snapshots.map((one) => one.name), ['first']);
      await assert.rejects(w.layer('restore', 'second'), { code: 'no-snapshot' });
      await w.layer('restore', 'first');
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file state', 'deleted file gone', 'deleted folder folder']);
      await w.start();
      assert.equal(await w.sh('cat state changed; ls folder 2>/dev/null || echo none'), 'one\nchanged\nnone\n');
      await w.stop();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });
});
