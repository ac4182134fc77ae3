/** Sandboxes through openshelld and their shims on the real kernel: create, exec, terminal, freeze, restarts, limits, destroy. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CreateResult, LaunchPlan } from '@nemoclaw/contract';
import { assertLikeVector } from './control-vectors.ts';
import { TestInstance, testUids } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';

const spec = 'isolation: { network: restricted, filesystem: workspace, syscalls: standard }';

describe('sandboxes through openshelld', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let created: CreateResult;
  let folder: { path: string; id: string };
  before(async () => {
    instance = await TestInstance.start();
    gateway = await instance.service('gateway');
    folder = await instance.workspace('project');
    writeFileSync(join(folder.path, 'hello.txt'), 'from the host\n');
    created = (await gateway.call('create', 'one', instance.plan(spec), folder.id, 'worker:1')) as CreateResult;
  });
  after(async () => {
    await instance?.stop();
  });

  it('is made with every probe stopped and a uid of the agents', () => {
    assert.equal(created.sandbox, 'one');
    assert.ok(created.uid >= testUids.agents && created.uid < testUids.agents + 64);
    assert.ok(Object.keys(created.probe).length >= 12);
    assert.deepEqual(Object.entries(created.probe).filter(([, stopped]) => !stopped), []);
  });

  it('copies nothing of the host that not everybody may read, whatever a plan asks', async () => {
    const prefix = join(instance.root, 'prefix');
    writeFileSync(join(prefix, 'secret'), 'root only', { mode: 0o600 });
    mkdirSync(join(prefix, 'folder'));
    writeFileSync(join(prefix, 'public'), 'for all', { mode: 0o644 });
    const plan = instance.plan(spec);
    const copying = (source: string): LaunchPlan => ({ ...plan, view: [...plan.view, { do: 'concat', path: '/etc/copied', source: join(prefix, source), text: '!' }] });
    for (const source of ['secret', 'folder']) await assert.rejects(gateway.call('create', 'greedy', copying(source), folder.id, 'worker:1'), { code: 'view' }, source);
    await gateway.call('create', 'modest', copying('public'), folder.id, 'worker:1');
    assert.equal((await gateway.run('modest', 'c1', ['/bin/cat', '/etc/copied'])).stdout, 'for all!');
    await gateway.call('destroy', 'modest');
  });

  it('gives the listeners to the worker, two descriptors', async () => {
    const worker = await instance.service('worker:1');
    await worker.saw('attach', (m) => m.sandbox === 'one');
    assert.equal(worker.fdCounts[worker.news.findIndex((m) => m.t === 'attach')], 2);
  });

  it('leaves the shim with CAP_KILL and nothing more', () => {
    const shim = Number(readFileSync(`/proc/${created.init}/status`, 'utf8').match(/^PPid:\t(\d+)$/m)?.[1]);
    const status = readFileSync(`/proc/${shim}/status`, 'utf8');
    assert.match(status, /^Name:\topenshell-shim$/m);
    assert.match(status, /^CapPrm:\t0000000000000020$/m);
    assert.match(status, /^CapBnd:\t0+$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
  });

  it('runs commands with pipes, codes, signals and a workspace that keeps its owner', async () => {
    const out = await gateway.run('one', 'e1', ['/bin/sh', '-c', 'cat /workspace/hello.txt; cat; echo err >&2; echo made > /workspace/made.txt; echo again > /dev/stdout; exit 7'], 'typed\n');
    assert.equal(out.stdout, 'from the host\ntyped\nagain\n');
    assert.equal(out.stderr, 'err\n');
    assert.equal(out.code, 7);
    assert.equal(out.signal, null);
    assert.equal(out.fds, 3);
    assert.equal(statSync(join(folder.path, 'made.txt')).uid, statSync(folder.path).uid);
    const killed = await gateway.run('one', 'e2', ['/bin/sh', '-c', 'kill -TERM $$']);
    assert.equal(killed.code, null);
    assert.equal(killed.signal, 'SIGTERM');
    await assert.rejects(gateway.run('one', 'e3', ['/bin/no-such-program']), { code: 'not-found' });
  });

  it('gives a terminal of the sandbox itself, with its size', async () => {
    const out = await gateway.run('one', 'tty1', ['/bin/sh', '-c', 'tty; stty size; test -t 0 && echo terminal; exit 3'], '', { rows: 33, cols: 111 });
    assert.match(out.stdout, /\/dev\/pts\/\d+\r\n33 111\r\nterminal\r\n/);
    assert.equal(out.code, 3);
    assert.equal(out.fds, 1);
  });

  it('passes signals to the command and tells its end', async () => {
    const options = { argv: ['/bin/sleep', '100'], env: ['PATH=/usr/bin'], cwd: '/', tty: null };
    await gateway.call('exec', 'one', 'sleeper', options);
    await assert.rejects(gateway.call('exec', 'one', 'sleeper', options), { code: 'protocol' });
    await gateway.call('execSignal', 'one', 'sleeper', 15);
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'sleeper')).signal, 'SIGTERM');
    await assert.rejects(gateway.call('execSignal', 'one', 'sleeper', 15), { code: 'no-exec' });
  });

  it('freezes and thaws', async () => {
    const clock = join(folder.path, 'clock');
    await gateway.call('exec', 'one', 'ticker', { argv: ['/bin/sh', '-c', 'while :; do echo x >> /workspace/clock; sleep 0.01; done'], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    const size = (): number => (existsSync(clock) ? statSync(clock).size : 0);
    const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    const grows = async (): Promise<void> => {
      const before = size();
      for (let tries = 0; size() === before; tries += 1) {
        assert.ok(tries < 6000, 'it stands still');
        await pause(10);
      }
    };
    await grows();
    await gateway.call('freeze', 'one', true);
    await pause(50);
    const frozen = size();
    await pause(250);
    assert.equal(size(), frozen);
    await gateway.call('freeze', 'one', false);
    await grows();
    await gateway.call('execSignal', 'one', 'ticker', 9);
    await gateway.saw('exec.exited', (m) => m.execId === 'ticker');
  });

  it('puts refused system calls on the record, counted', async () => {
    const ledger = await instance.service('ledger');
    const code = 'import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nfor i in range(500):\n    assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == 1';
    const out = await gateway.run('one', 'refused', ['/usr/bin/python3', '-c', code]);
    assert.equal(out.stderr, '');
    assert.equal(out.code, 0);
    let counted = 0;
    for (const deadline = Date.now() + 60_000; counted < 500 && Date.now() < deadline; await new Promise((resolve) => setTimeout(resolve, 50))) {
      counted = 0;
      for (const m of ledger.news) {
        const event = (m as unknown as { event?: { layer: string; sandbox: string; data?: { syscall: string; count: number } } }).event;
        if (event?.layer === 'seccomp' && event.sandbox === 'one' && event.data?.syscall === 'unshare') counted += event.data.count;
      }
    }
    assert.equal(counted, 500);
  });

  it('names every refused system call as the kernel does', async () => {
    const ledger = await instance.service('ledger');
    const out = await gateway.run('one', 'named', ['/usr/bin/python3', '-c', 'import os\ntry: os.chmod("/tmp", 0o4755)\nexcept PermissionError: print("refused")']);
    assert.equal(out.stdout, 'refused\n');
    await ledger.saw('event', (m) => m.event.layer === 'seccomp' && m.event.sandbox === 'one' && m.event.data?.['syscall'] === 'chmod');
  });

  it('refuses what it must: names twice, unknown registrations and workers, layer switches', async () => {
    const plan = instance.plan(spec);
    await assert.rejects(gateway.call('create', 'one', plan, '', 'worker:1'), { code: 'exists' });
    await assert.rejects(gateway.call('create', '../x', plan, '', 'worker:1'), { code: 'protocol' });
    await assert.rejects(gateway.call('create', 'two', plan, 'ws_0000000000000000', 'worker:1'), { code: 'registration' });
    await assert.rejects(gateway.call('create', 'two', plan, '', 'worker:9'), { code: 'worker' });
    await assert.rejects(gateway.call('create', 'two', plan, '', 'ledger'), { code: 'worker' });
    await assert.rejects(gateway.call('create', 'two', { ...plan, version: 99 }, '', 'worker:1'), { code: 'plan' });
    assert.ok(!existsSync(join(instance.run, 'shims', 'two.sock')));
    await assert.rejects(gateway.call('exec', 'two', 'x', { argv: ['/bin/true'], env: [], cwd: '/', tty: null }), { code: 'no-sandbox' });
  });

  it('outlives kill -9 of openshelld: the agent runs on, its output is read on', async () => {
    const options = { argv: ['/bin/sh', '-c', 'for i in 1 2 3 4 5; do echo $i >> /workspace/steps; done; until [ -e /workspace/on ]; do sleep 0.02; done; for i in 6 7 8 9 10; do echo $i >> /workspace/steps; done; exit 9'], env: ['PATH=/usr/bin'], cwd: '/', tty: null };
    await gateway.call('exec', 'one', 'steps', options);
    await instance.killDaemon();
    const inventory = await gateway.saw('inventory', (m) => m.sandboxes.some((s) => s.sandbox === 'one' && s.execs.includes('steps')));
    assert.equal(inventory.sandboxes.find((s) => s.sandbox === 'one')?.init, created.init);
    writeFileSync(join(folder.path, 'on'), '');
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'steps')).code, 9);
    assert.equal(readFileSync(join(folder.path, 'steps'), 'utf8').split('\n').length, 11);
    assert.equal((await gateway.run('one', 'after', ['/bin/echo', 'alive'])).stdout, 'alive\n');
    const worker = await instance.service('worker:1');
    assert.equal(worker.news.filter((m) => m.t === 'attach' && m.sandbox === 'one').length, 1, 'the same worker got its listeners twice');
  });

  it('gives a killed worker’s listeners to its successor', async () => {
    const worker = await instance.service('worker:1');
    process.kill(worker.pid, 'SIGKILL');
    const fresh = await instance.service('worker:1', worker.pid);
    await fresh.saw('attach', (m) => m.sandbox === 'one');
    assert.equal(fresh.fdCounts[fresh.news.findIndex((m) => m.t === 'attach')], 2);
  });

  it('keeps the agent alive when the gateway is killed, and gives its output to the next', async () => {
    await gateway.call('exec', 'one', 'talker', { argv: ['/bin/sh', '-c', 'trap "" PIPE; i=0; while :; do i=$((i+1)); echo line $i || echo lost >> /workspace/lost; sleep 0.05; done'], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    process.kill(gateway.pid, 'SIGKILL');
    gateway = await instance.service('gateway', gateway.pid);
    const inventory = await gateway.saw('inventory');
    assert.deepEqual(inventory.sandboxes.map((s) => s.sandbox), ['one']);
    assert.ok(inventory.sandboxes[0]?.execs.includes('talker'));
    const attached = (await gateway.order({ op: 'attachRead', sandbox: 'one', execId: 'talker' })) as { count: number; first: string };
    assert.equal(attached.count, 2);
    assert.match(attached.first, /line \d+/);
    assert.ok(!existsSync(join(folder.path, 'lost')));
    await gateway.call('execSignal', 'one', 'talker', 9);
    await gateway.saw('exec.exited', (m) => m.execId === 'talker');
  });

  it('keeps what a command wrote that ended while there was no gateway, and tells its end after that', async () => {
    await gateway.call('exec', 'one', 'late', { argv: ['/bin/sh', '-c', 'until [ -e /workspace/go ]; do sleep 0.01; done; echo the last words; exit 4'], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    process.kill(gateway.pid, 'SIGKILL');
    // Gone when openshelld has buried it: what it is told before that is lost with it.
    while (existsSync(`/proc/${gateway.pid}`)) await new Promise((resolve) => setTimeout(resolve, 1));
    writeFileSync(join(folder.path, 'go'), '');
    gateway = await instance.service('gateway', gateway.pid);
    await gateway.saw('inventory');
    const attached = (await gateway.order({ op: 'attachRead', sandbox: 'one', execId: 'late' })) as { count: number; first: string };
    assert.deepEqual([attached.count, attached.first.trim()], [2, 'the last words']);
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'late')).code, 4);
  });

  it('holds memory and processes to the plan’s limits', async () => {
    const tight = instance.plan(`${spec}, resources: { maxMemory: 96Mi, maxCPU: 1, maxPids: 24 }`);
    await gateway.call('create', 'tight', tight, folder.id, 'worker:1');
    const hog = await gateway.run('tight', 'hog', ['/usr/bin/python3', '-c', 'b = bytearray()\nwhile True: b += bytes(4 << 20)']);
    assert.equal(hog.signal, 'SIGKILL');
    const forks = await gateway.run('tight', 'forks', ['/bin/bash', '-c', 'for i in $(seq 60); do sleep 3 & done; echo done']);
    assert.match(forks.stderr, /fork|Resource/);
    await gateway.call('destroy', 'tight');
  });

  it('tells that a sandbox ended when its init or its shim is killed, and leaves nothing', async () => {
    for (const victim of ['init', 'shim'] as const) {
      const made = (await gateway.call('create', `victim-${victim}`, instance.plan(spec), folder.id, 'worker:1')) as CreateResult;
      const shim = Number(readFileSync(`/proc/${made.init}/status`, 'utf8').match(/^PPid:\t(\d+)$/m)?.[1]);
      process.kill(victim === 'init' ? made.init : shim, 'SIGKILL');
      await gateway.saw('sandbox.gone', (m) => m.sandbox === `victim-${victim}`);
      for (const deadline = Date.now() + 60_000; existsSync(`/proc/${made.init}`) && Date.now() < deadline; ) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.ok(!existsSync(`/proc/${made.init}`));
      for (const path of instance.leftovers()) assert.ok(!readdirSync(path).includes(`victim-${victim}`), `${path} is left`);
    }
  });

  it('destroys: nothing of the sandbox is left', async () => {
    await gateway.call('exec', 'one', 'last', { argv: ['/bin/sleep', '100'], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    const began = performance.now();
    await gateway.call('destroy', 'one');
    console.log(`# destroy ${(performance.now() - began).toFixed(1)} ms, create ${JSON.stringify(created.phases)}`);
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'last')).signal, 'SIGKILL');
    assert.ok(!existsSync(`/proc/${created.init}`));
    assert.deepEqual(readdirSync(join(instance.run, 'shims')), []);
    for (const path of instance.leftovers()) assert.deepEqual(readdirSync(path, { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => e.name), []);
    await assert.rejects(gateway.call('destroy', 'one'), { code: 'no-sandbox' });
  });

  it('says nothing that its golden vectors do not show', async () => {
    for (const name of ['gateway', 'worker:1', 'ledger']) for (const message of (await instance.service(name)).news) assertLikeVector(message);
  });

  it('stops with sandboxes running and leaves no control group', async () => {
    const made = (await gateway.call('create', 'open', instance.plan(spec), folder.id, 'worker:1')) as CreateResult;
    assert.equal(await instance.stop(), 0);
    assert.ok(!existsSync(`/proc/${made.init}`));
    assert.deepEqual(instance.leftovers(), []);
  });
});
