/** Answers acted on by what is in them, over real sockets: what is blocked is not delivered, what is redacted is delivered without it, however it is encoded and cut. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { LedgerEvent } from '@nemoclaw/contract';
import { answerKey } from '@nemoclaw/decide';
import { after, before, beforeEach, test } from 'node:test';
import { brotliCompressSync, constants, createGzip, deflateRawSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ask, openHttp2Upstream, openSession } from '../testing/testing-http2.ts';
import type { InspectionSettings } from './findings.ts';

const card = '4111 1111 1111 1111';
const mail = 'jane.roe@example.org';
const token = 'ghp_16C7e42F292c6912E7710c838347Ae178B4a';

let desk: Desk;
let upstream: Upstream;
let asked: IncomingHttpHeaders = {};
let answer: (req: IncomingMessage, res: ServerResponse) => void = (_req, res) => void res.end('fine');

before(async () => {
  upstream = await openUpstream((req, res) => {
    asked = req.headers;
    res.on('error', () => undefined);
    answer(req, res);
  });
  desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port] });
});
after(async () => {
  await desk.close();
  await upstream.close();
});
beforeEach(() => {
  settings({ responses: { actions: { 'credit-card': 'block', secret: 'block', email: 'redact', 'us-ssn': 'escalate' } } });
  Object.assign(desk.policy, { terms: () => undefined });
});

function settings(more: Partial<InspectionSettings>): void {
  Object.assign(desk.policy, { inspection: { scanForPII: true, ...more } });
}

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** It came to its end in order. */
  readonly whole: boolean;
}

async function open(headers: Readonly<Record<string, string>> = {}, method = 'GET'): Promise<IncomingMessage> {
  const socket = await desk.tcp('api.test', upstream.port);
  const req = request({ method, path: '/x', headers: { host: `api.test:${upstream.port}`, connection: 'close', ...headers }, createConnection: () => socket });
  req.on('error', () => undefined);
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  return res;
}

async function read(res: IncomingMessage): Promise<Got> {
  const parts: Buffer[] = [];
  res.on('error', () => undefined);
  res.on('data', (chunk: Buffer) => parts.push(chunk));
  await new Promise<void>((done) => res.once('close', done));
  return { status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(parts), whole: res.complete };
}
const get = async (headers?: Readonly<Record<string, string>>, method?: string): Promise<Got> => read(await open(headers, method));

const document = (value: unknown, headers: Readonly<Record<string, string>> = {}, pack: (bytes: Buffer) => Buffer = (bytes) => bytes) => (_req: IncomingMessage, res: ServerResponse): void => {
  const bytes = pack(Buffer.from(JSON.stringify(value)));
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': String(bytes.length), etag: '"v1"', ...headers });
  res.end(bytes);
};
const findings = (mark: number): readonly LedgerEvent[] => desk.audit.events.slice(mark).filter((one) => one.class === 'dataSecurityFinding');
const until = async (what: () => boolean): Promise<void> => {
  while (!what()) await new Promise((next) => setTimeout(next, 5));
};

const encodings: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
  ['identity', (bytes) => bytes], ['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync], ['deflate', deflateSync], ['deflate', deflateRawSync],
  ['gzip, br', (bytes) => brotliCompressSync(gzipSync(bytes))], ['deflate, zstd, gzip', (bytes) => gzipSync(zstdCompressSync(deflateSync(bytes)))],
];

test('block: the answer is a denial with rule, class and hint, however it was encoded; no value is delivered or told', async () => {
  for (const [name, pack] of encodings) {
    const mark = desk.audit.events.length;
    answer = document({ customer: { pan: card } }, { 'content-encoding': name, 'x-set': 'yes' }, pack);
    const { status, headers, body, whole } = await get({ 'accept-encoding': 'gzip, br, zstd, deflate' });
    assert.deepEqual([status, whole, headers['x-nemoclaw-rule'], headers['x-set']], [403, true, 'inspection.responses.actions.credit-card', undefined], name);
    const denial = JSON.parse(body.toString()) as Record<string, unknown>;
    assert.match(String(denial['reason']), /A payment card number stands in the body of the answer at \/customer\/pan/);
    assert.match(String(denial['hint']), /The request was made, but its answer is not delivered/);
    assert.deepEqual(findings(mark).map(({ verdict, data }) => [verdict, data?.['way'], data?.['found'], data?.['action']]), [['deny', 'answer', { 'credit-card': 1 }, 'block']]);
    assert.ok(desk.audit.events.slice(mark).some(({ verdict, message }) => verdict === 'deny' && message.includes('is in the answer')));
  }
  assert.ok(!JSON.stringify(desk.audit.events).includes(card));
});

