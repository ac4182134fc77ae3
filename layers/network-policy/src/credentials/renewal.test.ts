/** A credential that the other side refuses is renewed once, and the request is sent again where all of it is still here. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { Dispatcher } from 'undici';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { RenewingHandler } from './renewal.ts';

const placeholder = 'nemo-placeholder-renewable';
const former = 'token-number-one-1111';
const newer = 'token-number-two-2222';
const binding = { placeholder, host: 'api.test', header: 'authorization', pathPrefix: '', renewable: true as const };

let desk: Desk;
let api: Upstream;
let seen: { readonly method: string; readonly authorization: string; readonly body: string }[] = [];
let asked: string[] = [];
let accepted = newer;
let refusal = 'unauthorised';

afterEach(async () => {
  await desk.close();
  await api.close();
});

/** `gets`: what the gateway answers; it puts the newer value in force before a yes. */
async function open(gets: (placeholder: string) => Promise<boolean>, judgeReadsBody = true): Promise<void> {
  seen = [];
  asked = [];
  accepted = newer;
  refusal = 'unauthorised';
  api = await openUpstream((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => { body += chunk.toString('latin1'); });
    req.on('end', () => {
      const authorization = req.headers.authorization ?? '';
      seen.push({ method: req.method ?? '', authorization, body });
      const fine = authorization === `Bearer ${accepted}`;
      res.writeHead(fine ? 200 : 401, { 'content-type': 'text/plain', ...(!fine && refusal === '' ? { 'content-length': '0' } : {}), 'x-echo': `${former} ${authorization}` });
      res.end(fine ? `welcome ${authorization}, and not ${former} any more` : refusal);
    });
  }, 'api.test');
  desk = await openDesk({
    rules: [{ host: 'api.test', verdict: 'allow', ...(judgeReadsBody ? { body: () => true } : {}) }],
    pins: [{ host: 'api.test', caPem: api.caPem ?? '' }], ports: [api.port], credentials: [{ ...binding, value: former }],
    renew: async (name) => {
      asked.push(name);
      return gets(name);
    },
  });
  if (!judgeReadsBody) desk.policy.scan = false;
}

const inForce = async (): Promise<boolean> => {
  desk.egress.update({ ...desk.config, credentials: [{ ...binding, value: newer }] });
  return true;
};

async function call(head: string, body = ''): Promise<string> {
  const text = `${head} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\n${body === '' ? '' : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`}\r\n${body}`;
  return say(await desk.tls('api.test', api.port), text, wholeAnswer);
}

test('a request without a body is sent again, and neither value comes back', async () => {
  await open(inForce);
  const answer = await call('GET /v1');
  assert.match(answer, /^HTTP\/1\.1 200[\s\S]*welcome/);
  for (const value of [former, newer]) assert.ok(!answer.includes(value), answer);
  assert.deepEqual(seen.map(({ authorization }) => authorization), [`Bearer ${former}`, `Bearer ${newer}`]);
  assert.deepEqual(asked, [placeholder]);
  // The next one has it from the start.
  assert.match(await call('GET /v1'), /^HTTP\/1\.1 200/);
  assert.equal(seen.length, 3);
  assert.equal(asked.length, 1);
});

test('a refusal without a body that nothing newer comes for is passed on, and the connection goes on', async () => {
  await open(async () => false);
  refusal = '';
  const text = `GET /v1 HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`;
  const answers = await say(await desk.tls('api.test', api.port), text + text, (so) => so.split('HTTP/1.1 401').length === 3);
  assert.equal(answers.split('HTTP/1.1 401').length, 3, answers);
});

test('a body that was kept is sent again whole', async () => {
  await open(inForce);
  assert.match(await call('POST /v1', '{"a":1}'), /^HTTP\/1\.1 200/);
  assert.deepEqual(seen.map(({ body }) => body), ['{"a":1}', '{"a":1}']);
});

test('a body that has passed is not: the refusal goes to the agent, and the next request has the newer value', async () => {
  await open(inForce, false);
  assert.match(await call('POST /v1', '{"a":1}'), /^HTTP\/1\.1 401/);
  assert.equal(seen.length, 1);
  assert.deepEqual(asked, [placeholder]);
  assert.match(await call('POST /v1', '{"a":2}'), /^HTTP\/1\.1 200/);
});

test('without a newer value, or with one that is refused too, the refusal is passed on after one question', async () => {
  await open(async () => false);
  const answer = await call('GET /v1');
  assert.match(answer, /^HTTP\/1\.1 401[\s\S]*unauth/);
  assert.ok(!answer.includes(former));
  assert.equal(seen.length, 1);
  assert.equal(asked.length, 1);
  // A yes without a newer value in force is none.
  await desk.close();
  await api.close();
  await open(async () => true);
  assert.match(await call('GET /v1'), /^HTTP\/1\.1 401/);
  assert.equal(seen.length, 1);
  await desk.close();
  await api.close();
  await open(inForce);
  accepted = 'a token that nobody has';
  assert.match(await call('GET /v1'), /^HTTP\/1\.1 401/);
  assert.equal(seen.length, 2);
  assert.equal(asked.length, 1);
});

test('many that are refused at once ask once; a client that goes away while it waits ends its request', async () => {
  let yes: () => void = () => undefined;
  const told = new Promise<void>((done) => { yes = done; });
  await open(async () => {
    await told;
    return inForce();
  });
  const calls = Array.from({ length: 5 }, () => call('GET /v1'));
  const going = await desk.tcp('api.test', api.port);
  const gone = connectTls({ socket: going, servername: 'api.test', ca: desk.rootPem }).on('error', () => undefined);
  gone.write(`GET /gone HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`);
  while (seen.length < 6 || asked.length < 1) await new Promise((done) => setImmediate(done));
  going.resetAndDestroy();
  while (desk.egress.stats().open > 5) await new Promise((done) => setImmediate(done));
  yes();
  for (const answer of await Promise.all(calls)) assert.match(answer, /^HTTP\/1\.1 200/);
  assert.equal(asked.length, 1);
  assert.equal(seen.length, 11);
});

test('a client that does not read is not sent more because no newer value came', async () => {
  const told: string[] = [];
  const controller = { pause: () => void told.push('pause'), resume: () => void told.push('resume') } as unknown as Dispatcher.DispatchController;
  const nothing = (): void => undefined;
  const relay = { onRequestStart: nothing, onResponseStart: (origin: Dispatcher.DispatchController) => origin.pause(), onResponseData: nothing, onResponseEnd: nothing, onResponseError: nothing };
  new RenewingHandler(relay, { renew: async () => false, again: nothing }).onResponseStart(controller, 401, {});
  await new Promise((next) => setImmediate(next));
  assert.deepEqual(told, ['pause', 'resume', 'pause']);
});
