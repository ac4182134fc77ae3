/** Which program opened a connection, on the real kernel: kept from connect(2) on, told to the worker of the sandbox and to nobody else. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOwner } from '@nemoclaw/contract';
import type { ConnectionEnds } from './openshelld-client.ts';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }';
const connect = (family: 'AF_INET' | 'AF_INET6', address: string, port: number): string => `import os, socket, sys, time
s = socket.socket(socket.${family}); s.settimeout(60); s.connect((${JSON.stringify(address)}, ${port}))
`;

describe('which program opened a connection', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let workers: TestService[];
  let folder = '';
  before(async () => {
    instance = await TestInstance.start({ workers: 2 });
    gateway = await instance.service('gateway');
    workers = [await instance.service('worker:1'), await instance.service('worker:2')];
    for (const [name, worker] of [['one', 'worker:1'], ['two', 'worker:2']] as const) {
      const workspace = await instance.workspace(name);
      if (name === 'one') folder = workspace.path;
      chmodSync(workspace.path, 0o777);
      await gateway.call('create', name, instance.plan(spec), workspace.id, worker);
    }
    await worker().saw('attach', (m) => m.sandbox === 'one');
    await workers[1]?.saw('attach', (m) => m.sandbox === 'two');
    await worker().order({ op: 'serve', sandbox: 'one' });
  });
  after(async () => {
    await instance?.stop();
  });
  const worker = (): TestService => workers[0] ?? assert.fail('no worker');

  /** The captured connection to that port, once it is there. */
  async function captured(port: number): Promise<ConnectionEnds> {
    await worker().heard('captured', `"destinationPort":${port}}`);
    const line = worker().lines.find((one) => one.peer === 'captured' && one.line.includes(`"destinationPort":${port}}`));
    return JSON.parse(line?.line ?? '{}') as ConnectionEnds;
  }
  const owner = async (ends: ConnectionEnds, sandbox = 'one', service = worker()): Promise<ConnectionOwner> => (await service.call('connectionOwner', sandbox, ends)) as ConnectionOwner;
  const python = (id: string, code: string): ReturnType<TestService['run']> => gateway.run('one', id, ['/usr/bin/python3', '-c', code]);
  /** The next openshelld takes a moment to find its sandboxes. */
  async function patiently(ends: ConnectionEnds): Promise<ConnectionOwner> {
    for (let tries = 0; ; tries += 1) {
      try {
        return await owner(ends);
      } catch (error) {
        if ((error as { code?: string }).code !== 'no-sandbox' || tries > 400) throw error;
        await sleep(50);
      }
    }
  }
  const isPython = (exe: string): boolean => /^\/usr\/bin\/python3[0-9.]*$/.test(exe);

  it('is told by its path in the sandbox, over IPv4, IPv6 and IPv4 through an IPv6 socket, also when the process is gone', async () => {
    assert.equal(((await gateway.call('host')) as { programs: boolean }).programs, true);
    for (const [family, address, port] of [['AF_INET', '203.0.113.7', 1001], ['AF_INET6', '2001:db8::7', 1002], ['AF_INET6', '::ffff:203.0.113.7', 1003]] as const) {
      const done = await python(`family${port}`, `${connect(family, address, port)}print(os.getpid())`);
      assert.equal(done.code, 0, done.stderr);
      const ends = await captured(port);
      const found = await owner(ends);
      assert.ok(isPython(found.exe) && found.pid > 1 && found.startTime > 0, JSON.stringify(found));
      assert.equal(ends.destination.replace('::ffff:', ''), address.replace('::ffff:', ''));
    }
  });

  it('tells programs apart, and parent from child', async () => {
    const perl = await gateway.run('one', 'perl', ['/usr/bin/perl', '-MIO::Socket::INET', '-e', 'IO::Socket::INET->new(PeerAddr => "203.0.113.7", PeerPort => 1010) or die']);
    assert.equal(perl.code, 0, perl.stderr);
    assert.match((await owner(await captured(1010))).exe, /^\/usr\/bin\/perl/);
    // A server that forks: each child is a process of its own, of the same program.
    const forked = await python('fork', `import os, socket
for port in (1011, 1012):
    if os.fork() == 0:
        s = socket.socket(); s.connect(("203.0.113.7", port)); os._exit(0)
for _ in range(2): os.wait()
`);
    assert.equal(forked.code, 0, forked.stderr);
    const [a, b] = [await owner(await captured(1011)), await owner(await captured(1012))];
    assert.ok(isPython(a.exe) && isPython(b.exe));
    assert.notEqual(a.pid, b.pid);
  });

  it('is the program that connected, whatever the process became', async () => {
    const script = `${connect('AF_INET', '203.0.113.7', 1020)}s.set_inheritable(True); os.execv("/bin/cat", ["cat", "/proc/self/comm"])`;
    const done = await python('exec', script);
    assert.equal(done.stdout.trim(), 'cat');
    assert.ok(isPython((await owner(await captured(1020))).exe));
    // And one that another passed on is still of the one that connected.
    const passed = await python('pass', `import os, socket, subprocess
s = socket.socket(); s.connect(("203.0.113.7", 1021)); subprocess.run(["/bin/cat", "/dev/null"], pass_fds=[s.fileno()], check=True)`);
    assert.equal(passed.code, 0, passed.stderr);
    assert.ok(isPython((await owner(await captured(1021))).exe));
  });

  it('has no name once its file is removed, was never in a folder, or is named too long', async () => {
    const copy = 'import os, shutil, sys\nsource = os.path.realpath("/usr/bin/perl")\n';
    const call = `["perl", "-MIO::Socket::INET", "-e", 'IO::Socket::INET->new(PeerAddr => "203.0.113.7", PeerPort => PORT) or die']`;
    const cases = [
      [1030, `shutil.copy(source, "/workspace/mine"); os.execv("/workspace/mine", ${call})`, '/workspace/mine'],
      [1031, `shutil.copy(source, "/workspace/gone"); f = os.open("/workspace/gone", os.O_RDONLY); os.unlink("/workspace/gone"); os.execve(f, ${call}, {})`, ''],
      [1032, `f = os.memfd_create("x"); os.write(f, open(source, "rb").read()); os.execve(f, ${call}, {})`, ''],
      [1033, `name = "/workspace/" + "n" * 64; shutil.copy(source, name); os.execv(name, ${call})`, ''],
    ] as const;
    for (const [port, code, expected] of cases) {
      const done = await python(`name${port}`, `${copy}${code.replace('PORT', String(port))}`);
      assert.equal(done.code, 0, done.stderr);
      assert.equal((await owner(await captured(port))).exe, expected, String(port));
    }
  });

  it('outlives openshelld, and goes on being kept while there is none', async () => {
    const first = await python('before', connect('AF_INET', '203.0.113.7', 1040));
    assert.equal(first.code, 0, first.stderr);
    const ends = await captured(1040);
    const known = await owner(ends);
    // One connects while there is none: the supervisor is stopped, so that nobody starts the next.
    const running = python('during', `import os, time
open("/workspace/ready", "w").close()
while not os.path.exists("/workspace/go"): time.sleep(0.01)
${connect('AF_INET', '203.0.113.7', 1041)}`);
    for (let tries = 0; !existsSync(join(folder, 'ready')) && tries < 400; tries += 1) await sleep(50);
    const resets = gateway.news.filter((m) => m.t === 'reset').length;
    process.kill(instance.supervisorPid, 'SIGSTOP');
    try {
      process.kill(instance.daemonPid, 'SIGKILL');
      writeFileSync(join(folder, 'go'), '');
      await captured(1041);
    } finally {
      process.kill(instance.supervisorPid, 'SIGCONT');
    }
    await gateway.saw('reset', () => gateway.news.filter((m) => m.t === 'reset').length > resets);
    await running;
    await worker().saw('reset');
    assert.equal(((await gateway.call('host')) as { programs: boolean }).programs, true);
    assert.deepEqual(await patiently(ends), known);
    const after = await python('after', connect('AF_INET6', '2001:db8::7', 1043));
    assert.equal(after.code, 0, after.stderr);
    for (const port of [1041, 1043]) assert.ok(isPython((await owner(await captured(port))).exe), String(port));
  });

  it('is told to the worker of the sandbox only, of real connections of that sandbox only', async () => {
    await python('theirs', connect('AF_INET', '203.0.113.7', 1050));
    const ends = await captured(1050);
    await assert.rejects(owner(ends, 'one', workers[1]), { code: 'no-sandbox' });
    await assert.rejects(owner(ends, 'two', workers[1]), { code: 'unknown' });
    await assert.rejects(owner(ends, 'none'), { code: 'no-sandbox' });
    await assert.rejects(owner(ends, 'one', gateway), { code: 'refused', message: /a gateway may not ask/ });
    await assert.rejects(owner({ ...ends, sourcePort: ends.sourcePort === 1 ? 2 : ends.sourcePort - 1 }), { code: 'unknown' });
    await assert.rejects(owner({ ...ends, destination: '203.0.113.8' }), { code: 'unknown' });
    for (const bad of [{ source: 'x' }, { source: '' }, { destination: '1.2.3' }, { sourcePort: 0 }, { destinationPort: 65_536 }, { sourcePort: 1.5 }]) await assert.rejects(owner({ ...ends, ...bad }), { code: 'protocol' });
  });
});