test('an answer in which nothing acts arrives as it was sent, byte for byte, with its encoding and its tag', async () => {
  const value = { text: 'nothing in here '.repeat(200), ip: '203.0.113.9' };
  for (const [name, pack] of encodings) {
    const mark = desk.audit.events.length;
    answer = document(value, { 'content-encoding': name }, pack);
    const { status, headers, body } = await get({ 'accept-encoding': 'gzip, br, zstd, deflate' });
    assert.deepEqual([status, headers['content-encoding'], headers.etag, headers['content-length']], [200, name, '"v1"', String(body.length)]);
    assert.ok(body.equals(pack(Buffer.from(JSON.stringify(value)))), name);
    assert.deepEqual(findings(mark).map(({ data }) => data?.['action']), ['log'], 'an address is put on record');
  }
});

test('redact: the answer arrives without the value, in its own encoding and with its right length; what described the old bytes is gone', async () => {
  for (const [name, pack] of encodings) {
    answer = document({ to: mail, n: 1.5, text: 'x'.repeat(500) }, { 'content-encoding': name, 'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT', 'accept-ranges': 'bytes', 'repr-digest': 'sha-256=:x:' }, pack);
    const { status, headers, body } = await get({ 'accept-encoding': 'gzip, br, zstd, deflate' });
    assert.equal(status, 200);
    const plain = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    if (name === 'gzip') assert.equal(headers['content-encoding'], 'gzip');
    if (name.includes(',')) assert.equal(headers['content-encoding'], undefined);
    if (name === 'gzip' || name.includes(',') || name === 'identity') assert.deepEqual(JSON.parse(plain.toString()), { to: '[redacted:email]', n: 1.5, text: 'x'.repeat(500) });
    assert.equal(headers['content-length'], String(body.length));
    for (const old of ['etag', 'last-modified', 'accept-ranges', 'repr-digest']) assert.equal(headers[old], undefined, old);
    assert.ok(!body.includes(mail));
  }
  answer = document({ [mail]: 1 });
  assert.equal((await get()).headers['x-nemoclaw-rule'], 'inspection.responses.actions.email', 'what cannot be taken out is not delivered');
  answer = (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.write(`write to ${mail.slice(0, 9)}`);
    res.end(`${mail.slice(9)} soon`);
  };
  assert.equal((await get()).body.toString(), 'write to [redacted:email] soon', 'in chunks');
});

test('escalate: nothing is delivered before a person decides, who sees class and place and not the value; approved it arrives as it was', async () => {
  const ssn = '536-22-8145';
  answer = document({ person: { ssn } });
  const reply = (): Promise<Got> => get();
  let count = desk.approver.asked.length;
  const approved = reply();
  await desk.approver.until(++count);
  const question = desk.approver.asked[count - 1];
  assert.equal(question?.decision.rules[0]?.id, 'inspection.responses.actions.us-ssn');
  assert.match(question?.summary ?? '', /^Deliver the answer to GET /);
  assert.ok(question?.answer);
  assert.equal(question.key, answerKey(desk.policy.key(question.request), question.answer), 'as the gateway finds it');
  assert.match(question?.detail ?? '', /answer 200 application\/json/);
  assert.ok(!(question?.detail ?? ssn).includes('8145'), question?.detail);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' });
  assert.equal((await approved).body.toString(), JSON.stringify({ person: { ssn } }));
  assert.ok(desk.audit.committed.some(({ message }) => message.includes('approved by uid:0')));

  const refused = reply();
  await desk.approver.until(++count);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'uid:0', reason: 'no' });
  const denial = await refused;
  assert.equal(denial.status, 403);
  assert.match(denial.body.toString(), /"approvalId":"apr_2"/);

  const late = reply();
  await desk.approver.until(++count);
  desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_3' });
  const waiting = await late;
  assert.deepEqual([waiting.status, waiting.headers['retry-after']], [503, '30']);
  assert.match(waiting.body.toString(), /"approvalId":"apr_3"/);
  desk.approver.grants.add(desk.approver.asked[count - 1]?.key ?? '');
  assert.ok((await reply()).body.includes(ssn), 'the same answer passes once after approval');

  const left = open();
  await desk.approver.until(++count);
  const before = desk.approver.withdrawn.length;
  const socket = await desk.tcp('api.test', upstream.port);
  socket.write(`GET /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\n\r\n`);
  await desk.approver.until(++count);
  socket.destroy();
  await until(() => desk.approver.withdrawn.length > before);
  desk.approver.answer({ verdict: 'unavailable', reason: 'nobody is here' });
  assert.equal((await read(await left)).status, 503, 'nobody to ask: not delivered');
});

