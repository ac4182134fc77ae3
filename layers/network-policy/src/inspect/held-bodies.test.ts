/** Bodies that are held: as large as the policy says, no slower than a bound, and what is too large to be inspected by the word of its rule. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { after, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Dialogue } from '../protocols/testing-servers.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ask, openHttp2Upstream, openSession } from '../testing/testing-http2.ts';
import type { Http2Upstream } from '../testing/testing-http2.ts';

const card = '4111 1111 1111 1111';
/** As only somebody sees it who reads JSON. */
const escaped = `\\u0034${card.slice(1)}`;
let desk: Desk;
let upstream: Upstream;
let http2: Http2Upstream;
let bytes: number[] = [];
/** Of the last body, whole. */
let digest = '';
/** Whether the other side has seen the number. */
let leaked = false;

before(async () => {
  const count = (body: Readable, answer: () => void): void => {
    let size = 0;
    let tail = '';
    const hash = createHash('sha256');
    body.on('data', (chunk: Buffer) => {
      size += chunk.length;
      hash.update(chunk);
      const window = tail + chunk.toString('latin1');
      leaked ||= window.includes(card);
      tail = window.slice(-32);
    });
    body.on('end', () => {
      // So Node ends a stream of HTTP/2 that was reset, too.
      if ('aborted' in body && body.aborted === true) return;
      bytes.push(size);
      digest = hash.digest('hex');
      answer();
    });
    body.on('error', () => undefined);
  };
  upstream = await openUpstream((req, res) => count(req, () => void res.end('fine')));
  http2 = await openHttp2Upstream((stream) => count(stream, () => {
    stream.respond({ ':status': 200 });
    stream.end('fine');
  }));
  desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port, http2.port] });
});
after(async () => {
  await desk.close();
  await upstream.close();
  await http2.close();
});
beforeEach(() => {
  bytes = [];
  leaked = false;
  desk.policy.inspection = undefined;
});

async function post(body: Buffer, headers: string, to = desk): Promise<string> {
  const socket = await to.tcp('api.test', upstream.port);
  return say(socket, Buffer.concat([Buffer.from(`POST /x HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n${headers}content-length: ${body.length}\r\n\r\n`), body]), wholeAnswer);
}
const json = 'content-type: application/json\r\n';
const large = Buffer.from(`{"filler":"${'x '.repeat(600_000)}","note":"${escaped}"}`);

test('a policy may want more than 1 MiB held and read as a whole', async () => {
  assert.match(await post(large, json), /^HTTP\/1\.1 200/, 'read as it passes, an escape hides it');
  desk.policy.inspection = { scanForPII: true, maxBody: 4 << 20 };
  assert.match(await post(large, json), /^HTTP\/1\.1 403[\s\S]*inspection\.actions\.credit-card/);
  assert.equal(bytes.length, 1);
});

test('a held body that comes too slowly ends with 408, on record, and holds no memory after it', async (t) => {
  const hurried = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port], limits: { bodyMs: 2000 } });
  t.after(() => hurried.close());
  // Together these claim more than all held bodies may have.
  const slow = await Promise.all(Array.from({ length: 30 }, () => hurried.tcp('api.test', upstream.port)));
  const answers = await Promise.all(slow.map((socket, i) => new Dialogue(socket).say(`POST /x HTTP/1.1\r\nhost: api.test\r\n${json}${i % 2 === 0 ? 'content-length: 1000000\r\n\r\n{' : 'transfer-encoding: chunked\r\n\r\n1\r\n{\r\n'}`, wholeAnswer)));
  for (const answer of answers) assert.match(answer, /^HTTP\/1\.1 408[\s\S]*"rule":"proxy\.body-late"/);
  assert.equal(bytes.length, 0);
  assert.equal(hurried.audit.events.filter(({ decision }) => decision?.rules[0]?.id === 'proxy.body-late').length, 30);
  for (let i = 0; hurried.egress.stats().buffered > 0; i += 1) {
    assert.ok(i < 6000, 'it is still held');
    await new Promise((next) => setTimeout(next, 5));
  }
});

/** How bodies come: the answer, and its text. */
const framings: readonly (readonly [string, (type: string, encoding: string, body: Buffer, to?: Desk) => Promise<string>])[] = [
  ['with a length', (type, encoding, body, to) => post(body, fields(type, encoding), to)],
  ['in chunks', async (type, encoding, body, to = desk) => {
    const chunks: Buffer[] = [];
    for (let at = 0; at < body.length; at += 50_000) {
      const chunk = body.subarray(at, at + 50_000);
      chunks.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'));
    }
    return say(await to.tcp('api.test', upstream.port), Buffer.concat([Buffer.from(`POST /x HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n${fields(type, encoding)}transfer-encoding: chunked\r\n\r\n`), ...chunks, Buffer.from('0\r\n\r\n')]), wholeAnswer);
  }],
  ['over HTTP/2, with a length', (type, encoding, body, to) => overHttp2(to ?? desk, type, encoding, body, { 'content-length': String(body.length) })],
  ['over HTTP/2, without one', (type, encoding, body, to) => overHttp2(to ?? desk, type, encoding, body, {})],
];
const fields = (type: string, encoding: string): string => `content-type: ${type}\r\n${encoding === '' ? '' : `content-encoding: ${encoding}\r\n`}`;

