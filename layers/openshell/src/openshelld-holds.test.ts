/** Held system calls on the real kernel: asked, performed on the shown object only, across restarts, against hostile threads. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CreateResult, FromOpenshelld, SyscallHold } from '@nemoclaw/contract';
import { assertLikeVector } from './control-vectors.ts';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';
import { buildTestProgram } from './openshelld-test-program.ts';
import { assertRace, raceCommand, raceRounds, races } from './openshelld-test-races.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { readOnly: [/workspace/fixed], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete, rename] }, { path: /workspace/later/**, on: [delete] }, { path: /workspace/box/inner/**, on: [delete] }] }';
const python = (code: string): string[] => ['/usr/bin/python3', '-c', `import os, errno\ndef e(f):\n    try:\n        f(); return 'ok'\n    except OSError as x:\n        return errno.errorcode[x.errno]\nos.chdir('/workspace')\n${code}`];

describe('held system calls', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let made: CreateResult;
  let folder: string;
  let registration: string;
  let next = 0;
  const id = (): string => `x${(next += 1)}`;
  const run = async (code: string): Promise<string> => {
    const out = await gateway.run('h', id(), python(code));
    assert.equal(out.stderr, '');
    return out.stdout.trim();
  };
  /** Starts code that will wait; returns the hold and a promise of what the code prints. */
  const held = (code: string, path: string): ReturnType<typeof gateway.held<string>> =>
    gateway.held(() => gateway.run('h', id(), python(code)).then((o) => (o.signal ?? '') + o.stdout.trim() + o.stderr), (hold) => hold.path === path);
  const answer = (hold: SyscallHold, verdict: 'allow' | 'deny'): Promise<unknown> => gateway.call('answerHold', 'h', hold.holdId, verdict);

  before(async () => {
    // Each call of the races is really asked about.
    instance = await TestInstance.start({ holdSeconds: 30, asks: 1_000_000 });
    gateway = await instance.service('gateway');
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    registration = workspace.id;
    for (const name of ['prod', 'ok', 'fixed', 'keys', 'prod/deep']) mkdirSync(join(folder, name));
    for (const name of ['prod/a', 'prod/b', 'prod/c', 'prod/deep/d', 'ok/a', 'fixed/a', 'keys/secret']) writeFileSync(join(folder, name), name);
    buildTestProgram('race', folder);
    chmodSync(join(folder, 'race'), 0o755);
    made = (await gateway.call('create', 'h', instance.plan(spec), registration, 'worker:1')) as CreateResult;
  });
  after(async () => {
    await instance?.stop();
  });

  it('performs what no rule names at once, with the kernel’s own errors', async () => {
    const out = await run(`
open('ok/x','w').close(); os.mkdir('ok/dir'); open('ok/dir/in','w').close(); os.symlink('nowhere','ok/sym')
print(e(lambda: os.unlink('ok/x')), e(lambda: os.unlink('ok/x')), e(lambda: os.rmdir('ok/dir')), e(lambda: os.unlink('ok/dir')), e(lambda: os.unlink('ok/sym')))
print(e(lambda: os.unlink('ok/dir/in/')), e(lambda: os.rename('ok/dir','ok/moved')), e(lambda: os.rename('ok/moved/in','/tmp/in')), e(lambda: os.unlink('ok/moved/in')), e(lambda: os.rmdir('ok/moved/')))
print(e(lambda: os.unlink('')), e(lambda: os.rmdir('.')), e(lambda: os.rmdir('ok/..')), e(lambda: os.rmdir('/')), e(lambda: os.unlink('x'*300)), e(lambda: os.unlink('y/'*2100)))
d=os.open('ok',os.O_RDONLY); open('ok/z','w').close(); print(e(lambda: os.unlink('z',dir_fd=d)), e(lambda: os.unlink('z',dir_fd=99)))
os.chdir('ok'); open('z','w').close(); print(e(lambda: os.unlink('../ok/z'))); open('/tmp/t','w').close(); print(e(lambda: os.unlink('../../tmp/t')), e(lambda: os.unlink('/proc/self/cwd/a')))
`);
    assert.equal(out, ['ok ENOENT ENOTEMPTY EISDIR ok', 'ENOTDIR ok EXDEV ok ok', 'ENOENT EINVAL ENOTEMPTY EBUSY ENAMETOOLONG ENAMETOOLONG', 'ok EBADF', 'ok', 'ok ENOENT'].join('\n'));
    assert.ok(existsSync(join(folder, 'ok/a')));
  });

  it('does nothing that the agent could not do itself', async () => {
    const out = await run(`print(e(lambda: os.unlink('fixed/a')), e(lambda: os.unlink('keys/secret')), e(lambda: os.rmdir('keys')), e(lambda: os.rename('keys','ok/keys')), e(lambda: os.unlink('/usr/bin/env')), e(lambda: os.unlink('/etc/passwd')), e(lambda: os.rmdir('/workspace')), e(lambda: os.rename('/tmp','/tmp2')))`);
    assert.match(out, /^(EROFS|EACCES) (ENOENT|EACCES) EBUSY EBUSY (EROFS|EACCES) (EROFS|EACCES) EBUSY (EBUSY|EACCES)$/);
    assert.ok(existsSync(join(folder, 'keys/secret')));
    assert.ok(existsSync(join(folder, 'fixed/a')));
  });

  it('holds a deletion, shows the object, performs it on approval', async () => {
    const { hold, out } = await held(`print(e(lambda: os.unlink('ok/../prod/a')))`, '/workspace/prod/a');
    assert.equal(hold.op, 'delete');
    assert.equal(hold.rule, 0);
    assert.equal(hold.ino, statSync(join(folder, 'prod/a')).ino);
    assert.match(hold.exe, /python/);
    assert.ok(existsSync(join(folder, 'prod/a')));
    assert.equal((await gateway.run('h', id(), ['/bin/echo', 'others go on'])).stdout, 'others go on\n');
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, 'ok');
    assert.ok(!existsSync(join(folder, 'prod/a')));
    await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId && m.outcome === 'performed');
    await assert.rejects(answer(hold, 'allow'), { code: 'no-hold' });
  });

  it('denies: EPERM, and the file stays', async () => {
    const { hold, out } = await held(`print(e(lambda: os.unlink('prod/b')))`, '/workspace/prod/b');
    assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 });
    assert.equal(await out, 'EPERM');
    assert.ok(existsSync(join(folder, 'prod/b')));
  });

  it('holds every way in: out of, into, over, the subtree itself, through links and descriptors, a name made later', async () => {
    const cases: [string, string][] = [
      [`os.rename('prod/b','ok/b')`, '/workspace/prod/b'],
      [`os.rename('ok/a','prod/b')`, '/workspace/ok/a'],
      [`os.rename('ok/a','prod/new')`, '/workspace/ok/a'],
      [`os.rename('prod','elsewhere')`, '/workspace/prod'],
      [`os.unlink('prod/deep/d')`, '/workspace/prod/deep/d'],
      [`(os.symlink('prod','s1'), os.unlink('s1/b'))`, '/workspace/prod/b'],
      [`os.unlink('b',dir_fd=os.open('prod',os.O_RDONLY))`, '/workspace/prod/b'],
      [`(os.chdir('prod/deep'), os.unlink('../b'))`, '/workspace/prod/b'],
      [`(os.mkdir('later'), open('later/n','w').close(), os.unlink('later/n'))`, '/workspace/later/n'],
    ];
    for (const [code, path] of cases) {
      const { hold, out } = await held(`print(e(lambda: ${code}))`, path);
      assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 }, code);
      assert.equal(await out, 'EPERM', code);
    }
    assert.deepEqual(readdirSync(join(folder, 'prod')).sort(), ['b', 'c', 'deep']);
  });

  it('holds the move of a folder above a rule whose folder came only after the launch: what moved with it would be out of the rule', async () => {
    const { hold, out } = await held(`os.makedirs('box/inner'); open('box/inner/n','w').close(); print(e(lambda: os.rename('box','crate')), e(lambda: os.unlink('crate/inner/n')))`, '/workspace/box');
    assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 });
    assert.equal(await out, 'EPERM ENOENT');
    rmSync(join(folder, 'box'), { recursive: true });
  });

  it('says when a rename takes the place of something, or exchanges the two', async () => {
    writeFileSync(join(folder, 'ok/new'), 'new');
    const over = await held(`print(e(lambda: os.rename('ok/new','prod/b')))`, '/workspace/ok/new');
    assert.equal(over.hold.syscall, 'rename (replaces what is there)');
    await answer(over.hold, 'deny');
    assert.equal(await over.out, 'EPERM');
    const swap = await held(`import ctypes\nprint(ctypes.CDLL(None).renameat2(-100, b'ok/new', -100, b'prod/b', 2))`, '/workspace/ok/new');
    assert.equal(swap.hold.syscall, 'renameat2 (exchanges the two)');
    await answer(swap.hold, 'deny');
    assert.equal(await swap.out, '-1');
    const free = await held(`print(e(lambda: os.rename('ok/new','prod/free')))`, '/workspace/ok/new');
    assert.equal(free.hold.syscall, 'rename');
    await answer(free.hold, 'deny');
    await free.out;
    rmSync(join(folder, 'ok/new'));
  });

  it('shows names that are no text, and acts on the bytes', async () => {
    const { hold, out } = await held(`open(b'prod/\\xff\\xfe','w').close(); print(e(lambda: os.unlink(b'prod/\\xff\\xfe')))`, '/workspace/prod/\\xff\\xfe');
    await instance.killDaemon();
    await gateway.saw('inventory', (m) => m.holds.some((h) => h.holdId === hold.holdId && h.path === hold.path));
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, 'ok');
    assert.deepEqual(readdirSync(join(folder, 'prod')).sort(), ['b', 'c', 'deep']);
    const alike = await held(`open(b'prod/\\\\xff','w').close(); print(e(lambda: os.unlink(b'prod/\\\\xff')))`, '/workspace/prod/\\x5cxff');
    assert.deepEqual(await answer(alike.hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await alike.out, 'ok');
  });

  it('refuses an approved call whose object was changed meanwhile', async () => {
    const { hold, out } = await held(`print(e(lambda: os.unlink('prod/b')))`, '/workspace/prod/b');
    renameSync(join(folder, 'prod/b'), join(folder, 'prod/kept'));
    writeFileSync(join(folder, 'prod/b'), 'another');
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'changed', errno: 1 });
    assert.equal(await out, 'EPERM');
    assert.equal(readFileSync(join(folder, 'prod/b'), 'utf8'), 'another');
    rmSync(join(folder, 'prod/kept'));
  });

  it('keeps a call held through kill -9 of openshelld; approving it afterwards resumes it', async () => {
    const { hold, out } = await held(`print(e(lambda: os.rename('prod/c','prod/renamed')))`, '/workspace/prod/c');
    await instance.killDaemon();
    const inventory = await gateway.saw('inventory', (m) => m.holds.some((h) => h.holdId === hold.holdId));
    assert.deepEqual(inventory.holds.find((h) => h.holdId === hold.holdId), hold);
    assert.ok(existsSync(join(folder, 'prod/c')));
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, 'ok');
    assert.ok(existsSync(join(folder, 'prod/renamed')));
  });

  it('answers each call once and rightly through ten kills of openshelld in the middle of thousands', async () => {
    const out = gateway.run('h', id(), python(`
n=0
while not os.path.exists('ok/enough'):
    open('ok/w','w').close(); os.rename('ok/w','ok/w2'); os.unlink('ok/w2'); n+=1
print('all', n>10)`));
    for (let i = 0; i < 10; i++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      await instance.killDaemon();
    }
    writeFileSync(join(folder, 'ok/enough'), '');
    const { stdout, stderr } = await out;
    assert.equal(stdout.trim() + stderr, 'all True');
  });

  it('keeps a hold through kill -9 of the gateway', async () => {
    const { hold } = await held(`print(e(lambda: os.unlink('prod/renamed')), file=open('ok/said','w'))`, '/workspace/prod/renamed');
    process.kill(gateway.pid, 'SIGKILL');
    gateway = await instance.service('gateway', gateway.pid);
    const inventory = await gateway.saw('inventory', (m) => m.holds.length > 0);
    assert.deepEqual(inventory.holds, [hold]);
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.ok(!existsSync(join(folder, 'prod/renamed')));
  });

  it('works the same where the agent sees another uid', async () => {
    await gateway.call('create', 'seen', instance.plan(`${spec}, process: { user: 10001 }`), registration, 'worker:1');
    const out = await gateway.run('seen', id(), python(`open('ok/u','w').close(); print(os.getuid(), e(lambda: os.rename('ok/u','ok/v')), e(lambda: os.unlink('ok/v')))`));
    assert.equal(out.stdout.trim(), '10001 ok ok', out.stderr);
    await gateway.call('exec', 'seen', 'waits', { argv: python(`os.unlink('prod/b')`), env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    const { hold } = await gateway.saw('hold', (m) => m.hold.sandbox === 'seen');
    assert.deepEqual(await gateway.call('answerHold', 'seen', hold.holdId, 'deny'), { outcome: 'denied', errno: 1 });
    await gateway.call('destroy', 'seen');
  });

  it('lets 64 wait at once and refuses the rest; none is lost in the inventory', async () => {
    const code = `import threading\nfor i in range(90): open(f'prod/n{i}','w').close()\nr=[]\ndef t(i):\n    r.append(e(lambda: os.unlink(f'prod/n{i}')))\n    if len(r)==26: open('ok/full','w').close()\nts=[threading.Thread(target=t,args=(i,)) for i in range(90)]\n[x.start() for x in ts]; [x.join() for x in ts]\nprint(r.count('EPERM'))`;
    const out = gateway.run('h', id(), python(code));
    const waiting = (): Set<string> => new Set(gateway.news.flatMap((m) => (m.t === 'hold' && m.hold.path.startsWith('/workspace/prod/n') ? [m.hold.holdId] : [])));
    for (const end = Date.now() + 60_000; (waiting().size < 64 || !existsSync(join(folder, 'ok/full'))) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    const before = gateway.news.length;
    await instance.killDaemon();
    const told = (): Set<string> => new Set(gateway.news.slice(before).flatMap((m) => (m.t === 'hold' ? [m.hold.holdId] : m.t === 'inventory' ? m.holds.map((h) => h.holdId) : [])));
    for (const end = Date.now() + 60_000; told().size < 64 && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual([...told()].sort(), [...waiting()].sort());
    assert.equal(told().size, 64);
    for (const holdId of told()) await gateway.call('answerHold', 'h', holdId, 'deny');
    assert.equal((await out).stdout.trim(), '90');
    for (let i = 0; i < 90; i++) rmSync(join(folder, `prod/n${i}`));
  });

  it('tells when the waiting agent is gone', async () => {
    const options = { argv: python(`os.unlink('prod/b')`), env: ['PATH=/usr/bin'], cwd: '/', tty: null };
    const asked = gateway.newHold((one) => one.path === '/workspace/prod/b');
    await gateway.call('exec', 'h', 'gone', options);
    const hold = await asked;
    await gateway.call('execSignal', 'h', 'gone', 9);
    await gateway.saw('exec.exited', (m) => m.execId === 'gone');
    await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId && m.outcome === 'agent-gone');
    assert.ok(existsSync(join(folder, 'prod/b')));
  });

  it('a hostile thread wins 0 of 3,000 by each way', async () => {
    await gateway.order({ op: 'auto', verdict: 'deny' });
    for (const way of races[0].ways) {
      const { stdout, stderr } = await gateway.run('h', id(), ['/bin/sh', '-c', `cd /workspace && ${raceCommand('race', way)}`]);
      console.log(`# ${way} ${raceRounds}: ${stdout.trim()}${stderr}`);
      assertRace(way, stdout + stderr);
    }
    await gateway.order({ op: 'auto', verdict: null });
    for (const mode of ['time', 'time-rename']) console.log(`# ${mode}: ${(await gateway.run('h', id(), ['/bin/sh', '-c', `cd /workspace && exec ./race ${mode} 3000`])).stdout.trim()} µs`);
  });

  it('ends with the sandbox: nothing waits for ever', async () => {
    const { hold, out } = await held(`print(e(lambda: os.unlink('prod/b')))`, '/workspace/prod/b');
    await gateway.call('destroy', 'h');
    await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId && m.outcome === 'agent-gone');
    assert.match(await out, /SIGKILL/);
    assert.ok(!existsSync(`/proc/${made.init}`));
    for (const message of gateway.news) assertLikeVector(message);
  });
});

