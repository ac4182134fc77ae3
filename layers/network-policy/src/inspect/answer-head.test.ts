/** Header and trailer fields of answers, acted on by what is in them, over real sockets and whatever protocol they come by. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import type { ServerHttp2Stream } from 'node:http2';
import type { LedgerEvent } from '@nemoclaw/contract';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ask, openHttp2Upstream, openSession } from '../testing/testing-http2.ts';
import type { InspectionSettings } from './findings.ts';

const card = '4111 1111 1111 1111';
const mail = 'jane.roe@example.org';
const ssn = '536-22-8145';
const key = 'sk-real-0123456789abcdef';
const rule = (type: string): string => `inspection.responses.actions.${type}`;
const actions = { 'credit-card': 'block', secret: 'block', email: 'redact', 'us-ssn': 'escalate' } as const;

let desk: Desk;
let upstream: Upstream;
let answer: (req: IncomingMessage, res: ServerResponse) => void;
let accepted: readonly string[] = [];

before(async () => {
  upstream = await openUpstream((req, res) => {
    res.on('error', () => undefined);
    answer(req, res);
  });
  upstream.server.on('upgrade', (req: IncomingMessage, socket: Socket) => {
    const accept = createHash('sha1').update(`${req.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    socket.on('error', () => undefined);
    socket.write(['HTTP/1.1 101 Switching Protocols', 'upgrade: websocket', 'connection: Upgrade', `sec-websocket-accept: ${accept}`, ...accepted, '', ''].join('\r\n'));
  });
  desk = await openDesk({
    rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port],
    credentials: [{ placeholder: 'nemo-placeholder-42', value: key, host: 'api.test', header: 'authorization', pathPrefix: '' }],
  });
});
after(async () => {
  await desk.close();
  await upstream.close();
});
beforeEach(() => settings({ responses: { actions } }));

function settings(more: Partial<InspectionSettings>): void {
  Object.defineProperty(desk.policy, 'inspection', { value: { scanForPII: true, ...more }, configurable: true, writable: true });
}

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly raw: readonly string[];
  readonly trailers: NodeJS.Dict<string>;
  readonly body: string;
  /** It came to its end in order. */
  readonly whole: boolean;
  /** Fields of the answers before it. */
  readonly interim: readonly string[];
}

async function get(method = 'GET'): Promise<Got> {
  const socket = await desk.tcp('api.test', upstream.port);
  const req = request({ method, path: '/x', headers: { host: `api.test:${upstream.port}`, connection: 'close' }, createConnection: () => socket });
  const interim: string[] = [];
  req.on('error', () => undefined);
  req.on('information', ({ rawHeaders }) => interim.push(...rawHeaders));
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  res.on('error', () => undefined);
  res.on('data', (chunk: Buffer) => parts.push(chunk));
  await new Promise<void>((done) => res.once('close', done));
  return { status: res.statusCode ?? 0, headers: res.headers, raw: res.rawHeaders, trailers: res.trailers, body: Buffer.concat(parts).toString(), whole: res.complete, interim };
}

const head = (status: number, headers: readonly string[], body = '{"fine":1}') => (_req: IncomingMessage, res: ServerResponse): void => {
  res.writeHead(status, ['content-type', 'application/json', ...headers]);
  res.end(body);
};
const findings = (mark: number): readonly LedgerEvent[] => desk.audit.events.slice(mark).filter((one) => one.class === 'dataSecurityFinding');

test('block: an answer with such a value in a header is a denial, also where it has no body; neither head nor value is delivered', async () => {
  for (const [status, method] of [[200, 'GET'], [200, 'HEAD'], [204, 'GET'], [302, 'GET'], [304, 'GET'], [500, 'GET']] as const) {
    const mark = desk.audit.events.length;
    answer = head(status, ['x-set', 'yes', 'x-account', `no ${card}`], status === 204 || status === 304 ? '' : undefined);
    const got = await get(method);
    assert.deepEqual([got.status, got.headers['x-nemoclaw-rule'], got.headers['x-set'], got.whole], [403, rule('credit-card'), undefined, true], `${status} ${method}`);
    if (method === 'GET') assert.match(got.body, /A payment card number stands in a header of the answer\./);
    assert.deepEqual(findings(mark).map(({ verdict, data }) => [verdict, data?.['found'], data?.['places'], data?.['action']]), [['deny', { 'credit-card': 1 }, ['a header of the answer'], 'block']]);
  }
  for (const fields of [['x-4111111111111111', 'a name'], ['etag', '"4111111111111111"'], ['set-cookie', `pan=${card}; Path=/`], ['set-cookie', 'a=b', 'set-cookie', `t=ghp_16C7e42F292c6912E7710c838347Ae178B4a; HttpOnly`]]) {
    answer = head(200, fields);
    assert.equal((await get()).status, 403, fields.join(' '));
  }
  assert.ok(!JSON.stringify(desk.audit.events).includes(card));
});

