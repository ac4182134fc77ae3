/** Credentials through the gateway: what the worker gets, what the agent sees, what nobody sees, and tokens that are renewed at a token server that checks what it is asked. */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { credentialSchema, type CredentialInput, type SandboxConfig } from '@nemoclaw/contract';
import { getToken } from '@nemoclaw/network-policy';
import { makeWorld, refusal, type World } from '../fake-world.ts';
import { environmentOf } from '../sandboxes/bring-up.ts';
import { createSandbox } from '../sandboxes/create.ts';
import { destroySandbox } from '../sandboxes/life.ts';
import { setPolicy } from '../policy/change.ts';
import { blueprintFiles } from '../fake-blueprint.ts';
import { listCredentials, removeCredential, renewAsked, renewEnding, setCredential } from './manage.ts';

const set = (world: World, name: string, given: CredentialInput) => setCredential(world.gateway.house, 'helper', name, credentialSchema.parse(given), 1000);

describe('credentials', () => {
  let world: World;
  const asked: { authorization: string | undefined; form: Record<string, string> }[] = [];
  let answer: { status: number; body: string } = { status: 200, body: '' };
  const server = createServer((req, res) => {
    let text = '';
    req.on('data', (part: Buffer) => {
      text += part.toString();
    });
    req.on('end', () => {
      assert.equal(req.method, 'POST');
      assert.equal(req.headers['content-type'], 'application/x-www-form-urlencoded');
      asked.push({ authorization: req.headers.authorization, form: Object.fromEntries(new URLSearchParams(text)) });
      res.writeHead(answer.status, { 'content-type': 'application/json' });
      res.end(answer.body);
    });
  });
  const oauth = (): CredentialInput => ({ kind: 'oauth2', tokenUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`, clientId: 'the client', clientSecret: 'client:secret', refreshToken: 'refresh-one', host: 'crm.acme.example', env: 'CRM_TOKEN' });
  const config = (): SandboxConfig => [...world.worker.configs.values()][0] ?? assert.fail('no configuration');
  const id = (): string => config().sandbox;

  before(async () => {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(async (t) => {
    asked.length = 0;
    world = await makeWorld();
    await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, 1000);
    if ('after' in t) t.after(() => world.close());
  });

  test('the worker gets the value, the agent its placeholder, a person neither', async () => {
    const view = await set(world, 'crm', { kind: 'header', value: 'tok-live-123456', host: 'crm.acme.example', env: 'CRM_TOKEN', pathPrefix: '/v1' });
    assert.match(view.placeholder, /^nemoclaw-credential-crm-/);
    assert.deepEqual(config().credentials, [{ placeholder: view.placeholder, value: 'tok-live-123456', host: 'crm.acme.example', header: 'authorization', pathPrefix: '/v1', port: 443 }]);
    const live = world.gateway.house.sandboxes.must('helper');
    assert.ok(environmentOf(world.gateway.house, live).includes(`CRM_TOKEN=${view.placeholder}`));
    const told = JSON.stringify([listCredentials(world.gateway.house, 'helper'), world.record]);
    assert.ok(!told.includes('tok-live'), 'neither in an answer nor on record');
    assert.equal(statSync(join(world.dir, 'gateway/credentials.json')).mode & 0o777, 0o600);
    // A new value leaves the placeholder, so that running programs go on; a restart of the gateway leaves both.
    assert.equal((await set(world, 'crm', { kind: 'header', value: 'tok-live-789012', host: 'crm.acme.example' })).placeholder, view.placeholder);
    await world.restart();
    assert.equal(listCredentials(world.gateway.house, 'helper')[0]?.placeholder, view.placeholder);
    await removeCredential(world.gateway.house, 'helper', 'crm', 1000);
    assert.deepEqual(config().credentials, []);
    await assert.rejects(removeCredential(world.gateway.house, 'helper', 'crm', 1000), refusal('NEMO_E_NOT_FOUND'));
  });

  test('a key pair for signing is given whole to the worker; tools find placeholders of the right form', async () => {
    const view = await set(world, 'aws', { kind: 'sigv4', value: 'wJalrXUtnFEMI/K7MDENG', accessKeyId: 'AKIAIOSFODNN7EXAMPLE', host: 's3.eu-central-1.amazonaws.com', region: 'eu-central-1', service: 's3' });
    assert.match(view.placeholder, /^[A-Z0-9]{16,128}$/);
    assert.deepEqual(config().credentials[0]?.sigv4, { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', region: 'eu-central-1', service: 's3' });
    const env = environmentOf(world.gateway.house, world.gateway.house.sandboxes.must('helper'));
    assert.ok(env.includes(`AWS_ACCESS_KEY_ID=${view.placeholder}`) && env.some((one) => one.startsWith('AWS_SECRET_ACCESS_KEY=')));
    assert.ok(!env.join().includes('wJalr') && !env.join().includes('AKIAIOS'));
  });

  test('nothing is in force that could not be put on record; names, lines and values are checked', async () => {
    world.record.broken = true;
    await assert.rejects(set(world, 'crm', { kind: 'header', value: 'tok-live-123456', host: 'crm.acme.example' }), refusal('NEMO_E_RECORD'));
    world.record.broken = false;
    assert.deepEqual([config().credentials, listCredentials(world.gateway.house, 'helper')], [[], []]);
    await assert.rejects(set(world, '../x', { kind: 'key', value: 'a long key' }), refusal('NEMO_E_BODY'));
    for (const bad of [{ kind: 'header', value: 'two\nlines', host: 'a.example' }, { kind: 'header', value: 'abcdef', host: 'a.example/x' }, { kind: 'header', value: 'abcdef', host: '*.example' }, { kind: 'header', value: 'abcdef', host: 'a.example', header: 'X: y' }, { kind: 'other', value: 'abcdef' }]) {
      assert.equal(credentialSchema.safeParse(bad).success, false, JSON.stringify(bad));
    }
  });

  test('an access token is got with the refresh token, which may change, and renewed before its end and when it is refused', async () => {
    answer = { status: 200, body: JSON.stringify({ access_token: 'access-one', token_type: 'Bearer', expires_in: 3600, refresh_token: 'refresh-two' }) };
    const view = await set(world, 'crm', oauth());
    assert.deepEqual(asked, [{ authorization: `Basic ${Buffer.from('the%20client:client%3Asecret').toString('base64')}`, form: { grant_type: 'refresh_token', refresh_token: 'refresh-one' } }]);
    assert.deepEqual(config().credentials.map(({ value, renewable }) => [value, renewable]), [['access-one', true]]);
    // Refused at once: another token would not help.
    assert.equal(await renewAsked(world.gateway.house, id(), view.placeholder), true);
    assert.equal(asked.length, 1);
    world.clock.time += 20_000;
    answer = { status: 200, body: JSON.stringify({ access_token: 'access-two', token_type: 'bearer', expires_in: 3600 }) };
    assert.equal(await renewAsked(world.gateway.house, id(), view.placeholder), true);
    assert.deepEqual([asked[1]?.form['refresh_token'], config().credentials[0]?.value], ['refresh-two', 'access-two']);
    await renewEnding(world.gateway.house);
    assert.equal(asked.length, 2, 'it lasts');
    world.clock.time += 3_550_000;
    answer = { status: 200, body: JSON.stringify({ access_token: 'access-three', token_type: 'bearer', expires_in: 3600 }) };
    await renewEnding(world.gateway.house);
    assert.equal(config().credentials[0]?.value, 'access-three');
    assert.equal(await renewAsked(world.gateway.house, id(), 'another'), false);
    const told = JSON.stringify([world.record, listCredentials(world.gateway.house, 'helper')]);
    for (const secret of ['access-', 'refresh-', 'client:secret']) assert.ok(!told.includes(secret), secret);
  });

  test('without a token nothing is put in, the credential says why, and it is tried again later, not at once', async () => {
    for (const bad of [{ status: 400, body: '{"error":"invalid_grant","error_description":"refresh-one"}' }, { status: 200, body: '<html>' }, { status: 200, body: '{"access_token":"abcdef","token_type":"mac"}' }, { status: 200, body: 'x'.repeat(100_000) }]) {
      answer = bad;
      const view = await set(world, 'crm', oauth());
      assert.deepEqual(config().credentials, []);
      assert.match(view.problem, /^127\.0\.0\.1:\d+ /);
      assert.ok(!view.problem.includes('refresh-one'));
    }
    const before = asked.length;
    await renewEnding(world.gateway.house);
    await renewEnding(world.gateway.house);
    assert.equal(asked.length, before + 1);
    world.clock.time += 31_000;
    answer = { status: 200, body: JSON.stringify({ access_token: 'access-one', token_type: 'Bearer' }) };
    await renewEnding(world.gateway.house);
    assert.equal(config().credentials[0]?.value, 'access-one');
    await assert.rejects(async () => getToken({ ...(credentialSchema.parse(oauth()) as never as Parameters<typeof getToken>[0]), tokenUrl: 'http://token.example/token' }), /https only/);
  });

  test('a rule for callers is in force with its key, and admits nobody without it', async () => {
    const network = `${blueprintFiles['network.yaml']}  ingress:\n    allow:\n      - { source: webhook.salesforce.com, path: /hooks/**, port: 8080, rate: 60/m, auth: { hmac: { header: x-signature, secret: hook, prefix: "sha256=" } } }\n      - { source: webhook.example.com, path: /other }\n`;
    await setPolicy(world.gateway.house, 'helper', { files: { 'network.yaml': network } }, 1000);
    assert.deepEqual(config().ingress, []);
    await set(world, 'hook', { kind: 'key', value: 'shared with the caller' });
    assert.deepEqual(config().ingress, [
      { id: 'ingress.allow[0]', source: 'webhook.salesforce.com', path: '/hooks/**', port: 8080, rate: { count: 60, windowMs: 60_000 }, proof: { kind: 'hmac', header: 'x-signature', key: 'shared with the caller', algorithm: 'sha256', encoding: 'hex', prefix: 'sha256=', timestamp: null } },
    ]);
    assert.deepEqual(config().credentials, []);
    assert.ok(!environmentOf(world.gateway.house, world.gateway.house.sandboxes.must('helper')).join().includes('shared'));
  });

  test('they go with the sandbox', async () => {
    await set(world, 'crm', { kind: 'header', value: 'tok-live-123456', host: 'crm.acme.example' });
    assert.match(readFileSync(join(world.dir, 'gateway/credentials.json'), 'utf8'), /tok-live/);
    await destroySandbox(world.gateway.house, 'helper', 1000);
    assert.equal(readFileSync(join(world.dir, 'gateway/credentials.json'), 'utf8'), '{}');
  });
});