describe('too many questions', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  it('a hostile program cannot bury a person, or the record, in them: what goes beyond is denied at once, and counted', { timeout: 120_000 }, async () => {
    const instance = await TestInstance.start({ asks: 50 });
    try {
      const gateway = await instance.service('gateway');
      const ledger = await instance.service('ledger');
      const workspace = await instance.workspace('project');
      mkdirSync(join(workspace.path, 'prod'));
      writeFileSync(join(workspace.path, 'prod/b'), '');
      await gateway.call('create', 'many', instance.plan(spec), workspace.id, 'worker:1');
      await gateway.order({ op: 'auto', verdict: 'deny' });
      const out = await gateway.run('many', 'x', python(`print(sum(e(lambda: os.unlink('prod/b')) == 'EPERM' for i in range(300)))`));
      assert.equal(out.stdout.trim(), '300', out.stderr);
      await gateway.call('destroy', 'many');
      const told = (verdict: string): (FromOpenshelld & { t: 'event' })['event'][] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === 'many' && m.event.verdict === verdict ? [m.event] : []));
      const counted = (): number => told('deny').reduce((sum, event) => sum + (/denied at once/.test(event.message) ? Number(event.data?.['count']) : 0), 0);
      for (const end = Date.now() + 60_000; told('escalate').length + counted() < 300 && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(told('escalate').length + counted(), 300);
      assert.ok(counted() > 0 && told('escalate').length >= 50, `${told('escalate').length} asked`);
      assert.ok(existsSync(join(workspace.path, 'prod/b')));
    } finally {
      await instance.stop();
    }
  });
});

