/** Sandboxes' lives: creation undoes itself, two differ in everything, a restart opens nothing. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { reservedNames, type CreateSandbox } from '@nemoclaw/contract';
import { blueprintFiles, FakeWorker, makeWorld, refusal, type World } from '../fake-world.ts';
import { setPolicy } from '../policy/change.ts';
import { createSandbox } from './create.ts';
import { destroySandbox, startSandbox, stopSandbox } from './life.ts';
import { raiseLabel } from './raise-label.ts';

const uid = 1000;

function inWorld(body: (world: World) => Promise<void>, files: Record<string, string> = {}): () => Promise<void> {
  return async () => {
    const world = await makeWorld({ files });
    try {
      await body(world);
    } finally {
      await world.close();
    }
  };
}
const make = (world: World, name = 'helper', more: Partial<Parameters<typeof createSandbox>[1]> = {}) => createSandbox(world.gateway.house, { name, blueprint: 'support', ...more }, uid);

/** Nothing of a sandbox is anywhere. */
async function nothingLeft(world: World): Promise<void> {
  assert.equal(world.backend.sandboxes.size, 0);
  assert.equal(world.gateway.house.sandboxes.all().length, 0);
  assert.deepEqual((await world.store.list('name/')).map((entry) => entry.key), []);
  assert.deepEqual((await world.store.list('sandbox/')).map((entry) => entry.key), []);
  assert.equal(world.worker.configs.size, 0);
}

describe('creation', () => {
  test('goes through every phase and ends running', inWorld(async (world) => {
    const live = await make(world);
    const record = live.record.value;
    assert.equal(record.state, 'running');
    for (const phase of ['host', 'load', 'compile', 'certificates', 'store', 'plan', 'launch', 'configure', 'launch.launch']) assert.ok(phase in record.phases, phase);
    assert.deepEqual(record.probe, world.backend.probe);
    const config = world.worker.configs.get(record.id);
    assert.ok(config);
    assert.equal(config.version, 1);
    assert.equal(config.providers[0]?.baseUrl, 'http://127.0.0.1:8930/v1');
    assert.match(config.ca.certPem, /BEGIN CERTIFICATE/);
    assert.ok(!JSON.stringify(config).includes(live.ca.value.root.keyPem.split('\n')[1] ?? '?'), 'the key of the root left the gateway');
    assert.ok(record.env.includes(`NEMOCLAW_API_KEY=${record.placeholderKey}`));
  }));

  test('refuses names of the command line and names that are taken', inWorld(async (world) => {
    for (const name of [...reservedNames, 'Upper', '1st', 'a'.repeat(33), '', 'a_b', '../x']) await assert.rejects(make(world, name), refusal('NEMO_E_NAME'));
    await make(world);
    await assert.rejects(make(world), refusal('NEMO_E_CONFLICT'));
    const both = await Promise.allSettled([make(world, 'same'), make(world, 'same')]);
    assert.equal(both.filter((result) => result.status === 'fulfilled').length, 1);
  }));

  test('undoes everything when the kernel side fails', inWorld(async (world) => {
    world.backend.failing.set('create', Object.assign(new Error('view: mount: EPERM'), { code: 'view' }));
    await assert.rejects(make(world), refusal('NEMO_E_CREATE'));
    await nothingLeft(world);
    world.backend.failing.clear();
    await make(world);
  }));

  test('undoes everything when a probe is not stopped, or proves nothing', inWorld(async (world) => {
    for (const probe of [{ 'landlock.write': true, 'seccomp.mount': false }, {}]) {
      world.backend.probe = probe;
      await assert.rejects(make(world), refusal('NEMO_E_PROBE'));
      await nothingLeft(world);
    }
  }));

  test('undoes everything when the worker refuses', inWorld(async (world) => {
    world.worker.reply = () => 'bad policy';
    await assert.rejects(make(world), refusal('NEMO_E_APPLY'));
    await nothingLeft(world);
  }));

  test('makes nothing without the record', inWorld(async (world) => {
    world.record.broken = true;
    await assert.rejects(make(world), refusal('NEMO_E_RECORD'));
    await nothingLeft(world);
  }));

  test('a policy that the host cannot enforce refuses to start', inWorld(async (world) => {
    world.backend.facts = { tier: 'C' };
    world.blueprint({ 'sandbox.yaml': `${blueprintFiles['sandbox.yaml'] ?? ''}  requires: [tier-b]\n` });
    await assert.rejects(make(world), refusal('NEMO_E_POLICY_NEEDS'));
    await nothingLeft(world);
  }));

  test('a workspace is used only by who registered it', inWorld(async (world) => {
    world.backend.registrations = [{ id: 'w1', uid: 1001, gid: 1001, path: '/home/other/work' }];
    await assert.rejects(make(world, 'helper', { registration: 'w1' }), refusal('NEMO_E_WORKSPACE'));
    world.backend.registrations = [{ id: 'w1', uid, gid: uid, path: '/home/me/work' }];
    const live = await make(world, 'helper', { registration: 'w1' });
    assert.equal(world.backend.sandboxes.get(live.record.value.id)?.registration, 'w1');
  }));
});