test('redact: the value is masked in the head, the rest of it and the body arrive as they were; what hides in an encoding goes as a whole', async () => {
  const mark = desk.audit.events.length;
  answer = head(302, ['location', `https://api.test/of/${mail}?next=/a`, 'x-contact', `Jane <${mail}>, Tel`, 'set-cookie', `who=${mail}; Path=/`, 'set-cookie', 'b=1', 'link', `<mailto:${encodeURIComponent(mail)}>; rel="author"`, 'x-same', 'as it was', 'x-b64', Buffer.from(`to: ${mail}`).toString('base64')]);
  const got = await get();
  assert.deepEqual([got.status, got.headers.location, got.headers['x-contact'], got.headers['set-cookie'], got.headers['x-same'], got.headers['link'], got.headers['x-b64'], got.body], [
    302, 'https://api.test/of/[redacted:email]?next=/a', 'Jane <[redacted:email]>, Tel', ['who=[redacted:email]; Path=/', 'b=1'], 'as it was', '[redacted:email]', '[redacted:email]', '{"fine":1}',
  ]);
  assert.deepEqual(findings(mark).map(({ verdict, data }) => [verdict, data?.['action']]), [['observe', 'redact']]);
  settings({ responses: { actions: { 'credit-card': 'redact' } } });
  answer = head(200, ['x-4111111111111111', 'a name']);
  assert.deepEqual([(await get()).headers['x-nemoclaw-rule']], [rule('credit-card')], 'what cannot be taken out is not delivered');
});

test('escalate: a person is asked before any of the answer is delivered, and sees class and place; the yes is for this value; the body is judged after it', async () => {
  answer = head(200, ['x-person', ssn]);
  let count = desk.approver.asked.length;
  const approved = get();
  await desk.approver.until(++count);
  const question = desk.approver.asked[count - 1];
  assert.equal(question?.decision.rules[0]?.id, rule('us-ssn'));
  assert.match(question?.decision.reason ?? '', /a social security number stands in a header of the answer/);
  assert.ok(!`${question?.summary} ${question?.detail}`.includes('8145'));
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' });
  const got = await approved;
  assert.deepEqual([got.status, got.headers['x-person'], got.body], [200, ssn, '{"fine":1}']);

  desk.approver.grants.add(question?.key ?? '');
  assert.equal((await get()).status, 200, 'the same answer passes once after approval');
  answer = head(200, ['x-person', '536-22-8146']);
  const other = get();
  await desk.approver.until(++count);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'uid:0', reason: 'no' });
  const denial = await other;
  assert.deepEqual([denial.status, denial.headers['x-person']], [403, undefined]);

  for (const [body, method, status] of [[`{"pan":"${card}"}`, 'GET', 403], ['', 'HEAD', 200]] as const) {
    answer = head(200, ['x-person', ssn], body);
    const both = get(method);
    await desk.approver.until(++count);
    desk.approver.answer({ verdict: 'allow', approvalId: 'apr_3', by: 'uid:0' });
    assert.equal((await both).status, status);
  }
});

test('log, and by default: the answer arrives as it was sent, and what stands in its head is on record', async () => {
  for (const more of [{}, { responses: { actions: { email: 'log', 'credit-card': 'log' } } }] as const) {
    settings(more);
    const mark = desk.audit.events.length;
    answer = head(200, ['x-account', card, 'x-contact', mail, 'x-contact', 'b']);
    const got = await get();
    assert.deepEqual([got.status, got.headers['x-account'], got.headers['x-contact']], [200, card, `${mail}, b`]);
    assert.deepEqual(findings(mark).map(({ verdict, data }) => [verdict, data?.['found'], data?.['action']]), [['observe', { 'credit-card': 1, email: 1 }, 'log']]);
  }
  settings({ responses: false });
  const mark = desk.audit.events.length;
  await get();
  assert.deepEqual(findings(mark), []);
});