describe('the deadline of a held call', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  it('is the shim’s: the call is denied though openshelld and gateway are away', async () => {
    const instance = await TestInstance.start({ holdSeconds: 2 });
    try {
      const gateway = await instance.service('gateway');
      const workspace = await instance.workspace('project');
      mkdirSync(join(workspace.path, 'prod'));
      writeFileSync(join(workspace.path, 'prod/a'), '');
      await gateway.call('create', 'd', instance.plan(spec), workspace.id, 'worker:1');
      await gateway.call('exec', 'd', 'waits', { argv: python(`open('said','w').write(e(lambda: os.unlink('prod/a')))`), env: ['PATH=/usr/bin'], cwd: '/', tty: null });
      const { hold } = await gateway.saw('hold');
      // Stopped, not killed: nobody restarts it.
      const daemon = instance.daemonPid;
      process.kill(daemon, 'SIGSTOP');
      try {
        const said = join(workspace.path, 'said');
        for (const end = Date.now() + 60_000; (!existsSync(said) || statSync(said).size === 0) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
        assert.equal(readFileSync(said, 'utf8'), 'EPERM');
        assert.ok(existsSync(join(workspace.path, 'prod/a')));
      } finally {
        process.kill(daemon, 'SIGCONT');
      }
      await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId && m.outcome === 'timeout');
      await assert.rejects(gateway.call('answerHold', 'd', hold.holdId, 'allow'), { code: 'no-hold' });
    } finally {
      await instance.stop();
    }
  });
});