describe('providers', () => {
  test('two sandboxes at once share nothing', inWorld(async (world) => {
    const one = await make(world, 'one', { provider: { kind: 'openai', model: 'gpt', apiKey: 'key-of-one-000000' } });
    const two = await make(world, 'two', { provider: { kind: 'compatible', endpoint: 'http://127.0.0.1:9000/v1/', model: 'local', apiKey: 'key-of-two-000000' } });
    const [a, b] = [world.worker.configs.get(one.record.value.id), world.worker.configs.get(two.record.value.id)];
    assert.ok(a && b);
    assert.deepEqual([a.providers[0]?.apiKey, b.providers[0]?.apiKey], ['key-of-one-000000', 'key-of-two-000000']);
    assert.deepEqual([a.providers[0]?.location, b.providers[0]?.location], ['cloud', 'local']);
    assert.notEqual(a.placeholderKey, b.placeholderKey);
    assert.notEqual(a.ca.rootPem, b.ca.rootPem);
    const kept = JSON.stringify([await world.store.list(''), world.record.events]);
    assert.ok(!kept.includes('key-of-one') && !kept.includes('key-of-two'), 'a key is in store or record');
    assert.match(readFileSync(join(world.dir, 'gateway', 'secrets.json'), 'utf8'), /key-of-one/);
    await destroySandbox(world.gateway.house, 'one', uid);
    assert.ok(!readFileSync(join(world.dir, 'gateway', 'secrets.json'), 'utf8').includes('key-of-one'));
  }));

  test('a missing key, model or endpoint is found before anything is made', inWorld(async (world) => {
    for (const provider of [{ kind: 'openai', model: 'gpt' }, { kind: 'vllm' }, { kind: 'compatible', model: 'm' }, { kind: 'demo', endpoint: 'https://api.example.com/v1' }] as const)
      await assert.rejects(make(world, 'helper', { provider }), refusal('NEMO_E_PROVIDER'));
    await nothingLeft(world);
  }));

  test('the key of the host goes to no endpoint that a caller names', inWorld(async (world) => {
    writeFileSync(join(world.dir, 'gateway', 'secrets.json'), JSON.stringify({ env: { OPENAI_API_KEY: 'key-of-the-host' } }), { mode: 0o600 });
    await world.restart();
    const keyFor = async (name: string, provider: CreateSandbox['provider']): Promise<string | undefined> => {
      const live = await make(world, name, { provider });
      return world.worker.configs.get(live.record.value.id)?.providers[0]?.apiKey;
    };
    assert.equal(await keyFor('own', { kind: 'openai', model: 'gpt' }), 'key-of-the-host');
    assert.equal(await keyFor('same', { kind: 'openai', model: 'gpt', endpoint: 'https://api.openai.com/v1/' }), 'key-of-the-host');
    for (const [i, endpoint] of ['http://127.0.0.1:9/v1', 'https://api.openai.com.evil.example/v1', 'http://api.openai.com/v1', 'https://api.openai.com/other'].entries()) {
      assert.equal(await keyFor(`other-${i}`, { kind: 'openai', model: 'gpt', endpoint }), '', endpoint);
    }
    assert.equal(await keyFor('given', { kind: 'openai', model: 'gpt', endpoint: 'http://127.0.0.1:9/v1', apiKey: 'key-of-the-caller' }), 'key-of-the-caller');
  }));

  test('scripted approvals never meet a real model', inWorld(async (world) => {
    await assert.rejects(make(world, 'helper', { provider: { kind: 'ollama', model: 'm' } }), refusal('NEMO_E_DEMO_ANSWERS'));
    world.blueprint({ 'inference.yaml': 'providers: [{ name: o, kind: ollama, endpoint: "http://127.0.0.1:11434/v1", model: m, location: local }]\ndefault: o\n', 'blueprint.yaml': `${blueprintFiles['blueprint.yaml']}demo: { approvedRequests: ["${'0'.repeat(64)}"] }\n` });
    await assert.rejects(make(world), refusal('NEMO_E_DEMO_ANSWERS'));
    await nothingLeft(world);
  }, { 'blueprint.yaml': `${blueprintFiles['blueprint.yaml']}demo: { approvedRequests: ["${'0'.repeat(64)}"] }\n` }));
});

