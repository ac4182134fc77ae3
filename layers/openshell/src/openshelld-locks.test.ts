/** Held writes, creations and readings: asked for every way in, done by openshelld on approval as the agent, on what was shown, and on nothing else. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SyscallHold } from '@nemoclaw/contract';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/prod/keys/**], escalate: [{ path: /workspace/prod/**, on: [write, create] }, { path: /workspace/secret/**, on: [read] }, { path: /workspace/one, on: [write, delete] }, { path: /tmp/late/**, on: [create] }] }';
const python = (code: string): string[] => ['/usr/bin/python3', '-c', `import os, errno, sys\ndef e(f):\n    try:\n        r = f(); return 'ok' if r is None or not isinstance(r, str) else r\n    except OSError as x:\n        return errno.errorcode[x.errno]\ndef put(p, t='x', m='w'):\n    with open(p, m) as f: f.write(t)\ndef get(p):\n    with open(p) as f: return f.read()\nos.chdir('/workspace')\n${code}`];

describe('held writes, creations and readings', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let next = 0;
  const run = async (code: string): Promise<string> => {
    const out = await gateway.run('k', `x${(next += 1)}`, python(code));
    assert.equal(out.stderr, '');
    return out.stdout.trim();
  };
  const held = (code: string, path: string): ReturnType<typeof gateway.held<string>> =>
    gateway.held(() => gateway.run('k', `x${(next += 1)}`, python(`print(e(lambda: ${code}))`)).then((o) => (o.signal ?? '') + o.stdout.trim() + o.stderr), (hold) => hold.path === path);
  const answer = (hold: SyscallHold, verdict: 'allow' | 'deny'): Promise<unknown> => gateway.call('answerHold', 'k', hold.holdId, verdict);
  const performed = { outcome: 'performed', errno: 0 };

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 30 });
    gateway = await instance.service('gateway');
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    for (const name of ['prod', 'prod/deep', 'prod/keys', 'ok', 'secret', 'secret/deep']) mkdirSync(join(folder, name));
    for (const name of ['prod/a', 'prod/b', 'prod/deep/d', 'prod/keys/k', 'ok/a', 'secret/s', 'secret/deep/t', 'one']) writeFileSync(join(folder, name), name);
    symlinkSync('../prod/a', join(folder, 'ok/link'));
    await gateway.call('create', 'k', instance.plan(spec), workspace.id, 'worker:1');
  });
  after(async () => {
    await instance?.stop();
  });

  it('asks for every way to change what is there; denied is EPERM, and nothing has changed', async () => {
    const before = statSync(join(folder, 'prod/a'));
    const cases: [string, string, SyscallHold['op']][] = [
      [`put('prod/a')`, '/workspace/prod/a', 'write'],
      [`put('prod/a', m='a')`, '/workspace/prod/a', 'write'],
      [`put('prod/a', m='r+')`, '/workspace/prod/a', 'write'],
      [`put('ok/link')`, '/workspace/prod/a', 'write'],
      [`put('/workspace/ok/../prod/deep/../a')`, '/workspace/prod/a', 'write'],
      [`os.open('a', os.O_RDWR, dir_fd=os.open('prod', os.O_RDONLY))`, '/workspace/prod/a', 'write'],
      [`os.open('prod/a', os.O_RDONLY|os.O_TRUNC)`, '/workspace/prod/a', 'write'],
      [`os.truncate('prod/a', 1)`, '/workspace/prod/a', 'write'],
      [`os.chmod('prod/a', 0o600)`, '/workspace/prod/a', 'write'],
      [`os.fchmod(os.open('prod/a', os.O_RDONLY), 0o600)`, '/workspace/prod/a', 'write'],
      [`os.chmod('prod', 0o700)`, '/workspace/prod', 'write'],
      [`(os.chdir('prod'), os.chmod('.', 0o700))`, '/workspace/prod', 'write'],
      [`os.chown('ok/link', -1, os.getgid())`, '/workspace/prod/a', 'write'],
      [`os.utime('prod/a')`, '/workspace/prod/a', 'write'],
      [`os.utime(os.open('prod/a', os.O_RDONLY), (1, 2))`, '/workspace/prod/a', 'write'],
      [`os.setxattr('prod/a', 'user.x', b'1')`, '/workspace/prod/a', 'write'],
      [`put('one')`, '/workspace/one', 'write'],
    ];
    for (const [code, path, op] of cases) {
      const { hold, out } = await held(code, path);
      assert.equal(hold.op, op, code);
      assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 }, code);
      assert.equal(await out, 'EPERM', code);
    }
    const after = statSync(join(folder, 'prod/a'));
    assert.deepEqual([after.mode, after.mtimeMs, after.size, after.ino], [before.mode, before.mtimeMs, before.size, before.ino]);
  });

  it('asks for every way to make something there', async () => {
    const cases: [string, string][] = [
      [`put('prod/new')`, '/workspace/prod/new'],
      [`os.open('prod/new', os.O_CREAT|os.O_EXCL|os.O_WRONLY)`, '/workspace/prod/new'],
      [`os.mkdir('prod/deep/new')`, '/workspace/prod/deep/new'],
      [`os.mkfifo('prod/new')`, '/workspace/prod/new'],
      [`os.mknod('prod/new')`, '/workspace/prod/new'],
      [`os.symlink('/etc', 'prod/new')`, '/workspace/prod/new'],
      [`os.link('prod/a', 'prod/new')`, '/workspace/prod/a'],
      [`(os.symlink('../prod/through', 'ok/dangling'), put('ok/dangling'))`, '/workspace/prod/through'],
      [`os.mkdir('/tmp/late/x')`, '/tmp/late/x'],
    ];
    for (const [code, path] of cases) {
      const { hold, out } = await held(code, path);
      assert.equal(hold.op, 'create', code);
      assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 }, code);
      assert.equal(await out, 'EPERM', code);
    }
    assert.deepEqual(readdirSync(join(folder, 'prod')).sort(), ['a', 'b', 'deep', 'keys']);
    assert.deepEqual(readdirSync(join(folder, 'prod/deep')), ['d']);
  });

  it('performs what was approved, as the agent, with its umask and flags', async () => {
    const write = await held(`put('prod/a', 'written')`, '/workspace/prod/a');
    assert.deepEqual(await answer(write.hold, 'allow'), performed);
    assert.equal(await write.out, 'ok');
    assert.equal(readFileSync(join(folder, 'prod/a'), 'utf8'), 'written');
    const append = await held(`put('prod/a', ' more', 'a')`, '/workspace/prod/a');
    assert.deepEqual(await answer(append.hold, 'allow'), performed);
    assert.equal(await append.out, 'ok');
    assert.equal(readFileSync(join(folder, 'prod/a'), 'utf8'), 'written more');
    const made = await held(`(os.umask(0o027), put('prod/made', 'm'), str(oct(os.stat('prod/made').st_mode)) + str(os.stat('prod/made').st_uid == os.getuid()))[2]`, '/workspace/prod/made');
    assert.equal(made.hold.ino, statSync(join(folder, 'prod')).ino);
    assert.deepEqual(await answer(made.hold, 'allow'), performed);
    assert.equal(await made.out, '0o100640True');
    assert.equal(statSync(join(folder, 'prod/made')).uid, statSync(join(folder, 'prod')).uid);
    const cloexec = await held(`str(__import__('fcntl').fcntl(os.open('prod/a', os.O_WRONLY|os.O_APPEND|os.O_CLOEXEC), 1)) + str(__import__('fcntl').fcntl(3, 3) & 0o6003)`, '/workspace/prod/a');
    assert.deepEqual(await answer(cloexec.hold, 'allow'), performed);
    assert.match(await cloexec.out, /^1\d+$/);
    for (const [code, path, check] of [
      [`os.mkdir('prod/folder', 0o750)`, '/workspace/prod/folder', () => assert.equal(statSync(join(folder, 'prod/folder')).mode & 0o7777, 0o750)],
      [`os.symlink('a', 'prod/sym')`, '/workspace/prod/sym', () => assert.equal(readFileSync(join(folder, 'prod/sym'), 'utf8'), 'written more')],
      [`os.link('prod/a', 'prod/hard')`, '/workspace/prod/a', () => assert.equal(statSync(join(folder, 'prod/hard')).ino, statSync(join(folder, 'prod/a')).ino)],
      [`os.mkfifo('prod/pipe')`, '/workspace/prod/pipe', () => assert.ok(statSync(join(folder, 'prod/pipe')).isFIFO())],
      [`os.truncate('prod/a', 3)`, '/workspace/prod/a', () => assert.equal(readFileSync(join(folder, 'prod/a'), 'utf8'), 'wri')],
      [`os.chmod('prod/a', 0o600)`, '/workspace/prod/a', () => assert.equal(statSync(join(folder, 'prod/a')).mode & 0o7777, 0o600)],
      [`os.utime('prod/a', (1, 2))`, '/workspace/prod/a', () => assert.equal(statSync(join(folder, 'prod/a')).mtimeMs, 2000)],
      [`(os.setxattr('prod/a', 'user.x', b'value'), os.getxattr('prod/a', 'user.x').decode())[1]`, '/workspace/prod/a', () => undefined],
      [`put('one', 'changed')`, '/workspace/one', () => assert.equal(readFileSync(join(folder, 'one'), 'utf8'), 'changed')],
    ] as const) {
      const { hold, out } = await held(code, path);
      assert.deepEqual(await answer(hold, 'allow'), performed, code);
      assert.match(await out, /^(ok|value)$/, code);
      check();
    }
  });

  it('does at once what no rule names: deleting and moving inside, reading; and leaves the kernel its own errors', async () => {
    const out = await run(`
print(get('prod/b'), sorted(os.listdir('prod/deep')), e(lambda: os.unlink('prod/made')), e(lambda: os.rename('prod/b', 'prod/c')), e(lambda: os.rename('prod/c', 'prod/b')), e(lambda: os.rmdir('prod/folder')))
print(e(lambda: put('ok/x', 'y')), e(lambda: os.mkdir('ok/dir')), e(lambda: os.chmod('ok/x', 0o600)), e(lambda: os.truncate('ok/x', 0)), e(lambda: os.link('ok/x', 'ok/y')), e(lambda: os.symlink('x', 'ok/z')))
print(e(lambda: put('ok/none/x')), e(lambda: put('ok')), e(lambda: os.mkdir('ok')), e(lambda: os.mkdir('prod/a')), e(lambda: put('prod/deep')), e(lambda: os.open('prod/none', os.O_WRONLY)), e(lambda: put('/etc/passwd')), e(lambda: os.open('prod/sym', os.O_WRONLY|os.O_NOFOLLOW)))
print(e(lambda: os.link('prod/a', 'ok/alias')), e(lambda: os.rename('prod', 'ok/moved')), e(lambda: os.rename('ok/x', 'prod/keys/x')), e(lambda: put('prod/keys/k')), e(lambda: os.rmdir('prod')), e(lambda: os.open('prod', os.O_TMPFILE|os.O_RDWR)), e(lambda: put('/dev/null')), e(lambda: put('/proc/self/comm')))`);
    assert.equal(out, ["prod/b ['d'] ok ok ok ok", 'ok ok ok ok ok ok', 'ENOENT EISDIR EEXIST EEXIST EISDIR ENOENT EROFS ELOOP', 'EXDEV EBUSY EACCES EACCES EBUSY ENOTSUP ok EROFS'].join('\n'));
  });

  it('a descriptor that was given reaches its own file and no other', async () => {
    const { hold, out } = await held(`(lambda fd: '%s %s %s' % (e(lambda: os.open('/proc/self/fd/%d' % fd, os.O_RDWR)), e(lambda: os.link('/proc/self/fd/%d' % fd, 'ok/alias', follow_symlinks=True)), e(lambda: os.open('b', os.O_WRONLY, dir_fd=os.open('prod', os.O_RDONLY|os.O_DIRECTORY)))))(os.open('prod/a', os.O_WRONLY))`, '/workspace/prod/a');
    const asked = gateway.newHold((one) => one.path === '/workspace/prod/b');
    await answer(hold, 'allow');
    await answer(await asked, 'deny');
    assert.match(await out, /^(EACCES|EPERM|EROFS) (EXDEV|EACCES|EPERM) EPERM$/);
    assert.ok(!existsSync(join(folder, 'ok/alias')));
  });

  it('hides what is only read on approval, and gives it read-only', async () => {
    assert.equal(await run(`print(e(lambda: os.listdir('secret/deep')) if False else e(lambda: os.stat('secret/s')))`), 'EACCES');
    for (const code of [`get('secret/s')`, `get('ok/../secret/s')`, `get('/workspace/secret/s')`, `os.read(os.open('s', os.O_RDONLY, dir_fd=os.open('secret', os.O_PATH)), 9).decode()`]) {
      const no = await held(code, '/workspace/secret/s');
      assert.equal(no.hold.op, 'read');
      await answer(no.hold, 'deny');
      assert.equal(await no.out, 'EPERM', code);
      const yes = await held(code, '/workspace/secret/s');
      assert.deepEqual(await answer(yes.hold, 'allow'), performed);
      assert.equal(await yes.out, 'secret/s', code);
    }
    const list = await held(`','.join(sorted(os.listdir('secret')))`, '/workspace/secret');
    await answer(list.hold, 'allow');
    assert.equal(await list.out, 'deep,s');
    const tricks = await held(`(lambda fd: '%s %s' % (e(lambda: os.fchmod(fd, 0o777)), e(lambda: os.open('/proc/self/fd/%d' % fd, os.O_WRONLY))))(os.open('secret/s', os.O_RDONLY))`, '/workspace/secret/s');
    await answer(tricks.hold, 'allow');
    assert.match(await tricks.out, /^(EROFS|EPERM|EACCES) (EROFS|EACCES|EPERM)$/);
    assert.equal(await run(`print(e(lambda: put('secret/new', 'n')), e(lambda: os.unlink('secret/new')), e(lambda: os.rename('secret', 'ok/s')), e(lambda: os.link('secret/s', 'ok/s')))`), 'ok ok EBUSY EACCES');
    assert.ok(!existsSync(join(folder, 'secret/new')));
  });

  it('refuses an approved call whose object was changed meanwhile', async () => {
    const { hold, out } = await held(`put('prod/b', 'bad')`, '/workspace/prod/b');
    renameSync(join(folder, 'prod/b'), join(folder, 'prod/kept'));
    writeFileSync(join(folder, 'prod/b'), 'another');
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'changed', errno: 1 });
    assert.equal(await out, 'EPERM');
    assert.equal(readFileSync(join(folder, 'prod/b'), 'utf8'), 'another');
    rmSync(join(folder, 'prod/b'));
    renameSync(join(folder, 'prod/kept'), join(folder, 'prod/b'));
    chmodSync(join(folder, 'prod/b'), 0o644);
  });

  it('keeps a held write, creation and link through kill -9 of openshelld', async () => {
    for (const [code, path, file] of [[`put('prod/b', 'after')`, '/workspace/prod/b', 'prod/b'], [`put('prod/fresh', 'after')`, '/workspace/prod/fresh', 'prod/fresh'], [`(os.link('prod/b', 'prod/two'), get('prod/two'))[1]`, '/workspace/prod/b', 'prod/two']] as const) {
      const { hold, out } = await held(code, path);
      await instance.killDaemon();
      const inventory = await gateway.saw('inventory', (m) => m.holds.some((h) => h.holdId === hold.holdId));
      assert.deepEqual(inventory.holds.find((h) => h.holdId === hold.holdId), hold);
      assert.deepEqual(await answer(hold, 'allow'), performed, code);
      assert.match(await out, /^(ok|after)$/);
      assert.equal(readFileSync(join(folder, file), 'utf8'), 'after');
    }
  });

  it('nothing a file can be makes openshelld wait: a pipe without a reader, a file with a lease', async () => {
    const pipe = await held(`os.open('prod/pipe', os.O_WRONLY)`, '/workspace/prod/pipe');
    await answer(pipe.hold, 'allow');
    assert.equal(await pipe.out, 'ENXIO');
    // An agent cannot take a lease; others on the host can.
    const script = "import fcntl,os,signal,sys,time\nsignal.signal(29,1)\nf=os.open(sys.argv[1],os.O_RDONLY)\nfcntl.fcntl(f,1024,0)\nprint('held',flush=True)\ntime.sleep(60)";
    const holder = spawn('/usr/bin/python3', ['-c', script, join(folder, 'prod/a')], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(holder.stdout, 'data');
    const lease = await held(`put('prod/a', 'l')`, '/workspace/prod/a');
    const before = performance.now();
    await answer(lease.hold, 'allow');
    assert.match(await lease.out, /^(EAGAIN|EWOULDBLOCK|ok)$/);
    // Who waits for a lease waits 45 s (/proc/sys/fs/lease-break-time).
    assert.ok(performance.now() - before < 30_000);
    holder.kill('SIGKILL');
  });
});
