/** What the gateway makes of its environment: who is refused, who counts as a person, where things are. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NemoError } from '@nemoclaw/contract';
import { checkPeer } from '../api/peers.ts';
import { locationOf } from '../sandboxes/providers.ts';
import { Secrets } from '../sandboxes/secrets.ts';
import { countPeople, operatorsGroup, peerRulesFrom, settingsFrom } from './gateway-settings.ts';

const refused = (peer: { uid: number } | undefined, env: Record<string, string>): boolean => {
  try {
    checkPeer(peer, peerRulesFrom(env));
    return false;
  } catch (error) {
    assert.ok(error instanceof NemoError && error.code === 'NEMO_E_PEER');
    return true;
  }
};

test('services and sandboxes are refused, people are not, in both spellings of the range', () => {
  for (const range of ['200000:4096', '200000,4096']) {
    const env = { NEMOCLAW_SERVICE_UIDS: '991,992,993', NEMOCLAW_AGENT_UIDS: range };
    for (const uid of [991, 993, 200_000, 204_095]) assert.ok(refused({ uid }, env), String(uid));
    for (const uid of [0, 1000, 199_999, 204_096]) assert.ok(!refused({ uid }, env), String(uid));
    assert.ok(refused(undefined, env));
  }
});

test('without a range everything above the login range is refused', () => {
  for (const uid of [65_536, 200_000, 4_294_967_294]) assert.ok(refused({ uid }, {}));
  assert.ok(!refused({ uid: 1000 }, {}));
});

test('people are the members of the group, at least one', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-settings-'));
  try {
    const file = join(dir, 'group');
    writeFileSync(file, 'root:x:0:\nnemoclaw-operators:x:995:ada,grace\nempty:x:996:\n');
    assert.deepEqual([countPeople(995, file), countPeople(996, file), countPeople(997, file), countPeople(undefined, file), countPeople(995, join(dir, 'none'))], [2, 1, 1, 1, 1]);
    assert.equal(operatorsGroup({ NEMOCLAW_OPERATORS_GID: '995' }), 995);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('secrets that others can read are refused, and are written for the owner only', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nemoclaw-settings-'));
  try {
    const file = join(dir, 'secrets.json');
    const provider = { name: 'openai', kind: 'openai', model: 'm', endpoint: 'https://api.openai.com/v1', location: 'cloud', apiKeyEnv: 'OPENAI_API_KEY' } as const;
    const secrets = new Secrets(file, new Map([['OPENAI_API_KEY', 'of-the-process']]));
    assert.equal(secrets.keyOf('s1', provider), 'of-the-process');
    secrets.set('s1', 'openai', 'of-the-sandbox');
    assert.equal(new Secrets(file).keyOf('s1', provider), 'of-the-sandbox');
    assert.equal(new Secrets(file).keyOf('s2', provider), undefined);
    writeFileSync(join(dir, 'open.json'), '{}', { mode: 0o644 });
    assert.throws(() => new Secrets(join(dir, 'open.json')), NemoError);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('only an address of this machine counts as local', () => {
  for (const endpoint of ['http://127.0.0.1:8000/v1', 'http://localhost/v1', 'http://[::1]:1/v1', 'http://127.9.9.9/v1']) assert.equal(locationOf(endpoint), 'local', endpoint);
  for (const endpoint of ['https://api.openai.com/v1', 'http://192.168.1.5/v1', 'http://127.0.0.1.evil.example/v1', 'http://localhost.evil.example/v1', 'http://10.0.0.1/v1']) assert.equal(locationOf(endpoint), 'cloud', endpoint);
});

test('paths hang under the given folders; the demo model exists only where the demo does', () => {
  const settings = settingsFrom({ NEMOCLAW_RUN: '/r', NEMOCLAW_STATE: '/s', NEMOCLAW_PREFIX: '/p' }, '1');
  assert.deepEqual([settings.run, settings.agentsDir, settings.blueprintDirs[0], settings.demoEndpoint], ['/r', '/s/agents', '/p/lib/blueprints', '']);
  assert.equal(settingsFrom({ NEMOCLAW_DEMO_DIR: '/d' }, '1').demoEndpoint, 'http://127.0.0.1:8930/v1');
});