describe('stop, start, destroy', () => {
  test('stop keeps record and policy, start makes the kernel side again', inWorld(async (world) => {
    const live = await make(world);
    const { id, placeholderKey } = live.record.value;
    await stopSandbox(world.gateway.house, 'helper', uid);
    assert.equal(world.backend.sandboxes.size, 0);
    assert.equal(world.worker.configs.size, 0);
    assert.equal(live.record.value.state, 'stopped');
    await startSandbox(world.gateway.house, 'helper', uid);
    assert.equal(live.record.value.state, 'running');
    assert.ok(world.backend.sandboxes.has(id));
    assert.equal(world.worker.configs.get(id)?.placeholderKey, placeholderKey);
  }));

  test('an end on purpose is not told as an end by itself', inWorld(async (world) => {
    const live = await make(world);
    const destroy = world.backend.destroy.bind(world.backend);
    world.backend.destroy = async (id) => {
      const released = await destroy(id);
      await world.gateway.sandboxGone(id, 'as asked');
      return released;
    };
    await stopSandbox(world.gateway.house, 'helper', uid);
    assert.equal(live.record.value.state, 'stopped');
    assert.ok(!world.record.events.some((event) => event.message.includes('ended by itself')));
    await startSandbox(world.gateway.house, 'helper', uid);
    world.backend.sandboxes.clear();
    await world.gateway.sandboxGone(live.record.value.id, 'init was killed');
    assert.equal(live.record.value.state, 'failed');
  }));

  test('a start that fails leaves it stopped', inWorld(async (world) => {
    const live = await make(world);
    await stopSandbox(world.gateway.house, 'helper', uid);
    world.backend.failing.set('create', new Error('no'));
    await assert.rejects(startSandbox(world.gateway.house, 'helper', uid), refusal('NEMO_E_CREATE'));
    assert.equal(live.record.value.state, 'stopped');
    assert.equal(world.worker.configs.size, 0);
  }));

  test('what is asked for is on record before it is done, and what came of it after', inWorld(async (world) => {
    await make(world);
    const said = (): string[] => world.record.events.splice(0).map(({ message }) => message).filter((message) => / be | is (?:started|stopped|removed)/.test(message));
    said();
    const destroy = world.backend.destroy.bind(world.backend);
    world.backend.destroy = (id) => {
      assert.deepEqual(said(), ['The sandbox helper is to be stopped.']);
      return destroy(id);
    };
    await stopSandbox(world.gateway.house, 'helper', uid);
    assert.deepEqual(said(), ['The sandbox helper is stopped.']);
    world.backend.destroy = destroy;
    world.backend.failing.set('create', new Error('no'));
    await assert.rejects(startSandbox(world.gateway.house, 'helper', uid));
    assert.deepEqual(said(), ['The sandbox helper is to be started.', 'The sandbox helper could not be started.']);
    world.backend.failing.delete('create');
    await destroySandbox(world.gateway.house, 'helper', uid);
    assert.deepEqual(said(), ['The sandbox helper is to be removed.', 'The sandbox helper is removed.']);
  }));

  test('destroy leaves nothing', inWorld(async (world) => {
    await make(world);
    await destroySandbox(world.gateway.house, 'helper', uid);
    await nothingLeft(world);
    await assert.rejects(destroySandbox(world.gateway.house, 'helper', uid), refusal('NEMO_E_NOT_FOUND'));
  }));

  test('a sandbox that ended by itself is failed and can be started', inWorld(async (world) => {
    const live = await make(world);
    world.backend.sandboxes.clear();
    await world.gateway.sandboxGone(live.record.value.id, 'init was killed');
    assert.equal(live.record.value.state, 'failed');
    await startSandbox(world.gateway.house, 'helper', uid);
    assert.equal(live.record.value.state, 'running');
  }));
});

