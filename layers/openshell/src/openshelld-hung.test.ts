/** A file system of the host that does not answer, named by an agent: the record may ask it nothing, and everybody else goes on. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { TestInstance } from './openshelld-test-instance.ts';

const skip = process.getuid?.() === 0 && existsSync('/dev/fuse') ? false : 'needs root and /dev/fuse';
/** Mounts a file system whose program never answers; "ready" when it is there. */
const silent = `
import ctypes, os, sys, time
fd = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'silent', sys.argv[1].encode(), b'fuse', 6, f'fd={fd},rootmode=40000,user_id=0,group_id=0'.encode()) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
print('ready', flush=True)
time.sleep(300)
`;

it('a name below a file system that never answers stalls nobody, and is on record', { skip, timeout: 120_000 }, async () => {
  const hung = mkdtempSync('/mnt/nemoclaw-hung-');
  const helper = spawn('/usr/bin/python3', ['-c', silent, hung], { stdio: ['ignore', 'pipe', 'inherit'] });
  const instance = await TestInstance.start();
  try {
    helper.stdout.setEncoding('utf8');
    assert.match(String((await once(helper.stdout, 'data'))[0]), /ready/);
    const gateway = await instance.service('gateway');
    const ledger = await instance.service('ledger');
    const workspace = await instance.workspace('project');
    await gateway.call('create', 's', instance.plan('isolation: { network: restricted, filesystem: workspace, syscalls: standard }'), workspace.id, 'worker:1');
    const path = join(hung, 'file');
    const seen = (): boolean => ledger.news.some((m) => m.t === 'event' && m.event.sandbox === 's' && m.event.layer === 'view' && m.event.data?.['path'] === path);
    assert.match((await gateway.run('s', 'cat', ['/bin/cat', path])).stderr, /No such file/);
    for (const end = Date.now() + 60_000; !seen() && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(seen());
    assert.equal((await gateway.run('s', 'echo', ['/bin/echo', 'others go on'])).stdout, 'others go on\n');
  } finally {
    helper.kill('SIGKILL');
    spawnSync('umount', ['-l', hung]);
    await instance.stop();
    rmdirSync(hung);
  }
});