test('a stream passes event by event; a value that comes in two chunks is not delivered, and the stream is cut', async () => {
  let send: ServerResponse | undefined;
  for (const gzip of [false, true]) {
    const mark = desk.audit.events.length;
    const packer = gzip ? createGzip({ flush: constants.Z_SYNC_FLUSH }) : undefined;
    answer = (_req, res) => {
      send = res;
      res.writeHead(200, { 'content-type': 'text/event-stream', ...(gzip ? { 'content-encoding': 'gzip' } : {}) });
      res.flushHeaders();
      packer?.pipe(res);
    };
    const res = await open({ 'accept-encoding': 'gzip' });
    assert.equal(res.statusCode, 200, 'the head does not wait for an event');
    assert.equal(res.headers['content-encoding'], undefined);
    let got = '';
    res.on('error', () => undefined);
    res.on('data', (chunk: Buffer) => { got += chunk.toString(); });
    const closed = new Promise<void>((done) => res.once('close', done));
    const write = (text: string): void => void (packer ?? send)?.write(text);
    for (const event of ['data: one\n\n', 'data: {"n":2}\n\n', 'data: a long one without a break\n\n']) {
      const before = got.length;
      write(event);
      await until(() => got.length >= before + event.length);
    }
    const before = got;
    write(`data: {"key":"${token.slice(0, 20)}`);
    // It may rest too long and go on alone: then the rest of it does not.
    write(`${token.slice(20)}"}\n\ndata: more\n\n`);
    await closed;
    assert.equal(res.complete, false);
    assert.ok(got.startsWith(before) && !got.includes(token) && !got.includes('more'), got);
    assert.ok(findings(mark).some(({ verdict, data }) => verdict === 'deny' && data?.['action'] === 'block'));
  }
});

test('a download that is larger than what is held is searched as it passes, unless its rule says otherwise', async () => {
  const filler = Buffer.alloc(3 << 20, 'harmless text, line by line\n');
  const large = (more: string, type = 'text/plain') => (_req: IncomingMessage, res: ServerResponse): void => {
    res.writeHead(200, { 'content-type': type, 'content-length': String(filler.length + more.length) });
    res.write(filler);
    res.end(more);
  };
  answer = large('the end');
  const fine = await get();
  assert.ok(fine.whole && fine.body.length === filler.length + 7);
  answer = large(`card ${card}`);
  const cut = await get();
  assert.ok(!cut.whole && !cut.body.includes('4111'));
  const say_ = (onOversize: 'deny' | 'uninspected' | 'escalate'): void => void Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize, monitor: false }) });
  say_('deny');
  const denied = await get();
  assert.deepEqual([denied.status, denied.headers['x-nemoclaw-rule']], [502, 'inspection.maxBody']);
  say_('uninspected');
  const mark = desk.audit.events.length;
  assert.ok((await get()).body.includes(card));
  assert.ok(findings(mark).some(({ data }) => data?.['inspected'] === false));
  say_('escalate');
  const count = desk.approver.asked.length;
  const reply = get();
  await desk.approver.until(count + 1);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_9', by: 'uid:0' });
  assert.ok((await reply).body.includes(card));
  // Without a length it is held as far as that goes.
  Object.assign(desk.policy, { terms: () => undefined });
  answer = (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    res.end(gzipSync(Buffer.concat([Buffer.from(Array.from({ length: 520_000 }, (_, i) => `${(i * 2654435761) % 9973} line`).join('\n')), Buffer.from(`\ncard ${card}`)])));
  };
  const packed = await get({ 'accept-encoding': 'gzip' });
  assert.deepEqual([packed.status, packed.whole, packed.body.length > 1 << 20, packed.body.includes(card)], [200, false, true, false]);
  assert.equal(desk.egress.stats().buffered, 0, 'nothing is held any more');
});

test('bombs, damage and unknown encodings are not delivered; requests ask for whole answers in encodings that can be undone', async () => {
  const refused: readonly (readonly [string, Buffer])[] = [['gzip', gzipSync(Buffer.alloc(48 << 20))], ['gzip', Buffer.from('no gzip at all')], ['gzip', Buffer.concat([gzipSync('{}'), Buffer.from('behind')])], ['snappy', Buffer.from('{}')], ['gzip,gzip,gzip,gzip', gzipSync('{}')]];
  for (const [encoding, bytes] of refused) {
    answer = (_req, res) => void res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding, 'content-length': String(bytes.length) }).end(bytes);
    const { status, headers, body, whole } = await get({ 'accept-encoding': 'gzip;q=0.9, compress, BR, *;q=0.1', range: 'bytes=0-3', 'if-range': '"v1"' });
    assert.ok(!whole || (status === 502 && headers['x-nemoclaw-rule'] === 'proxy.answer-encoding'), `${encoding} ${status} ${body.length}`);
    assert.deepEqual([asked['accept-encoding'], asked.range, asked['if-range']], ['gzip;q=0.9, BR', undefined, undefined]);
  }
  answer = document({ pan: card });
  const head = await get({}, 'HEAD');
  assert.deepEqual([head.status, head.body.length], [200, 0]);
  answer = (_req, res) => void res.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(`not read ${card}`)]));
  assert.equal((await get()).status, 200, 'pictures are not searched');
  settings({});
  answer = document({ pan: card });
  await get({ range: 'bytes=0-3' });
  assert.equal(asked.range, 'bytes=0-3', 'where answers are only watched, they are asked for as ever');
});