describe('policy', () => {
  const allow = (host: string): string => `networkPolicy: { name: support, egress: { allow: [{ domain: ${host}, methods: [GET] }], deny: [{ domain: "*" }] } }\n`;

  test('is in force when the worker says so, with a new certificate only for new names', inWorld(async (world) => {
    const live = await make(world);
    const before = live.ca.value.intermediate.certPem;
    const applied = await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': allow('api.example.org') } }, uid);
    assert.deepEqual([applied.version, applied.changed], [2, ['network.yaml']]);
    assert.equal(world.worker.configs.get(live.record.value.id)?.version, 2);
    const second = live.ca.value.intermediate.certPem;
    assert.notEqual(second, before);
    await setPolicy(world.gateway.house, 'helper', { files: { 'approvals.yaml': 'timeout: 5m\n' } }, uid);
    assert.equal(live.ca.value.intermediate.certPem, second);
    assert.equal(live.record.value.lastVersion, 3);
    assert.ok(world.record.events.some((event) => event.class === 'configState'));
  }));

  test('errors leave everything unchanged', inWorld(async (world) => {
    const live = await make(world);
    const former = JSON.stringify([live.policy.value, live.ca.value, world.worker.configs.get(live.record.value.id)]);
    const set = (files: Record<string, string>, more = {}) => setPolicy(world.gateway.house, 'helper', { files, ...more }, uid);
    await assert.rejects(set({ 'network.yaml': allow('api.example.org'), 'approvals.yaml': 'timeout: [\n' }), refusal('NEMO_E_POLICY_YAML'));
    await assert.rejects(set({ 'other.yaml': '' }), refusal('NEMO_E_BODY'));
    await assert.rejects(set({ 'blueprint.yaml': blueprintFiles['blueprint.yaml'] ?? '' }), refusal('NEMO_E_BODY'));
    await assert.rejects(set({ 'network.yaml': allow('x.example.org') }, { expectedVersion: 7 }), refusal('NEMO_E_CONFLICT'));
    await assert.rejects(set({ 'sandbox.yaml': (blueprintFiles['sandbox.yaml'] ?? '').replace('workspace, syscalls', 'read-only, syscalls') }), refusal('NEMO_E_STATE'));
    world.record.broken = true;
    await assert.rejects(set({ 'network.yaml': allow('api.example.org') }), refusal('NEMO_E_RECORD'));
    world.record.broken = false;
    assert.equal(JSON.stringify([live.policy.value, live.ca.value, world.worker.configs.get(live.record.value.id)]), former);
  }));

  test('a worker that refuses keeps the former version, and the number is not used again', inWorld(async (world) => {
    const live = await make(world);
    world.worker.reply = (config) => (config.version === 2 ? 'no' : '');
    await assert.rejects(setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': allow('api.example.org') } }, uid), refusal('NEMO_E_APPLY'));
    assert.equal(live.policy.value.version, 1);
    await world.worker.until((worker) => worker.configs.get(live.record.value.id)?.version === 1);
    const applied = await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': allow('api.example.org') } }, uid);
    assert.equal(applied.version, 3);
  }));

  test('a store that refuses it keeps the former version, and the record says so', inWorld(async (world) => {
    const live = await make(world);
    const { batch } = world.store;
    world.store.batch = () => Promise.reject(new Error('no room'));
    await assert.rejects(setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': allow('api.example.org') } }, uid), /no room/);
    assert.deepEqual([live.policy.value.version, live.inForce.version, world.worker.configs.get(live.record.value.id)?.version], [1, 1, 1]);
    assert.ok(world.record.events.some(({ message }) => message === 'Version 2 of the policy did not come into force; version 1 stays.'));
    world.store.batch = batch;
    assert.equal((await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': allow('api.example.org') } }, uid)).version, 3);
  }));
});

describe('restart', () => {
  const inventory = (world: World) => ({ t: 'inventory' as const, sandboxes: [...world.backend.sandboxes.keys()].map((sandbox) => ({ sandbox, init: 1, uid: 200_000, execs: [] })), holds: [], workers: ['worker:1'] });

  test('running sandboxes go on, with the same keys, certificates, policy and label', inWorld(async (world) => {
    const live = await make(world);
    const { id } = live.record.value;
    await raiseLabel(world.gateway.house, id, 'confidential', 'read a record');
    const before = world.worker.configs.get(id);
    await world.restart();
    await world.gateway.inventory(inventory(world));
    const after = await world.worker.until((worker) => worker.configs.get(id));
    // What is left of its rates only a worker can say now.
    assert.deepEqual({ ...after, label: '', rates: undefined }, { ...before, label: '', rates: undefined });
    assert.equal(after.label, 'confidential');
    assert.equal(world.gateway.house.sandboxes.must('helper').record.value.state, 'running');
  }));

  test('what only one side knows is ended', inWorld(async (world) => {
    await make(world, 'lost');
    await make(world, 'kept');
    const lost = world.gateway.house.sandboxes.must('lost').record.value.id;
    world.backend.sandboxes.delete(lost);
    world.backend.sandboxes.set('stranger', { plan: {}, registration: '', worker: 'worker:1' });
    await world.restart();
    await world.gateway.inventory(inventory(world));
    assert.equal(world.gateway.house.sandboxes.must('lost').record.value.state, 'stopped');
    assert.equal(world.gateway.house.sandboxes.must('kept').record.value.state, 'running');
    assert.ok(!world.backend.sandboxes.has('stranger'));
  }));

  test('a half-made sandbox is undone', inWorld(async (world) => {
    const live = await make(world);
    const entry = await world.store.get(`sandbox/${live.record.value.id}/record`);
    assert.ok(entry);
    await world.store.put(entry.key, { ...live.record.value, state: 'creating' }, entry.revision);
    await world.restart();
    await world.gateway.inventory(inventory(world));
    await nothingLeft(world);
  }));

  test('a worker that comes back gets what it owns', inWorld(async (world) => {
    const live = await make(world);
    world.worker.socket.destroy();
    world.worker = new FakeWorker(world.gateway);
    await world.worker.until((worker) => worker.configs.get(live.record.value.id));
  }));

  test('a worker that comes back knows what its rates had left; after a restart of the gateway nobody does until a worker says it', inWorld(async (world) => {
    const live = await make(world);
    const { id } = live.record.value;
    assert.deepEqual(world.worker.configs.get(id)?.rates, []);
    const rates = [{ key: 'egress.allow[0] 2/3600000', left: 0.5, at: 1 }];
    const back = async (): Promise<void> => {
      world.worker.socket.destroy();
      world.worker = new FakeWorker(world.gateway);
      await world.worker.until((worker) => worker.configs.get(id));
    };
    world.worker.say({ t: 'rates', sandbox: id, rates });
    while (live.rates?.length !== 1) await new Promise((next) => setImmediate(next));
    await back();
    assert.deepEqual(world.worker.configs.get(id)?.rates, rates);
    await world.restart();
    await world.gateway.inventory(inventory(world));
    await world.worker.until((worker) => worker.configs.get(id));
    assert.equal(world.worker.configs.get(id)?.rates, undefined);
  }));

  test('a trust anchor that comes late or changes reaches the worker', inWorld(async (world) => {
    const anchor = join(world.dir, 'anchors', 'own-ca.pem');
    mkdirSync(join(world.dir, 'anchors'));
    writeFileSync(anchor, 'first');
    world.blueprint({ 'network.yaml': 'networkPolicy: { name: support, egress: { allow: [{ domain: crm.acme.example, addresses: [127.0.0.1], ca: own-ca.pem }] } }\n' });
    const live = await make(world);
    const ca = (worker: FakeWorker): string | undefined => worker.configs.get(live.record.value.id)?.upstreams[0]?.caPem;
    assert.equal(ca(world.worker), 'first');
    await world.gateway.sweep();
    writeFileSync(anchor, 'second');
    await world.gateway.sweep();
    assert.equal(ca(world.worker), 'second');
    rmSync(anchor);
    await world.restart();
    await world.gateway.inventory(inventory(world));
    await world.gateway.sweep();
    assert.equal(ca(world.worker), undefined);
    assert.ok(world.record.events.some((event) => event.message.includes('has no data plane')));
    writeFileSync(anchor, 'third');
    await world.gateway.sweep();
    assert.equal(ca(world.worker), 'third');
  }));

  test('a sandbox that can read a labelled folder starts with that label, on record, before its worker has it', inWorld(async (world) => {
    world.blueprint({ 'sandbox.yaml': (blueprintFiles['sandbox.yaml'] ?? '').replace('filesystem: {', 'filesystem: { labels: [{ path: /workspace/hr/**, level: confidential }],') });
    const live = await make(world);
    assert.equal(live.record.value.label, 'confidential');
    assert.equal(world.worker.configs.get(live.record.value.id)?.label, 'confidential');
    assert.ok(world.record.events.some((event) => /label of .* rises from public to confidential/.test(event.message)));
  }));

  test('a sandbox with a labelled host has that label from its start, and from the change of policy that labels one', inWorld(async (world) => {
    const labelled = (level: string): string => `networkPolicy: { name: support, egress: { allow: [{ domain: crm.example.org }] }, labels: [{ domain: crm.example.org, level: ${level} }] }\n`;
    world.blueprint({ 'network.yaml': labelled('confidential') });
    const live = await make(world);
    const inWorker = (): string | undefined => world.worker.configs.get(live.record.value.id)?.label;
    assert.deepEqual([live.record.value.label, inWorker()], ['confidential', 'confidential']);
    await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': labelled('restricted') } }, uid);
    assert.deepEqual([live.record.value.label, inWorker()], ['restricted', 'restricted']);
    assert.ok(world.record.events.some((event) => JSON.stringify(event).includes('networkPolicy.labels[0]')));
  }));

  test('a label never falls', inWorld(async (world) => {
    const live = await make(world);
    await raiseLabel(world.gateway.house, live.record.value.id, 'restricted', 'x');
    await raiseLabel(world.gateway.house, live.record.value.id, 'internal', 'x');
    assert.equal(live.record.value.label, 'restricted');
  }));
});