async function overHttp2(to: Desk, type: string, encoding: string, body: Buffer, more: Readonly<Record<string, string>>): Promise<string> {
  const session = await openSession(to, 'api.test', http2.port, false);
  try {
    const answer = await ask(session, { ':method': 'POST', ':path': '/x', 'content-type': type, ...(encoding === '' ? {} : { 'content-encoding': encoding }), ...more }, body);
    return `HTTP ${answer.status} ${answer.body}`;
  } finally {
    session.destroy();
  }
}

for (const [how, sendBody] of framings) {
  test(`a body larger than what is held goes on as it comes, searched: ${how}`, async () => {
    const long = 'x '.repeat(2_000_000);
    for (const [type, plain, late] of [
      ['application/json', `{"filler":"${long}"}`, `{"filler":"${long}","note":"${card}"}`],
      ['application/x-www-form-urlencoded', `filler=${long.replaceAll(' ', '+')}`, `filler=${long.replaceAll(' ', '+')}&note=${card}`],
      ['text/plain', long, `${long}${card} and more`],
    ] as const) {
      bytes = [];
      const passed = await sendBody(type, '', Buffer.from(plain));
      assert.match(passed, /^HTTP\S* 200/, passed.slice(0, 500));
      assert.deepEqual(bytes, [plain.length], type);
      const cut = await sendBody(type, '', Buffer.from(late));
      assert.match(cut, /^HTTP\S* 403[^]*inspection\.actions\.credit-card/, cut.slice(0, 500));
      assert.equal(bytes.length, 1, 'what is cut off never ends for the other side');
      assert.equal(leaked, false);
      // Also where the value stands in what was read ahead.
      assert.match(await sendBody(type, '', Buffer.from(`${card} ${plain}`)), /^HTTP\S* 403[^]*inspection\.actions\.credit-card/);
    }
  });

  test(`what arrives is what was sent, and nothing of it stays counted: ${how}`, async (t) => {
    // Three of them would be too much.
    const small = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port, http2.port], limits: { bufferedBytes: 2_500_000 } });
    t.after(() => small.close());
    const body = Buffer.from(`{"a":"${randomBytes(2_000_000).toString('latin1').replaceAll(/[^a-z]/g, '-')}"}`);
    for (let i = 0; i < 4; i += 1) {
      assert.match(await sendBody('application/json', '', body, small), /^HTTP\S* 200/);
      assert.equal(digest, createHash('sha256').update(body).digest('hex'));
      digest = '';
    }
    for (let i = 0; small.egress.stats().buffered > 0; i += 1) {
      assert.ok(i < 6000, 'it is still held');
      await new Promise((next) => setTimeout(next, 5));
    }
  });

  test(`what is encoded and larger than what is held follows the word of its rule: ${how}`, async (t) => {
    const word = (onOversize: 'uninspected' | 'escalate'): void => void Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize, monitor: false }) });
    t.after(() => Object.assign(desk.policy, { terms: () => undefined }));
    const body = gzipSync(randomBytes(1_500_000));
    const uninspected = (): number => desk.audit.events.filter(({ message }) => message.includes('not inspected')).length;
    const before = uninspected();
    const denied = await sendBody('application/json', 'gzip', body);
    assert.match(denied, /^HTTP\S* 403[^]*"rule":"inspection\.maxBody"/);
    assert.match(denied, /The body is encoded, and larger than what is inspected/);
    assert.deepEqual([bytes, uninspected()], [[], before]);
    word('uninspected');
    assert.match(await sendBody('application/json', 'gzip', body), /^HTTP\S* 200/);
    assert.deepEqual([bytes, uninspected()], [[body.length], before + 1]);
    word('escalate');
    const asked = desk.approver.asked.length;
    const answer = sendBody('application/json', 'gzip', body);
    await desk.approver.until(asked + 1);
    assert.equal(bytes.length, 1);
    assert.match(desk.approver.asked[asked]?.detail ?? '', /it is not inspected, and not shown/);
    assert.match(desk.approver.asked[asked]?.decision.reason ?? '', /not inspected/);
    desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
    assert.match(await answer, /^HTTP\S* 200/);
    assert.deepEqual([bytes, uninspected()], [[body.length, body.length], before + 2]);
  });

  test(`where the policy depends on a body, one that is too large is refused: ${how}`, async (t) => {
    const { rules } = desk.policy;
    t.after(() => { desk.policy.rules = rules; });
    desk.policy.rules = [{ host: 'api.test', verdict: 'allow', body: () => true }];
    Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize: 'uninspected', monitor: false }) });
    t.after(() => Object.assign(desk.policy, { terms: () => undefined }));
    for (const encoding of ['', 'gzip']) assert.match(await sendBody('application/json', encoding, randomBytes(1_500_000)), /^HTTP\S* 403[^]*proxy\.body-too-large[^]*The policy depends on the body of this request, and it is larger/);
    assert.deepEqual(bytes, []);
  });
}

test('a question about the body stays, whatever else is only put on record', async (t) => {
  Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize: 'escalate', monitor: false }) });
  t.after(() => Object.assign(desk.policy, { terms: () => undefined }));
  const asked = desk.approver.asked.length;
  const answer = post(gzipSync(randomBytes(1_500_000)), `${json}content-encoding: gzip\r\nx-from: jane.roe@example.org\r\n`);
  await desk.approver.until(asked + 1);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'ann', reason: 'no' });
  assert.match(await answer, / 403 /);
  assert.deepEqual(bytes, []);
});
