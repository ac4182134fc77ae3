/** A commit writes no more to the folder than the layer takes, whatever the agent says of its files. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { LayerCommit, LayerDiff } from '@nemoclaw/contract';
import { TestInstance, testUids, type TestService } from './openshelld-test-instance.ts';
import { LayerWork, oneInstance, told } from './openshelld-test-layer.ts';

void describe('the bytes of a layer', process.getuid?.() === 0 ? {} : { skip: 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((made, its) => {
    instance = made;
    gateway = its;
  });
  const work = (): Promise<LayerWork> => LayerWork.over(instance, gateway, ['kept']);

  it('carries out no more than the layer takes: holes stay holes, and a file with many names is one file', async () => {
    const w = await work();
    try {
      await w.start();
      await w.sh('truncate -s 2G hole; printf end | dd of=hole bs=1 seek=1073741824 conv=notrunc 2>/dev/null; mkdir names; dd if=/dev/zero of=names/first bs=1M count=4 2>/dev/null; for n in 1 2 3 4 5 6 7 8 9; do ln names/first names/$n; done; echo second >>names/first');
      assert.equal((await w.layer<LayerDiff>('diff')).changes.length, 12);
      await w.stop();
      assert.deepEqual(await w.layer<LayerCommit>('commit'), { committed: 12, left: [], more: 0, checked: true });
      const hole = statSync(join(w.path, 'hole'));
      assert.deepEqual([hole.size, hole.blocks * 512 < 2 ** 20], [2 ** 31, true]);
      const fd = openSync(join(w.path, 'hole'), 'r');
      const there = Buffer.alloc(4);
      readSync(fd, there, 0, 4, 2 ** 30);
      closeSync(fd);
      assert.equal(there.toString('latin1'), 'end\0');
      for (const name of ['first', '1', '9']) {
        const one = statSync(join(w.path, 'names', name));
        assert.deepEqual([one.nlink, one.size, one.uid], [10, 4 * 2 ** 20 + 7, testUids.person], name);
      }
      // Looking at it again reads what is there, not what is said to be there.
      await w.start();
      await w.sh('touch hole; chmod 600 kept; echo x >>names/3');
      await w.stop();
      assert.deepEqual(told(await w.layer<LayerDiff>('diff')), ['changed file kept', 'changed file names/3']);
      await w.layer('commit');
      assert.deepEqual([statSync(join(w.path, 'names/3')).nlink, statSync(join(w.path, 'names/first')).nlink], [1, 9]);
    } finally {
      rmSync(w.path, { recursive: true });
    }
  });
});