test('a page of rows is a document: searched as one, in any encoding, and keeps the rows that it says', async () => {
  for (const [name, pack] of encodings) {
    answer = (_req, res) => void res.writeHead(206, { 'content-type': 'application/json', 'content-encoding': name, 'content-range': 'items 0-1/40', etag: '"v1"' }).end(pack(Buffer.from(JSON.stringify([{ to: mail }, { to: '' }]))));
    const { status, headers, body, whole } = await get({ range: 'items=0-1', 'accept-encoding': 'gzip, br, zstd, deflate' });
    assert.deepEqual([asked.range, status, whole, headers['content-range'], headers.etag], ['items=0-1', 206, true, 'items 0-1/40', undefined], name);
    assert.ok(!body.includes(mail));
    answer = (_req, res) => void res.writeHead(206, { 'content-type': 'application/json', 'content-encoding': name, 'content-range': '0-1/40' }).end(pack(Buffer.from(JSON.stringify([{ pan: card }]))));
    assert.equal((await get({ range: '0-1', 'range-unit': 'items' })).status, 403);
  }
});

test('by default what is found is put on record, also in an encoded answer, which passes as it is', async () => {
  settings({});
  for (const [name, pack] of encodings) {
    const mark = desk.audit.events.length;
    answer = document({ pan: card, to: mail }, { 'content-encoding': name }, pack);
    const { status, body, headers } = await get({ 'accept-encoding': 'gzip' });
    assert.deepEqual([status, headers.etag], [200, '"v1"']);
    assert.ok(body.equals(pack(Buffer.from(JSON.stringify({ pan: card, to: mail })))));
    await until(() => findings(mark).length > 0);
    assert.deepEqual(findings(mark).map(({ data }) => data?.['found']), [{ 'credit-card': 1, email: 1 }], name);
  }
});

test('what answers a WebSocket handshake otherwise is searched too', async () => {
  answer = (_req, res) => void res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ pan: card }));
  const socket = await desk.tcp('api.test', upstream.port);
  const text = await say(socket, `GET /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${Buffer.alloc(16, 7).toString('base64')}\r\naccept-encoding: gzip\r\n\r\n`, wholeAnswer);
  assert.ok(!text.includes('4111'), text);
  assert.equal(asked['accept-encoding'], undefined);
});

test('over HTTP/2: a denial, a rewritten document with its length, an untouched one with its trailers, a stream that is reset', async () => {
  const origin = await openHttp2Upstream((stream, raw) => {
    const path = raw[raw.indexOf(':path') + 1];
    stream.resume();
    if (path === '/events') {
      stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
      stream.write('data: one\n\n');
      stream.write(`data: ${card.slice(0, 9)}`);
      stream.end(`${card.slice(9)}\n\n`);
      return;
    }
    const body = JSON.stringify(path === '/card' ? { card } : path === '/mail' ? { mail } : { fine: 1 });
    stream.respond({ ':status': 200, 'content-type': 'application/json', ...(path === '/fine' ? {} : { 'content-length': String(body.length) }), ...(path === '/card' ? { etag: '"v1"' } : {}) }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }));
    stream.end(body);
  });
  const other = await openDesk({ rules: [{ host: 'h2.test', verdict: 'allow' }], pins: [{ host: 'h2.test' }], ports: [origin.port] });
  Object.assign(other.policy, { inspection: { scanForPII: true, responses: { actions: { 'credit-card': 'block', email: 'redact' } } } });
  const session = await openSession(other, 'h2.test', origin.port, false);
  const blocked = await ask(session, { ':path': '/card' });
  assert.deepEqual([blocked.status, blocked.headers['x-nemoclaw-rule'], blocked.headers['etag']], [403, 'inspection.responses.actions.credit-card', undefined]);
  const rewritten = await ask(session, { ':path': '/mail' });
  assert.deepEqual([rewritten.status, rewritten.body, rewritten.headers['content-length']], [200, '{"mail":"[redacted:email]"}', '27']);
  const fine = await ask(session, { ':path': '/fine' });
  assert.deepEqual([fine.body, fine.trailers['x-sum']], ['{"fine":1}', 'abc']);
  const cut = await ask(session, { ':path': '/events' });
  assert.ok(!cut.body.includes('4111') && (cut.status === 403 || cut.rstCode !== 0), `${cut.status} ${cut.rstCode} ${cut.body}`);
  session.destroy();
  await other.close();
  await origin.close();
});
