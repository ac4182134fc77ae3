/** System calls that wait by their name, and connections: done as shown, by the agent's own identity. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { FromOpenshelld, SyscallHold } from '@nemoclaw/contract';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';
import { buildTestProgram } from './openshelld-test-program.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }, syscalls: { escalate: [kill, mkdir, rename, socket, connect, ptrace] }';
const python = (code: string): string[] => ['/usr/bin/python3', '-c', `import os, errno, signal, time, socket\ndef e(f):\n    try:\n        r = f(); return 'ok' if r is None or not isinstance(r, str) else r\n    except OSError as x:\n        return errno.errorcode[x.errno]\nos.chdir('/workspace')\n${code}`];

describe('system calls that wait by their name', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let registration: string;
  let next = 0;
  const start = (sandbox: string, argv: string[]): Promise<string> => gateway.run(sandbox, `x${(next += 1)}`, argv).then((o) => (o.signal ?? '') + o.stdout.trim() + o.stderr);
  const seen = new Set<string>();
  const nextHold = async (out: Promise<string>, matches: (hold: SyscallHold) => boolean = () => true): Promise<SyscallHold> => {
    const message: Extract<FromOpenshelld, { t: 'hold' }> = await Promise.race([gateway.saw('hold', (m) => !seen.has(m.hold.holdId) && matches(m.hold)), out.then((text) => Promise.reject(new Error(`not held: ${text}`)))]);
    seen.add(message.hold.holdId);
    return message.hold;
  };
  const answer = (hold: SyscallHold, verdict: 'allow' | 'deny'): Promise<unknown> => gateway.call('answerHold', hold.sandbox, hold.holdId, verdict);
  const performed = { outcome: 'performed', errno: 0 };

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 30 });
    gateway = await instance.service('gateway');
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    registration = workspace.id;
    mkdirSync(join(folder, 'ok'));
    writeFileSync(join(folder, 'ok/a'), 'a');
    buildTestProgram('trace-call', folder);
    await gateway.call('create', 'c', instance.plan(spec), registration, 'worker:1');
  });
  after(async () => {
    await instance?.stop();
  });

  it('a call with numbers goes on once approved, and is EPERM when denied; the numbers are shown', async () => {
    const code = python(`p=os.fork()\nif p==0: time.sleep(60); os._exit(0)\nprint(p, e(lambda: os.kill(p, 15)), flush=True)\nprint(e(lambda: os.kill(p, 15)), os.WTERMSIG(os.waitpid(p, 0)[1]))`);
    const out = start('c', code);
    const first = await nextHold(out);
    assert.equal(first.op, 'call');
    assert.equal(first.syscall, 'kill');
    assert.match(first.path, /^\d+, 15$/);
    assert.deepEqual(await answer(first, 'deny'), { outcome: 'denied', errno: 1 });
    const second = await nextHold(out);
    assert.equal(second.path, first.path);
    assert.deepEqual(await answer(second, 'allow'), performed);
    assert.equal(await out, `${first.path.split(',')[0]} EPERM\nok 15`);
  });

  it('what the filter would refuse is refused at once: nobody may approve it', async () => {
    assert.equal(await start('c', python(`print(e(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)), e(lambda: socket.socket(17, socket.SOCK_RAW)))`)), 'EPERM EPERM');
  });

  it('a call on files is done by openshelld, wherever it is', async () => {
    const made = start('c', python(`os.umask(0o027); print(e(lambda: os.mkdir('ok/new')))`));
    const hold = await nextHold(made);
    assert.deepEqual([hold.op, hold.syscall, hold.path], ['call', 'mkdir', '/workspace/ok/new']);
    assert.deepEqual(await answer(hold, 'allow'), performed);
    assert.equal(await made, 'ok');
    assert.ok(existsSync(join(folder, 'ok/new')));
    const moved = start('c', python(`print(e(lambda: os.rename('ok/a', 'ok/b')))`));
    const rename = await nextHold(moved);
    assert.equal(rename.toPath, '/workspace/ok/b');
    await answer(rename, 'deny');
    assert.equal(await moved, 'EPERM');
    assert.ok(existsSync(join(folder, 'ok/a')));
  });

  it('a tracer cannot change what was approved', async () => {
    await gateway.call('create', 't', instance.plan('isolation: { network: restricted, filesystem: workspace, syscalls: standard }, syscalls: { escalate: [kill] }'), registration, 'worker:1');
    const out = start('t', ['/workspace/trace-call']);
    const hold = await nextHold(out, (h) => h.path.endsWith(', 15'));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await answer(hold, 'allow');
    assert.match(await out, /^shown=ended victim=alive/);
    await gateway.call('destroy', 't');
  });

  it('a connection is made by the socket and to the address that were shown', async () => {
    const code = python(`
import threading
s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(4); port=s.getsockname()[1]
c=socket.socket()
print(port, e(lambda: c.connect(('127.0.0.1',port))), c.getpeername()[1]==port if c.fileno()>=0 else None, s.accept()[1]==c.getsockname())
u=socket.socket(socket.AF_UNIX); u.bind('/tmp/u.sock'); u.listen(4)
d=socket.socket(socket.AF_UNIX); print(e(lambda: d.connect('/tmp/u.sock')))
import struct
print(struct.unpack('3i', u.accept()[0].getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]==os.getuid(), e(lambda: socket.socket(socket.AF_UNIX).connect('/tmp/none')))`);
    const holds: SyscallHold[] = [];
    let over = false;
    const running = start('c', code).finally(() => (over = true));
    while (!over) {
      const hold = await nextHold(running).catch(() => undefined);
      if (hold === undefined) break;
      if (hold.syscall === 'connect') holds.push(hold);
      await answer(hold, 'allow');
    }
    const out = await running;
    assert.match(out, /^\d+ ok True True\nok\nTrue ENOENT$/);
    assert.deepEqual(holds.map((h) => h.path.replace(/\d+$/, 'PORT')), ['127.0.0.1:PORT', '/tmp/u.sock']);
  });

  it('a Unix socket in a ruled folder is reached on approval only', async () => {
    mkdirSync(join(folder, 'sockets'));
    const server = spawnSync('python3', ['-c', `import socket\ns=socket.socket(socket.AF_UNIX); s.bind('${join(folder, 'sockets/s')}')`]);
    assert.equal(server.status, 0);
    await gateway.call('create', 'u', instance.plan('isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/sockets/**, on: [connect] }] }'), registration, 'worker:1');
    const code = python(`print(e(lambda: socket.socket(socket.AF_UNIX).connect('sockets/s')))`);
    const no = start('u', code);
    const hold = await nextHold(no);
    assert.deepEqual([hold.op, hold.path], ['connect', '/workspace/sockets/s']);
    await answer(hold, 'deny');
    assert.equal(await no, 'EPERM');
    const yes = start('u', code);
    assert.deepEqual(await answer(await nextHold(yes), 'allow'), { outcome: 'performed', errno: 111 }); // nobody listens any more: it was really tried
    assert.equal(await yes, 'ECONNREFUSED');
    await gateway.call('destroy', 'u');
  });

  it('a socket in a place where only reading is asked about is out of reach, also beside a rule on connections: nobody sees openshelld connect', async () => {
    for (const name of ['hidden', 'other']) mkdirSync(join(folder, name));
    const server = spawn('python3', ['-c', `import socket, struct, os
s=socket.socket(socket.AF_UNIX); s.bind('${join(folder, 'hidden/s')}'); os.chmod('${join(folder, 'hidden/s')}', 0o777); s.listen(4); print('ready', flush=True)
c,_=s.accept(); print(struct.unpack('3i', c.getsockopt(1, 17, 12))[1], flush=True)`], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let said = '';
      server.stdout.on('data', (data: Buffer) => (said += data.toString()));
      await once(server.stdout, 'data');
      await gateway.call('create', 'h', instance.plan('isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/hidden/**, on: [read] }, { path: /workspace/other/**, on: [connect] }] }'), registration, 'worker:1');
      assert.equal(await start('h', python(`print(e(lambda: socket.socket(socket.AF_UNIX).connect('hidden/s')))`)), 'EACCES');
      assert.equal(said, 'ready\n');
      await gateway.call('destroy', 'h');
    } finally {
      server.kill('SIGKILL');
    }
  });

  it('of an address every byte is shown', async () => {
    const shown = async (code: string): Promise<string> => {
      const out = start('c', python(`s=${code}`));
      for (;;) {
        const hold = await nextHold(out);
        await answer(hold, hold.syscall === 'connect' ? 'deny' : 'allow');
        if (hold.syscall !== 'connect') continue;
        assert.match(await out, /PermissionError/);
        return hold.path;
      }
    };
    assert.equal(await shown(`socket.socket(socket.AF_UNIX); s.connect(b'\\0good\\0evil \\x5c')`), '@good\\x00evil\\x20\\x5c');
    assert.equal(await shown(`socket.socket(socket.AF_INET6); s.connect(('fe80::1', 80, 0, 1))`), '[fe80::1%1]:80');
    assert.equal(await shown(`socket.socket(socket.AF_UNIX); __import__('ctypes').CDLL(None, use_errno=True).connect(s.fileno(), bytes([40, 0, 1, 2, 255]), 5) and (_ for _ in ()).throw(PermissionError)`), 'address of family 40: 0102ff');
  });

  it('in monitor mode everything that would wait is recorded and goes on', async () => {
    const ledger = await instance.service('ledger');
    mkdirSync(join(folder, 'prod'));
    writeFileSync(join(folder, 'prod/a'), 'a');
    await gateway.call('create', 'm', instance.plan('mode: monitor, isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, rename, write, create, read] }] }, syscalls: { escalate: [kill] }'), registration, 'worker:1');
    const out = await start('m', python(`print(e(lambda: open('prod/a').read()), e(lambda: open('prod/a','w').close()), e(lambda: os.mkdir('prod/d')), e(lambda: os.rename('prod/a','prod/b')), e(lambda: os.unlink('prod/b')), e(lambda: os.rmdir('prod/d')), e(lambda: os.kill(os.getpid(), 0)), e(lambda: os.mkdir('ok/free')), e(lambda: os.chmod('ok/free', 0o4755)))`));
    assert.equal(out, 'a ok ok ok ok ok ok ok EPERM');
    const told = (): string[] => ledger.news.flatMap((m) => (m.t === 'event' && m.event.sandbox === 'm' && m.event.verdict === 'observe' ? [`${String(m.event.data?.['op'])} ${String(m.event.data?.['path'])}`] : []));
    for (const end = Date.now() + 60_000; told().length < 7 && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(told().map((line) => line.replace(/ \d+, 0$/, ' PID, 0')), ['read /workspace/prod/a', 'write /workspace/prod/a', 'create /workspace/prod/d', 'rename /workspace/prod/a', 'delete /workspace/prod/b', 'delete /workspace/prod/d', 'call PID, 0']);
    assert.ok(!gateway.news.some((m) => m.t === 'hold' && m.hold.sandbox === 'm'));
    // Nobody is waited for, so that nothing but a bound keeps the record from filling.
    assert.equal(await start('m', python(`for i in range(3000): os.utime('prod', (i, i))`)), '');
    await start('m', python(`print(e(lambda: os.utime('prod')))`));
    assert.ok(told().length <= 600, `${told().length} events`);
    await gateway.call('destroy', 'm');
  });

  it('names that cannot wait are an error with the way out', () => {
    for (const [name, words] of [['execve', /process\.exec\.escalate/], ['sendto', /egress\.escalate/], ['openat', /filesystem\.escalate/], ['mount', /syscalls\.allow/], ['frobnicate', /spelling/]] as const) {
      assert.throws(() => instance.plan(`isolation: { syscalls: standard }, syscalls: { escalate: [${name}] }`), (error: Error & { code?: string; fix?: string }) => error.code === 'NEMO_E_PLAN_SYSCALL' && words.test(error.fix ?? ''), name);
    }
  });
});