test('trailers: redact masks, what else acts cuts the answer before its end; early hints are searched before they are passed on', async () => {
  const withTrailer = (value: string) => (_req: IncomingMessage, res: ServerResponse): void => {
    res.writeHead(200, { 'content-type': 'text/event-stream', trailer: 'x-sum' });
    res.write('data: one\n\n');
    res.addTrailers({ 'x-sum': value });
    res.end();
  };
  for (const [value, arrives] of [['plain', 'plain'], [`of ${mail}`, 'of [redacted:email]'], [card, undefined], [ssn, undefined]] as const) {
    answer = withTrailer(value);
    const got = await get().catch(() => undefined);
    assert.deepEqual([got?.whole ?? false, got?.trailers['x-sum']], [arrives !== undefined, arrives], value);
  }
  const hinted = (link: string) => (req: IncomingMessage, res: ServerResponse): void => res.writeEarlyHints({ link }, () => head(200, [])(req, res));
  answer = hinted('</a.css>; rel=preload; as=style');
  const fine = await get();
  assert.deepEqual([fine.status, fine.interim], [200, ['Link', '</a.css>; rel=preload; as=style']]);
  answer = hinted(`</of/${mail}>; rel=preload; as=style`);
  assert.deepEqual((await get()).interim, ['Link', '</of/[redacted:email]>; rel=preload; as=style']);
  for (const value of [card.replaceAll(' ', ''), ssn]) {
    answer = hinted(`</of/${value}>; rel=preload; as=style`);
    const got = await get();
    assert.deepEqual([got.status, got.interim, /stands in a header before the answer/.test(got.body)], [403, [], true], value);
  }
});

test('WebSocket: the answer to the handshake is searched before the client sees it, and so is one that is no WebSocket', async () => {
  const open = async (): Promise<string> => {
    const socket = await desk.tcp('api.test', upstream.port);
    return say(socket, `GET /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${Buffer.alloc(16, 7).toString('base64')}\r\n\r\n`, (text) => text.includes('\r\n\r\n'));
  };
  accepted = ['x-served-by: a', `x-contact: ${mail}`, `x-echo: ${key}`];
  const opened = await open();
  assert.match(opened, /^HTTP\/1\.1 101 /);
  assert.match(opened, /x-contact: \[redacted:email\]\r\n/);
  assert.ok(!opened.includes(key));
  for (const value of [card, ssn]) {
    accepted = [`x-account: ${value}`];
    assert.match(await open(), /^HTTP\/1\.1 403 [^]*inspection\.responses\.actions/);
  }
});

test('over HTTP/2, and in gRPC: heads, trailers, and answers that are trailers only', async (t) => {
  const respond = (stream: ServerHttp2Stream, fields: Readonly<Record<string, string>>, trailers: Readonly<Record<string, string>>): void => {
    stream.respond({ ':status': 200, ...fields }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
  };
  const says: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
    '/head': (stream) => respond(stream, { 'x-account': card }, {}),
    '/masked': (stream) => respond(stream, { 'x-contact': mail }, { 'x-sum': `by ${mail}` }),
    '/trailer': (stream) => respond(stream, {}, { 'x-sum': card }),
    '/s.S/Head': (stream) => respond(stream, { 'content-type': 'application/grpc', 'x-account': card }, { 'grpc-status': '0' }),
    '/s.S/Masked': (stream) => respond(stream, { 'content-type': 'application/grpc', 'x-contact': mail }, { 'grpc-status': '0', 'grpc-message': `no such user: ${mail}` }),
    '/s.S/Hidden': (stream) => respond(stream, { 'content-type': 'application/grpc' }, { 'grpc-status': '5', 'grpc-message': encodeURIComponent(`no user: ${mail}`) }),
    '/s.S/Trailer': (stream) => respond(stream, { 'content-type': 'application/grpc' }, { 'grpc-status': '5', 'x-details-bin': Buffer.from(`the card is ${card} here`).toString('base64') }),
    '/s.S/Asked': (stream) => respond(stream, { 'content-type': 'application/grpc', 'x-person': ssn }, { 'grpc-status': '0', 'x-sum': 'plain' }),
    '/s.S/Only': (stream) => stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5', 'grpc-message': `no card ${card}` }, { endStream: true }),
  };
  const origin = await openHttp2Upstream((stream, raw) => {
    stream.resume();
    says[raw[raw.indexOf(':path') + 1] ?? '']?.(stream);
  }, 'h2.test');
  t.after(() => origin.close());
  const other = await openDesk({ rules: [{ host: 'h2.test', verdict: 'allow' }], pins: [{ host: 'h2.test', caPem: origin.caPem }], ports: [origin.port] });
  t.after(() => other.close());
  Object.assign(other.policy, { inspection: { scanForPII: true, responses: { actions } } });
  const session = await openSession(other, 'h2.test', origin.port);
  t.after(() => session.destroy());
  const call = (path: string): ReturnType<typeof ask> => ask(session, { ':method': 'POST', ':path': `/s.S/${path}`, 'content-type': 'application/grpc', te: 'trailers' });
  const denied = await ask(session, { ':path': '/head' });
  assert.deepEqual([denied.status, denied.headers['x-nemoclaw-rule']], [403, rule('credit-card')]);
  const masked = await ask(session, { ':path': '/masked' });
  assert.deepEqual([masked.headers['x-contact'], masked.trailers['x-sum']], ['[redacted:email]', 'by [redacted:email]']);
  const cut = await ask(session, { ':path': '/trailer' });
  assert.deepEqual([cut.rstCode === 0, cut.trailers['x-sum']], [false, undefined]);
  for (const path of ['Head', 'Only']) {
    const { headers } = await call(path);
    assert.deepEqual([headers['grpc-status'], headers['x-account']], ['7', undefined], path);
    assert.match(String(headers['grpc-message']), /A payment card number stands in a header of the answer\./);
  }
  const told = await call('Masked');
  assert.deepEqual([told.headers['x-contact'], told.trailers['grpc-status'], told.trailers['grpc-message']], ['[redacted:email]', '0', 'no such user: [redacted:email]']);
  assert.equal((await call('Hidden')).trailers['grpc-message'], '[redacted:email]');
  const asked = call('Asked');
  await other.approver.until(1);
  other.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' });
  const allowed = await asked;
  assert.deepEqual([allowed.headers['x-person'], allowed.trailers['grpc-status'], allowed.trailers['x-sum']], [ssn, '0', 'plain']);
  const ended = await call('Trailer');
  assert.deepEqual([ended.trailers['grpc-status'] === '5', ended.trailers['x-details-bin']], [false, undefined]);
});

