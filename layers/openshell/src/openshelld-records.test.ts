/** Registering workspaces and signing checkpoints with a real openshelld: what is refused, what survives. */
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { LedgerEvent, Registration } from '@nemoclaw/contract';
import { folderOf, refusalOf } from './openshelld-test-folders.ts';
import { TestInstance, testUids } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';

const root = { skip: process.getuid?.() === 0 ? false : 'needs root' };
const person = testUids.person;

describe('registering workspaces', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let home: string;
  const make = (name: string, uid: number, mode?: number): string => folderOf(home, name, uid, mode);
  const refusal = (path: string, uid?: number): Promise<string> => refusalOf(instance, path, uid);
  before(async () => {
    instance = await TestInstance.start({ roles: ['ledger', 'gateway'] });
    gateway = await instance.service('gateway');
    home = mkdtempSync(join(tmpdir(), 'nemoclaw-home-'));
    chmodSync(home, 0o755);
  });
  after(async () => {
    await instance?.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('takes a person’s own folder, tells the gateway, and gives the same id again', async () => {
    const path = make('own', person);
    const first = await instance.register(path, person);
    assert.ok(first.ok);
    assert.match(first.id, /^ws_[0-9a-f]{16}$/);
    const told = await gateway.saw('workspace.registered', (m) => m.registration.id === first.id);
    assert.deepEqual(told.registration, { id: first.id, uid: person, gid: person, path });
    assert.deepEqual(await instance.register(path, person), first);
    // A name is only shown: the same folder under another name is the same workspace.
    renameSync(path, join(home, 'renamed'));
    assert.deepEqual(await instance.register(join(home, 'renamed'), person), first);
  });

  it('gives the id that it gave before, also when it knows nothing any more', async () => {
    const other = await TestInstance.start({ roles: ['ledger', 'gateway'] });
    try {
      const path = make('again', person);
      const first = await instance.register(path, person);
      assert.deepEqual(await other.register(path, person), first);
      assert.ok(first.ok);
      const asRoot = await other.register(path);
      assert.ok(asRoot.ok && asRoot.id !== first.id, 'two people share an id');
    } finally {
      await other.stop();
    }
  });

  it('takes a folder of others only if it is writable', async () => {
    assert.equal(await refusal(make('of-root', 0), person), 'not-yours');
    assert.ok((await instance.register(make('open-to-all', 0, 0o777), person)).ok);
    assert.equal(await refusal(join(make('closed', 0, 0o700), 'inside'), person), 'open');
  });

  it('refuses folders of the system and of NemoClaw, also to root', async () => {
    for (const path of ['/', '/etc', '/usr', '/var', '/home', '/root', '/tmp', '/proc', '/proc/1', '/sys/fs', '/dev', '/usr/lib/']) assert.equal(await refusal(path), 'system', path);
    for (const path of [instance.run, instance.state, join(instance.state, 'gateway'), join(instance.run, 'shims'), instance.root]) assert.equal(await refusal(path), 'system', path);
  });

  it('refuses what is no plain folder', async () => {
    const target = make('target', person);
    symlinkSync(target, join(home, 'link'));
    writeFileSync(join(home, 'file'), '');
    assert.equal(await refusal(join(home, 'link'), person), 'open');
    assert.equal(await refusal(join(home, 'file'), person), 'open');
    assert.equal(await refusal(join(home, 'absent'), person), 'open');
    assert.equal(await refusal('relative', person), 'path');
    assert.equal(await refusal(`/${'x'.repeat(5000)}`, person), 'path');
    assert.equal(await refusal('/proc/self/cwd', person), 'open');
  });

  it('refuses services and sandboxes whatever their groups, and keeps strangers out', async () => {
    const path = make('all', 0, 0o777);
    for (const uid of [testUids.gateway, testUids.worker, testUids.ledger, testUids.demo, testUids.agents, testUids.agents + 63]) assert.equal(await refusal(path, uid), 'identity');
    await assert.rejects(instance.register(path, person, []), /PermissionError/);
  });

  it('survives nonsense on its socket', async () => {
    for (const text of ['nonsense\n', '{"t":"register"}\n', '{"t":"register","path":"/tmp/x","as":0}\n', `${'x'.repeat(20_000)}\n`]) {
      const reply = await new Promise<string>((resolve) => {
        const socket = connect(join(instance.run, 'register.sock'), () => socket.write(text));
        let got = '';
        socket.on('data', (data) => (got += data.toString()));
        socket.on('error', () => resolve(got));
        socket.on('close', () => resolve(got));
      });
      if (reply !== '') assert.equal((JSON.parse(reply) as { code: string }).code, 'protocol');
    }
    const quiet = Array.from({ length: 20 }, () => connect(join(instance.run, 'register.sock')));
    for (const socket of quiet) socket.on('error', () => undefined).destroy();
    assert.ok((await gateway.call('workspaces')) instanceof Array);
  });

  it('keeps registrations through kill -9 of openshelld, and bounds their number', async () => {
    const before = (await gateway.call('workspaces')) as Registration[];
    await instance.killDaemon();
    const after = (await gateway.call('workspaces')) as Registration[];
    const byId = (list: Registration[]): Registration[] => [...list].sort((a, b) => (a.id < b.id ? -1 : 1));
    assert.deepEqual(byId(after), byId(before));
    // A quarter of all for each person; root and others still have a place.
    for (let i = after.filter((one) => one.uid === person).length; i < 8; i++) assert.ok((await instance.register(make(`more-${i}`, person), person)).ok);
    assert.equal(await refusal(make('one-too-many', person), person), 'full');
    assert.ok((await instance.register(make('of-another', person + 7), person + 7)).ok);
    for (let i = ((await gateway.call('workspaces')) as Registration[]).length; i < 32; i++) assert.ok((await instance.register(make(`root-${i}`, 0))).ok);
    assert.equal(await refusal(make('root-too-many', 0)), 'full');
  });
});

describe('signing checkpoints', root, () => {
  let instance: TestInstance;
  let ledger: TestService;
  const head = (n: number): string => n.toString(16).padStart(64, '0');
  const lines = (): { time: number; count: number; head: string; signature: string }[] =>
    readFileSync(join(instance.state, 'checkpoints', 'checkpoints.jsonl'), 'utf8').split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
  const valid = (count: number, of: string, signature: string): boolean => {
    const raw = Buffer.from(readFileSync(join(instance.state, 'checkpoints', 'public.key'), 'utf8').trim(), 'hex');
    const key = createPublicKey({ key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]), format: 'der', type: 'spki' });
    return verify(null, Buffer.from(`nemoclaw-checkpoint-v1\n${count}\n${of}\n`), key, Buffer.from(signature, 'hex'));
  };
  before(async () => {
    instance = await TestInstance.start({ roles: ['ledger', 'gateway'] });
    ledger = await instance.service('ledger');
  });
  after(async () => {
    await instance?.stop();
  });

  it('signs count and head, and writes the line before it answers', async () => {
    const signature = (await ledger.call('sign', 5, head(5), 'commit')) as string;
    assert.ok(valid(5, head(5), signature));
    assert.ok(!valid(6, head(5), signature));
    const line = lines().at(-1);
    assert.deepEqual([line?.count, line?.head, line?.signature], [5, head(5), signature]);
    assert.equal(statSync(join(instance.state, 'checkpoints', 'checkpoints.jsonl')).mode & 0o777, 0o600);
  });

  it('gives the same signature for the same checkpoint, without a second line', async () => {
    const before = lines().length;
    assert.equal(await ledger.call('sign', 5, head(5), 'interval'), lines().at(-1)?.signature);
    assert.equal(lines().length, before);
  });

  it('refuses fewer events, another head for a count, and a head that is no plain word; and says so on the record', async () => {
    const before = lines().length;
    await ledger.call('sign', 9, head(9), 'interval');
    await assert.rejects(ledger.call('sign', 8, head(8), 'commit'), { code: 'checkpoint-refused' });
    await assert.rejects(ledger.call('sign', 9, head(1), 'commit'), { code: 'checkpoint-refused' });
    await assert.rejects(ledger.call('sign', 10, 'x"}\n{"count":1', 'commit'), { code: 'checkpoint-refused' });
    await assert.rejects(ledger.call('sign', 11, '', 'commit'), { code: 'checkpoint-refused' });
    await assert.rejects(ledger.call('sign', -1, head(1), 'commit'), { code: 'checkpoint-refused' });
    assert.equal(lines().length, before + 1);
    const events = ledger.news.flatMap((m) => (m.t === 'event' ? [m.event] : []));
    assert.ok(events.some((e: LedgerEvent) => e.class === 'detectionFinding' && e.message.includes('rewrote') && e.data?.['count'] === 9));
  });

  it('remembers the last checkpoint and the key through kill -9, and mends a torn line', async () => {
    const key = readFileSync(join(instance.state, 'checkpoints', 'public.key'), 'utf8');
    writeFileSync(join(instance.state, 'checkpoints', 'checkpoints.jsonl'), '{"time":1,"count":99,"he', { flag: 'a' });
    await instance.killDaemon();
    assert.equal(readFileSync(join(instance.state, 'checkpoints', 'public.key'), 'utf8'), key);
    await assert.rejects(ledger.call('sign', 9, head(2), 'commit'), { code: 'checkpoint-refused' });
    const signature = (await ledger.call('sign', 12, head(12), 'stop')) as string;
    assert.ok(valid(12, head(12), signature));
    const all = readFileSync(join(instance.state, 'checkpoints', 'checkpoints.jsonl'), 'utf8');
    assert.match(all, /\{"time":1,"count":99,"he\n\{"time":\d+,"count":12,/);
  });
});
