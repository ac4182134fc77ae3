/** openshelld and its services on the real kernel: identities, restarts, links, the descriptor store, the end. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestInstance, testUids } from './openshelld-test-instance.ts';

const root = process.getuid?.() === 0;

describe('openshelld and its services', { skip: root ? false : 'needs root' }, () => {
  let instance: TestInstance;
  before(async () => {
    instance = await TestInstance.start({ workers: 2 });
  });
  after(async () => {
    await instance?.stop();
  });

  it('starts each under its own identity, without privileges', async () => {
    for (const [name, uid] of [['gateway', testUids.gateway], ['worker:1', testUids.worker], ['worker:2', testUids.worker], ['ledger', testUids.ledger]] as const) {
      const service = await instance.service(name);
      assert.equal(service.uid, uid);
      const status = readFileSync(`/proc/${service.pid}/status`, 'utf8');
      assert.match(status, new RegExp(`^Uid:\\t${uid}\\t${uid}\\t${uid}\\t${uid}$`, 'm'));
      assert.match(status, /^CapPrm:\t0+$/m);
      assert.match(status, /^CapEff:\t0+$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, name === 'gateway' ? new RegExp(`^Groups:\t${testUids.operators} $`, 'm') : /^Groups:\t *$/m);
    }
  });

  it('serves them before what agents start, in every session that the host schedules as one', async () => {
    const nice = (pid: number): string | undefined => readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[16];
    for (const name of ['gateway', 'worker:1', 'ledger']) {
      const { pid } = await instance.service(name);
      assert.equal(nice(pid), '-5', name);
      if (existsSync('/proc/self/autogroup')) assert.match(readFileSync(`/proc/${pid}/autogroup`, 'utf8'), /nice -5$/m, name);
    }
    assert.equal(nice(instance.daemonPid), '-5');
  });

  it('takes along nothing that the starting shell had open', () => {
    for (const pid of [instance.supervisorPid, instance.daemonPid]) {
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
      assert.ok(open.length > 3);
      assert.deepEqual(open.filter((path) => path.endsWith('/config.json')), []);
    }
  });

  it('keeps each in its own Landlock domain, so that two workers of one uid cannot reach each other', async () => {
    const one = await instance.service('worker:1');
    const two = await instance.service('worker:2');
    const open = join(instance.root, 'open-to-all');
    writeFileSync(open, 'x', { mode: 0o644 });
    const reach = (path: string): Promise<unknown> => one.order({ op: 'reach', path, pid: two.pid });
    assert.deepEqual(await reach(`/proc/${two.pid}/environ`), { read: 'EACCES', signal: 'EPERM' });
    assert.deepEqual(await reach(open), { read: 'EACCES', signal: 'EPERM' });
    assert.deepEqual(await one.order({ op: 'reach', path: '/proc/self/environ', pid: one.pid }), { read: '', signal: '' });
  });

  it('links gateway, workers and ledger with each other, and workers not', async () => {
    const gateway = await instance.service('gateway');
    const ledger = await instance.service('ledger');
    const worker = await instance.service('worker:1');
    await gateway.heard('worker:1', 'worker:1 to gateway');
    await gateway.heard('worker:2', 'worker:2 to gateway');
    await gateway.heard('ledger', 'ledger to gateway');
    await ledger.heard('worker:2', 'worker:2 to ledger');
    await worker.heard('gateway', 'gateway to worker:1');
    assert.ok(!worker.news.some((m) => m.t === 'link' && m.peer === 'worker:2'));
  });

  it('restarts a killed service and gives it and its peers fresh links', async () => {
    const ledger = await instance.service('ledger');
    const old = await instance.service('worker:1');
    const before = ledger.lines.length;
    process.kill(old.pid, 'SIGKILL');
    await ledger.saw('peer.gone', (m) => m.peer === 'worker:1');
    const fresh = await instance.service('worker:1', old.pid);
    await fresh.heard('ledger', 'ledger to worker:1');
    await fresh.heard('gateway', 'gateway to worker:1');
    await ledger.heard('worker:1', 'worker:1 to ledger', before);
  });

  it('survives kill -9 of openshelld: same services, same links, same channels, no event number twice', async () => {
    const gateway = await instance.service('gateway');
    const ledger = await instance.service('ledger');
    await instance.killDaemon();
    await ledger.saw('reset');
    const host = (await gateway.call('host')) as { services: { name: string; pid: number }[] };
    assert.equal(host.services.find((s) => s.name === 'gateway')?.pid, gateway.pid);
    assert.equal((await instance.service('gateway')).pid, gateway.pid);
    const worker = await instance.service('worker:2');
    const mark = worker.pid;
    process.kill(worker.pid, 'SIGKILL');
    const fresh = await instance.service('worker:2', mark);
    await fresh.heard('gateway', 'gateway to worker:2');
    const numbers = ledger.news.filter((m) => (m.t as string) === 'event').map((m) => (m as unknown as { seq: number }).seq);
    assert.deepEqual(numbers, numbers.map((_, i) => i + 1));
    await gateway.saw('inventory', (m) => m.workers.length === 2);
  });

  it('lets a role ask only for what is its own', async () => {
    const worker = await instance.service('worker:1');
    const ledger = await instance.service('ledger');
    await assert.rejects(worker.call('destroy', 'x'), { code: 'refused' });
    await assert.rejects(worker.call('sign', 1, 'aa', 'interval'), { code: 'refused' });
    await assert.rejects(worker.call('workspaces'), { code: 'refused' });
    await assert.rejects(ledger.call('create', 'x', {}, '', ''), { code: 'refused' });
    await assert.rejects((await instance.service('gateway')).call('sign', 1, 'aa', 'interval'), { code: 'refused' });
  });

  it('keeps run and state folders closed to the wrong people', () => {
    const mode = (path: string): string => (statSync(path).mode & 0o7777).toString(8);
    assert.equal(mode(instance.run), '1775');
    assert.equal(mode(join(instance.run, 'openshelld')), '700');
    assert.equal(statSync(join(instance.run, 'openshelld')).uid, testUids.gateway);
    assert.equal(mode(join(instance.run, 'shims')), '700');
    assert.equal(mode(join(instance.run, 'register.sock')), '660');
    assert.equal(statSync(join(instance.run, 'register.sock')).gid, testUids.operators);
    assert.equal(mode(join(instance.state, 'checkpoints')), '700');
    assert.equal(mode(join(instance.state, 'checkpoints', 'secret.key')), '600');
    assert.equal(mode(join(instance.state, 'gateway')), '700');
    assert.equal(statSync(join(instance.state, 'ledger')).uid, testUids.ledger);
    assert.equal(mode(join(instance.state, 'log', 'gateway.log')), '640');
  });

  it('stops everything on SIGTERM and leaves nothing', async () => {
    const pids = await Promise.all(['gateway', 'ledger', 'worker:1', 'worker:2'].map(async (name) => (await instance.service(name)).pid));
    pids.push(instance.daemonPid);
    assert.equal(await instance.stop(), 0);
    for (const pid of pids) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left`);
    assert.deepEqual(instance.leftovers(), []);
  });
});
