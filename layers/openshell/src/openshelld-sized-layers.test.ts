/** Kept layers with a size: the kernel keeps the bound, and no mount or loop device is left, whoever dies. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { LayerCommit, LayerDiff } from '@nemoclaw/contract';
import { TestInstance, testUids, type TestService } from './openshelld-test-instance.ts';
import { LayerWork, oneInstance, told } from './openshelld-test-layer.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };

void describe('kept layers with a size', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });

  const work = (): Promise<LayerWork> => LayerWork.over(instance, gateway, ['kept', 'changed', 'gone']);
  const sized = (size: string): string => `, resources: { maxDisk: ${size} }`;
  /** Loop devices whose file is of this instance. */
  const loops = (): string[] =>
    readdirSync('/sys/block').filter((name) => {
      try {
        return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').startsWith(instance.state);
      } catch {
        return false;
      }
    });
  /** The kernel frees a mount and its device when the last process that saw them is gone, a moment after the answer. */
  async function nothingAttached(): Promise<void> {
    for (const end = performance.now() + 60_000; loops().length > 0 && performance.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(loops(), []);
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(instance.state));
  }

  it('maxDisk is the size of a kept layer, which is looked at, carried out, copied, restored and kept like every other', async () => {
    const w = await work();
    try {
      await w.start(sized('16Mi'));
      assert.equal(await w.sh('dd if=/dev/zero of=big bs=1M count=10 2>/dev/null && echo fits; dd if=/dev/zero of=bigger bs=1M count=12 2>&1 | grep -o "No space left on device"; rm bigger; rm gone; echo more >>changed'), 'fits\nNo space left on device\n');
      assert.equal(loops().length, 1);
      const told_ = ['added file big', 'changed file changed', 'deleted file gone'];
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), told_);
      await w.layer('snapshot', 'first');
      await w.sh('rm big; echo later >later');
      assert.equal(loops().length, 1);
      await w.stop();
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file later', 'changed file changed', 'deleted file gone']);
      await w.start(sized('16Mi'));
      assert.equal(await w.sh('cat later'), 'later\n');
      await w.stop();
      await w.layer('restore', 'first');
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), told_);
      await w.start(sized('16Mi'));
      assert.equal(await w.sh('dd if=/dev/zero of=bigger bs=1M count=12 2>&1 | grep -o "No space left on device"; rm bigger; cat changed'), 'No space left on device\nchanged\nmore\n');
      await w.stop();
      const done = await w.layer<LayerCommit>('commit');
      assert.deepEqual([done.committed, done.left], [3, []]);
      assert.deepEqual(readdirSync(w.path).sort(), ['big', 'changed', 'kept']);
      for (const file of ['big', 'changed']) assert.equal(lstatSync(join(w.path, file)).uid, testUids.person, file);
      await w.start(sized('16Mi'));
      await w.sh('echo x >dropped');
      await w.stop();
      await w.layer('discard');
      await nothingAttached();
      assert.ok(!existsSync(join(instance.state, 'layers', w.id, 'layer.img')));
      await w.start(sized('16Mi'));
      assert.equal(await w.sh('ls dropped 2>/dev/null || echo no'), 'no\n');
      await w.stop();
      await w.layer('remove');
      await nothingAttached();
      assert.ok(!existsSync(join(instance.state, 'layers', w.id)));
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('a layer with a size lives through the death of openshelld, and of everything at once', async () => {
    const w = await work();
    try {
      await w.start(sized('16Mi'));
      await w.sh('echo before >before; sync');
      await instance.killDaemon();
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file before']);
      await w.layer('snapshot', 'meanwhile');
      assert.equal(loops().length, 1);
      await w.sh('echo after >after; sync');
      const gone = gateway.saw('sandbox.gone', (m) => m.sandbox === w.id, 60_000);
      const shim = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${w.init}/status`, 'utf8'))?.[1];
      assert.equal(readFileSync(`/proc/${shim}/comm`, 'utf8'), 'openshell-shim\n');
      process.kill(Number(shim), 'SIGKILL');
      await gone;
      await nothingAttached();
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file after', 'added file before']);
      await nothingAttached();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('a layer with a size can be enlarged, keeps it without maxDisk, and is never made smaller; one without cannot get one while something is in it', async () => {
    const w = await work();
    try {
      await w.start(sized('8Mi'));
      await w.sh('echo mine >mine');
      await w.stop();
      await w.start(sized('64Mi'));
      assert.equal(await w.sh('dd if=/dev/zero of=big bs=1M count=40 2>/dev/null && cat mine; dd if=/dev/zero of=bigger bs=1M count=30 2>&1 | grep -o "No space left on device"; rm bigger'), 'mine\nNo space left on device\n');
      await w.stop();
      await assert.rejects(w.start(sized('8Mi')), { code: 'host', message: /cannot have fewer \(resources\.maxDisk\)/ });
      await w.start();
      assert.equal(await w.sh('dd if=/dev/zero of=bigger bs=1M count=30 2>&1 | grep -o "No space left on device"; rm bigger'), 'No space left on device\n');
      await w.stop();
      await w.layer('discard');
      await w.start();
      await w.sh('echo free >free');
      await w.stop();
      await assert.rejects(w.start(sized('8Mi')), { code: 'host', message: /begun without a size/ });
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['added file free']);
      await w.layer('commit');
      await w.start(sized('8Mi'));
      await w.sh('cat free');
      await w.stop();
      await assert.rejects(w.layer('remove').then(async () => w.start(sized('1Mi'))), { code: 'host', message: /at least/ });
      await nothingAttached();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('what a machine leaves that stops at once is read again', async () => {
    const w = await work();
    const after = `${w.id}-after`;
    try {
      await w.start(sized('16Mi'));
      await w.sh('mkdir deep; echo kept >deep/file; rm gone; sync');
      // The file as it is at this moment, while the file system is mounted and its journal not closed.
      const [from, to] = [w.id, after].map((id) => join(instance.state, 'layers', id));
      assert.ok(from && to);
      mkdirSync(join(to, 'data'), { recursive: true, mode: 0o700 });
      for (const name of ['layer.img', 'about.json']) copyFileSync(join(from, name), join(to, name));
      assert.deepEqual(told((await gateway.call('layer', after, 'diff', '')) as LayerDiff), ['added file deep/file', 'added folder deep', 'deleted file gone']);
      await w.stop();
      await gateway.call('layer', after, 'remove', '');
      await nothingAttached();
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });

  it('a host without loop devices or mkfs gives the reason, and so does a file system that cannot be read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-image-'));
    const native = fileURLToPath(new URL('../native/', import.meta.url));
    const tool = join(native, 'build/test-layer-image');
    const made = spawnSync('make', ['-s', '-C', native, 'build/test-layer-image'], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    const open = (bytes: number, hide = ''): string => spawnSync('unshare', ['-m', 'sh', '-c', '[ -z "$3" ] || mount --bind /dev/null "$3"; exec "$1" "$2" "$4"', 'sh', tool, folder, hide, String(bytes)], { encoding: 'utf8' }).stdout;
    try {
      const mkfs = realpathSync('/sbin/mkfs.ext4');
      assert.match(open(8 << 20, mkfs), /^refused: a layer with a size \(resources\.maxDisk\) needs mkfs\.ext4/);
      assert.deepEqual(readdirSync(folder), []);
      assert.match(open(8 << 20, '/dev/loop-control'), /^refused: a layer with a size \(resources\.maxDisk\) needs a loop device, and this host gives none/);
      assert.match(open(8 << 20), /^mounted: \d{4} KiB free, flags 6\n$/);
      assert.equal(statSync(join(folder, 'layer.img')).size, 8 << 20);
      // An enlargement that ended with the machine: the file has its size, the file system not.
      writeFileSync(join(folder, 'layer.grows'), '');
      truncateSync(join(folder, 'layer.img'), 32 << 20);
      assert.match(open(32 << 20), /^mounted: [23]\d{4} KiB free, flags 6\n$/);
      assert.deepEqual(readdirSync(folder), ['layer.img']);
      writeFileSync(join(folder, 'layer.img'), Buffer.alloc(8 << 20));
      assert.match(open(8 << 20), /^refused: the layer's file system cannot be mounted/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
