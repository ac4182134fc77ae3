/** resources.maxDisk of a workspace that is written directly, on the real kernel: whatever a writer does, it is stopped, and goes on when there is room. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';
import { oneInstance } from './openshelld-test-layer.ts';
import { buildTestProgram } from './openshelld-test-program.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const spec = (size: string): string => `isolation: { network: none, filesystem: workspace }, resources: { maxDisk: ${size} }`;
const mebi = 2 ** 20;
/** What none of them gets to: each writer ends by itself there, and then says so. */
const far = 'FAR = 1536 << 20';
/** Python's own mmap would keep a descriptor. */
const mapped = "import ctypes\nc = ctypes.CDLL(None)\ndef mapped(count):\n  for n in range(count):\n    f = open('f', 'w+b', 0)\n    os.unlink('f')\n    f.write(bytes(8 << 20))\n    assert c.mmap(None, ctypes.c_size_t(8 << 20), 1, 1, f.fileno(), ctypes.c_long(0)) != -1\n    f.close()\n";

describe('a size of the workspace itself', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  oneInstance((one, its) => {
    instance = one;
    gateway = its;
  });

  const programs = mkdtempSync(join(tmpdir(), 'nemoclaw-disk-'));
  before(() => buildTestProgram('unmapped', programs));
  after(() => rmSync(programs, { recursive: true }));

  const states = async (sandbox: string): Promise<string[]> => {
    const ledger = await instance.service('ledger');
    return ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === sandbox && m.event.data?.['limit'] === 'resources.maxDisk' ? [String(m.event.data['state'])] : []));
  };
  const until = async (what: () => boolean | Promise<boolean>, why: string): Promise<void> => {
    for (let tries = 0; tries < 2400 && !(await what()); tries++) await pause(25);
    assert.ok(await what(), why);
  };
  const onDisk = (path: string): number => Number(execFileSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' }).split('\t')[0]);
  /** `tree`: so many files with 40,000 names each are there before. */
  const made = async (name: string, size = '16Mi', tree = 0): Promise<{ path: string; init: number }> => {
    const folder = await instance.workspace(name);
    execFileSync('/usr/bin/python3', ['-c', `import os\nfor d in range(${tree}):\n  os.mkdir(f'd{d}')\n  os.mknod(f'd{d}/f')\n  for n in range(40000): os.link(f'd{d}/f', f'd{d}/{n}')`], { cwd: folder.path });
    copyFileSync(join(programs, 'unmapped'), join(folder.path, 'unmapped'));
    const { init } = (await gateway.call('create', name, instance.plan(spec(size)), folder.id, 'worker:1')) as { readonly init: number };
    return { path: folder.path, init };
  };
  /** By itself: one that is not stopped in the middle of a long call is killed. */
  const ended = (execId: string): boolean => gateway.news.some((m) => m.t === 'exec.exited' && m.execId === execId && m.signal === null);
  const python = (text: string) => ({ argv: ['/usr/bin/python3', '-c', `import os, mmap, socket\nos.chdir('/workspace')\n${far}\n${mapped}${text}\n`], env: ['PATH=/usr/bin'], cwd: '/workspace', tty: null });

  const writers: Readonly<Record<string, string>> = {
    'as fast as it can': "f = open('f', 'wb', 0)\nfor _ in range(FAR >> 20): f.write(bytes(1 << 20))",
    'through eight processes': "for n in range(8):\n  if os.fork() == 0:\n    f = open(f'f{n}', 'wb', 0)\n    for _ in range(FAR >> 23): f.write(bytes(1 << 20))\n    os._exit(0)\nfor n in range(8): os.wait()",
    'many small files': "for d in range(300):\n  os.mkdir(f'd{d}')\n  for n in range(1000): open(f'd{d}/{n}', 'wb').write(b'x')",
    'empty files': "for d in range(300):\n  os.mkdir(f'd{d}')\n  for n in range(1000): os.mknod(f'd{d}/{n}')",
    'into memory that is a file': "f = open('f', 'w+b')\nf.truncate(FAR)\nm = mmap.mmap(f.fileno(), FAR)\nfor at in range(0, FAR, 4096): m[at] = 1",
    'into files without a name': "kept = []\nfor n in range(FAR >> 22):\n  f = open('f', 'wb', 0)\n  os.unlink('f')\n  f.write(bytes(4 << 20))\n  kept.append(f) if n < 900 else None",
    'into files that wait in a socket': "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nfor n in range(FAR >> 24):\n  f = open('f', 'wb', 0)\n  os.unlink('f')\n  f.write(bytes(16 << 20))\n  socket.send_fds(a, [b'x'], [f.fileno()])\n  f.close()",
    'into files that are only mapped': "mapped(FAR >> 23)",
    'into files that are mapped by a process whose first thread has ended':
      "import threading, time\ndef rest():\n  while open(f'/proc/self/task/{os.getpid()}/stat').read().rsplit(')', 1)[1].split()[0] != 'Z': time.sleep(0.01)\n  mapped(FAR >> 23)\n  os._exit(0)\nthreading.Thread(target=rest).start()\nc.syscall(60, 0)",
    'into programs that have only been started':
      "import subprocess\nfor n in range(FAR >> 23):\n  f = open('p', 'wb', 0)\n  f.write(open('unmapped', 'rb').read() + bytes(8 << 20))\n  f.close()\n  os.chmod('p', 0o755)\n  one = subprocess.Popen(['./p'], stdout=subprocess.PIPE)\n  assert one.stdout.read(5) == b'away\\n'\n  one.stdout.close()\n  os.unlink('p')",
    'into folders without a name that somebody stands in':
      "import time\nos.mknod('seed')\nfor _ in range(40):\n  a, b = os.pipe()\n  os.mkdir('d')\n  if os.fork() == 0:\n    os.chdir('d')\n    for n in range(4000): os.link('../seed', f'{n:0>250}')\n    for n in range(4000): os.unlink(f'{n:0>250}')\n    os.rmdir('../d')\n    os.write(b, b'x')\n    time.sleep(10000)\n  os.read(a, 1)\n  os.close(a)\n  os.close(b)",
    'at once, where counting takes long': "f = open('f', 'wb', 0)\nfor _ in range(FAR >> 20): f.write(bytes(1 << 20))",
  };
  const names = Object.keys(writers);
  for (const [how, text] of Object.entries(writers)) {
    it(`stops who writes ${how}`, async () => {
      const name = `writer-${names.indexOf(how)}`;
      const folder = await made(name, / files$/.test(how) ? '4Mi' : '16Mi', / takes long$/.test(how) ? 4 : 0);
      await gateway.call('exec', name, `${name}-w`, python(text));
      await until(async () => (await states(name)).length > 0 || ended(`${name}-w`), 'neither stopped nor ended');
      assert.equal((await states(name))[0], 'full');
      let there = -1;
      await until(async () => {
        const before = there;
        there = onDisk(folder.path);
        await pause(100);
        return there === before;
      }, 'it goes on writing');
      assert.ok(!ended(`${name}-w`), 'it was stopped before it had written all');
      await assert.rejects(gateway.call('exec', name, 'more', { ...python(''), argv: ['/bin/true'] }), /quota|122/i);
      await gateway.call('destroy', name);
      rmSync(folder.path, { recursive: true });
    });
  }

  it('counts what takes no room as that: holes, and other names of a file', async () => {
    const folder = await made('little');
    const text = "f = open('f', 'wb')\nf.truncate(1 << 40)\nopen('g', 'wb').write(bytes(6 << 20))\nfor n in range(400): os.link('g', f'g{n}')\nprint('done')";
    assert.equal((await gateway.run('little', 'w', python(text).argv)).stdout, 'done\n');
    assert.deepEqual(await states('little'), []);
    await gateway.call('destroy', 'little');
    rmSync(folder.path, { recursive: true });
  });

  it('gives nobody space that was not written', async () => {
    const folder = await made('reserve');
    const text = "import fcntl, struct\nf = open('f', 'wb')\ntry: os.posix_fallocate(f.fileno(), 0, 1 << 20)\nexcept OSError as e: print('fallocate', e.errno)\nprint('written', os.stat('f').st_size)\nfor op in (0x40305828, 0x4030582a, 0x40305839, 0x4030580a, 0x40305824, 0x401c5820):\n  try: fcntl.ioctl(f, op, struct.pack('hhqqiI16x', 0, 0, 0, 1 << 30, 0, 0))\n  except OSError as e: print('ioctl', e.errno)";
    assert.equal((await gateway.run('reserve', 'w', python(text).argv)).stdout, `written 1048576\n${'ioctl 95\n'.repeat(6)}`);
    assert.match((await gateway.run('reserve', 'x', ['/usr/bin/fallocate', '-l', '10G', '/workspace/g'])).stderr, /not supported/);
    assert.ok(onDisk(folder.path) < 16 * mebi);
    await gateway.call('destroy', 'reserve');
    rmSync(folder.path, { recursive: true });
  });

  it('lets nobody hold a file by a rule about it, which nobody could see', async () => {
    const folder = await made('pinned');
    const text = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\nrights = ctypes.c_uint64(4)\nprint(c.syscall(444, ctypes.byref(rights), 8, 0), ctypes.get_errno())";
    assert.equal((await gateway.run('pinned', 'w', python(text).argv)).stdout, '-1 95\n');
    await gateway.call('destroy', 'pinned');
    rmSync(folder.path, { recursive: true });
  });

  it('goes on when the owner has made room, and a person who stops it meanwhile keeps it stopped', async () => {
    const folder = await made('room');
    await gateway.call('exec', 'room', 'room-w', python("for n in range(FAR >> 22): open(f'f{n}', 'wb').write(bytes(4 << 20))"));
    await until(async () => (await states('room')).includes('full'), 'it was not stopped');
    await gateway.call('freeze', 'room', true);
    for (const file of readdirSync(folder.path)) rmSync(join(folder.path, file));
    await until(async () => (await states('room')).includes('room'), 'the room was not seen');
    assert.ok(!ended('room-w'));
    await gateway.call('freeze', 'room', false);
    // What it has left to write is more than there is room for, or not: either way it went on.
    await until(async () => ended('room-w') || (await states('room')).length > 2, 'it did not go on');
    await gateway.call('destroy', 'room');
    rmSync(folder.path, { recursive: true });
  });

  it('is kept while openshelld is away, and said when it is back', async () => {
    const folder = await made('away');
    await gateway.call('exec', 'away', 'away-w', python("import time\nwhile not os.path.exists('go'): time.sleep(0.01)\nf = open('f', 'wb', 0)\nfor _ in range(FAR >> 20): f.write(bytes(1 << 20))"));
    process.kill(instance.daemonPid, 'SIGSTOP');
    writeFileSync(join(folder.path, 'go'), '');
    await until(() => stopped(folder.init), 'it was not stopped');
    await instance.killDaemon();
    await until(async () => (await states('away')).includes('full'), 'it is not on record');
    assert.ok(stopped(folder.init));
    await gateway.call('destroy', 'away');
    rmSync(folder.path, { recursive: true });
  });

  it('stops everything when nobody counts any more', async () => {
    const folder = await made('lost');
    await gateway.call('exec', 'lost', 'lost-w', python('import time\nwhile True: time.sleep(0.01)'));
    const meter = readdirSync('/proc').find((pid) => /^\d+$/.test(pid) && field(pid, 'Name') === 'openshell-meter' && field(pid, 'PPid') === field(String(folder.init), 'PPid'));
    assert.ok(meter !== undefined, 'its meter');
    process.kill(Number(meter), 'SIGKILL');
    await until(async () => (await states('lost')).includes('lost'), 'it is not on record');
    assert.ok(stopped(folder.init));
    await gateway.call('destroy', 'lost');
    rmSync(folder.path, { recursive: true });
  });
});

/** Of /proc/PID/status; '' where it has ended. */
function field(pid: string, name: string): string {
  try {
    return new RegExp(`^${name}:\\t(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  } catch {
    return '';
  }
}

/** Whether the group of a process is to be frozen, in either version. */
function stopped(pid: number): boolean {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' '));
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n').some((line) => {
    const [, controllers = '', path = ''] = line.split(':');
    const [, mount = ''] = mounts.find(([, , type, options = '']) => (controllers === '' ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes(controllers))) ?? [];
    const file = join(mount, path, controllers === '' ? 'cgroup.freeze' : 'freezer.state');
    return (controllers === '' || controllers === 'freezer') && existsSync(file) && /^(1|FREEZING|FROZEN)$/m.test(readFileSync(file, 'utf8'));
  });
}