test('the sandbox\'s own credential is masked and no finding; a search that fails is a refusal', async () => {
  settings({ responses: { actions: { default: 'block' } } });
  answer = (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain', 'x-echo': `token ${key}`, trailer: 'x-sum' });
    res.write('fine');
    res.addTrailers({ 'x-sum': key });
    res.end();
  };
  const { status, headers, trailers } = await get();
  assert.deepEqual([status, headers['x-echo'], trailers['x-sum']], [200, `token ${'*'.repeat(key.length)}`, '*'.repeat(key.length)]);
  answer = (req, res) => {
    Object.defineProperty(desk.policy, 'inspection', { get: () => { throw new Error('broken'); }, configurable: true });
    head(200, ['x-set', 'yes'])(req, res);
  };
  const refused = await get();
  assert.deepEqual([refused.status >= 500, refused.headers['x-set']], [true, undefined], refused.body);
});

test('fields that come folded, twice, as thousands of bytes or by the hundred are searched all the same; early answers without end are few records', async (t) => {
  let said = '';
  const raw = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(`${said}\r\n\r\nfine`));
  });
  await new Promise<void>((done) => raw.listen(0, '127.0.0.1', done));
  t.after(() => raw.close());
  const { port } = raw.address() as AddressInfo;
  const other = await openDesk({ rules: [{ host: 'raw.test', verdict: 'allow' }], pins: [{ host: 'raw.test' }], ports: [port] });
  t.after(() => other.close());
  Object.assign(other.policy, { inspection: { scanForPII: true, responses: { actions } } });
  const whole = (fields: readonly string[], before = ''): string => [`${before}HTTP/1.1 200 OK`, 'content-type: text/plain', 'content-length: 4', ...fields].join('\r\n');
  const got = async (text: string): Promise<string> => {
    said = text;
    const socket = await other.tcp('raw.test', port);
    return say(socket, `GET /x HTTP/1.1\r\nhost: raw.test:${port}\r\nconnection: close\r\n\r\n`, wholeAnswer);
  };
  const long = 'word '.repeat(5000);
  const cases: readonly (readonly [number, readonly string[]])[] = [
    [502, ['x-a: 4111 1111', ' 1111 1111']], [403, ['x-a: one', `X-A: no ${card}`, 'x-a: three']], [403, [`x-a: ${long}${card}`]], [403, [...Array.from({ length: 150 }, (_, i) => `x-f${i}: value ${i}`), `x-last: ${card}`]],
    [200, [`x-a: ${long.slice(0, 4000)}${mail}`]], [403, [`x-a: ${long}${mail}`]], [200, [`X-A:${mail}`, `x-a:\t${mail} \t`]], [200, [`x-a:${'%6a%61%6e%65%2e%72%6f%65%40'}example.org`]],
  ];
  for (const [status, fields] of cases) {
    const text = await got(whole(fields));
    assert.equal(text.slice(0, 12), `HTTP/1.1 ${status}`, fields.join('|').slice(0, 200));
    assert.ok(!text.includes(card) && !text.includes(mail) && !text.includes('%40example'), fields.join('|').slice(0, 200));
  }
  const mark = other.audit.events.length;
  const hints = `HTTP/1.1 103 Early Hints\r\nlink: </of/${mail}>; rel=preload\r\n\r\n`.repeat(6);
  const text = await got(whole([], hints));
  assert.ok(text.includes('fine') && text.includes('</of/[redacted:email]>') && !text.includes(mail), text);
  assert.equal(other.audit.events.slice(mark).filter((one) => one.class === 'dataSecurityFinding').length, 1);
});
