/** Inspection over real sockets: what is blocked never reaches the other side, what is redacted arrives without it, and no value is in any answer, question or record. */
import assert from 'node:assert/strict';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { CompiledPolicy } from '@nemoclaw/decide';
import { standardHooks } from '../standard-hooks.ts';
import { openDesk, openUpstream, say, testClock, testIds, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { Core, defaultLimits } from '../core.ts';
import type { InspectionSettings } from './findings.ts';
import { judgeOf } from '../judge/judge.ts';
import { Upstreams } from '../upstream/upstreams.ts';

const card = '4111 1111 1111 1111';
const ssn = '536-22-8145';
const mail = 'jane.roe@example.org';
const token = 'ghp_16C7e42F292c6912E7710c838347Ae178B4a';
const own = 'own-credential-5d41402abc';
const placeholder = 'nemo-placeholder-77';
/** As it stands in a path. */
const encoded = Buffer.from(`please charge the card ${card} for it`).toString('base64url');
const canaries = [card, ssn, mail, token, own, card.replaceAll(' ', ''), encoded];

let desk: Desk;
let upstream: Upstream;
let seen: { readonly url: string; readonly headers: Readonly<Record<string, string | string[] | undefined>>; readonly body: Buffer }[] = [];
/** Connections that sent something, also where no request came of it. */
let arrived = 0;
let answer: (req: IncomingMessage, res: ServerResponse) => void = (_req, res) => void res.end('fine');

before(async () => {
  upstream = await openUpstream((req, res) => {
    arrived += 1;
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      seen.push({ url: req.url ?? '', headers: req.headers, body: Buffer.concat(chunks) });
      answer(req, res);
    });
    req.on('error', () => undefined);
  });
  desk = await openDesk({
    rules: [{ host: 'api.test', verdict: 'deny', path: '/denied' }, { host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port],
    credentials: [{ placeholder, value: own, host: 'api.test', header: 'authorization', pathPrefix: '' }],
  });
});
after(async () => {
  await desk.close();
  await upstream.close();
});
beforeEach(() => {
  seen = [];
  arrived = 0;
  answer = (_req, res) => void res.end('fine');
  settings({});
});

function settings(more: Partial<InspectionSettings>): void {
  Object.assign(desk.policy, { inspection: { scanForPII: true, ...more } });
}

async function send(method: string, target: string, body: string | Buffer = '', headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const bytes = Buffer.from(body);
  const lines = Object.entries({ host: `api.test:${upstream.port}`, connection: 'close', ...(bytes.length > 0 ? { 'content-length': String(bytes.length) } : {}), ...headers });
  const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`);
  return say(await desk.tcp('api.test', upstream.port), Buffer.concat([head, bytes]), wholeAnswer);
}
const json = { 'content-type': 'application/json' };
const post = (value: unknown, headers: Readonly<Record<string, string>> = {}): Promise<string> => send('POST', '/x', JSON.stringify(value), { ...json, ...headers });
/** What the agent, a person and the record were told since `mark`. */
const told = (answers: readonly string[]): string => JSON.stringify([answers, desk.approver.asked, desk.audit.events], (_key, value: unknown) => (value instanceof Map ? [...value] : value));

test('a body on which nothing depends may be read in more than one way', async () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const bodies: readonly (readonly [string | Buffer, Readonly<Record<string, string>>])[] = [
    ['a=1&a=2', form], ['ids[]=1&ids[]=2', form], ['a=%zz', form], [Buffer.from([1, 2, 0xff, 0xfe, 3]), form],
    ['{"id":12345678901234567890}', json], ['{"z":3.141592653589793238}', json], ['{"a":1,"a":2}', json], ['{"a":1}\n{"a":2}\n', { 'content-type': 'application/x-ndjson' }],
    ['{hello}', { 'content-type': 'text/plain' }], ['{a:b}', { 'content-type': 'text/css' }], ['{\\rtf1}', { 'content-type': 'application/rtf' }], [Buffer.from([123, 0, 255, 1]), { 'content-type': 'application/octet-stream' }],
  ];
  for (const [body, headers] of bodies) assert.match(await send('POST', '/x', body, headers), /^HTTP\/1\.1 200/, String(body));
});

test('credentials, cards, social security and account numbers are blocked wherever they stand; the other side sees not a byte, and no value is told', async () => {
  const answers: string[] = [];
  const refused = async (rule: string, reply: Promise<string>): Promise<void> => {
    const text = await reply;
    answers.push(text);
    assert.match(text, /^HTTP\/1\.1 403/, text);
    assert.ok(text.includes(`"rule":"inspection.actions.${rule}"`), text);
  };
  await refused('credit-card', post({ note: card }));
  await refused('us-ssn', post({ ssn }));
  await refused('iban', post({ to: 'DE89 3704 0044 0532 0130 00' }));
  await refused('secret', post({ key: token }));
  await refused('credit-card', post({ data: Buffer.from(`please charge the card ${card} for it`).toString('base64') }));
  await refused('credit-card', send('POST', '/x', '{"n":"\\u0034111 1111 1111 1111"}', json));
  await refused('credit-card', send('POST', '/x', gzipSync(JSON.stringify({ note: card })), { ...json, 'content-encoding': 'gzip' }));
  await refused('credit-card', send('POST', '/x', 'card=4111+1111+1111+1111', { 'content-type': 'application/x-www-form-urlencoded' }));
  await refused('credit-card', send('GET', `/x?c=${encodeURIComponent(card)}`));
  await refused('credit-card', send('GET', `/${encoded}`));
  for (const [rule, value] of [['credit-card', card.replaceAll(' ', '')], ['us-ssn', ssn], ['secret', token]] as const) await refused(rule, send('GET', `/x/${value}`));
  await refused('secret', send('GET', '/x', '', { 'x-note': token }));
  await refused('secret', send('POST', '/x', '{"a":1}', { ...json, authorization: `Bearer ${token}` }));
  const boundary = 'aB3';
  await refused('secret', send('POST', '/x', `--${boundary}\r\ncontent-disposition: form-data; name="f"; filename="${token}"\r\n\r\nx\r\n--${boundary}--\r\n`, { 'content-type': `multipart/form-data; boundary=${boundary}` }));
  answers.push(await send('POST', '/x', `--a\r\n\r\n\r\n--a--\r\n--${boundary}\r\n\r\nx\r\n--${boundary}--\r\n`, { 'content-type': `multipart/form-data; boundary=a; boundary=${boundary}` }));
  assert.match(answers.at(-1) ?? '', /403.*names more than one boundary/s);
  assert.equal(arrived, 0);
  const text = told(answers);
  for (const canary of canaries) assert.ok(!text.includes(canary), canary);
  assert.ok(text.includes('the body at /note'), 'the place is told');
});

test('addresses and phone numbers pass by default, and are on record by class and place', async () => {
  const mark = desk.audit.events.length;
  assert.match(await post({ contact: { email: mail } }), /fine/);
  assert.equal(seen[0]?.body.toString(), JSON.stringify({ contact: { email: mail } }));
  const event = desk.audit.events.slice(mark).find((one) => one.class === 'dataSecurityFinding');
  assert.deepEqual(event?.data, { host: 'api.test', port: upstream.port, way: 'request', found: { email: 1 }, places: ['the body at /contact/email'], action: 'log' });
  assert.ok(!JSON.stringify(desk.audit.events).includes(mail));
});

test('what is only likely a secret is put on record by default, and follows the action of its class where the policy names it', async () => {
  const likely = [{ user: 'jane', password: 'correct-horse-9' }, { deploy_key: 'q8ZsD3fLw0PbX7vNc2RtY5hJ' }];
  const rows: readonly (readonly [Partial<InspectionSettings>, RegExp])[] = [
    [{}, /fine/], [{ actions: { default: 'block' } }, /fine/], [{ actions: { 'credit-card': 'block' } }, /fine/], [{ actions: { secret: 'log' } }, /fine/], [{ actions: { secret: 'block' } }, /inspection\.actions\.secret/],
  ];
  for (const [more, expected] of rows) {
    settings(more);
    for (const body of likely) assert.match(await post(body), expected, JSON.stringify([more, Object.keys(body)]));
    const mark = desk.audit.events.length;
    assert.match(await send('POST', '/x', JSON.stringify(likely[0]), { 'content-type': 'application/octet-stream' }), expected, 'as it passes');
    assert.deepEqual(desk.audit.events.slice(mark).find((one) => one.class === 'dataSecurityFinding')?.data?.['found'], { secret: 1 }, 'on record in any case');
  }
  settings({ actions: { secret: 'redact' } });
  assert.match(await post(likely[0]), /fine/);
  assert.equal(seen.at(-1)?.body.toString(), '{"user":"jane","password":"[redacted:secret]"}');
  const answered = async (more: Partial<InspectionSettings>): Promise<string> => {
    settings(more);
    answer = (_req, res) => void res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(likely[0]));
    return send('GET', '/x');
  };
  assert.match(await answered({ responses: { actions: { 'credit-card': 'block' } } }), /correct-horse-9/);
  assert.match(await answered({ responses: { actions: { default: 'block' } } }), /correct-horse-9/);
  assert.match(await answered({ responses: { actions: { secret: 'block' } } }), /inspection\.responses\.actions\.secret/);
});

test('a number that its name says is an id passes by default, on record, and is blocked where the policy names cards; one that nothing names is blocked', async () => {
  const [id, plain] = [{ task_id: '4111111111111111' }, { n: '4111111111111111' }];
  settings({});
  const mark = desk.audit.events.length;
  assert.match(await post(id), /fine/);
  assert.match(await send('GET', '/api/tasks/4111111111111111'), /fine/);
  assert.deepEqual(desk.audit.events.slice(mark).filter((one) => one.class === 'dataSecurityFinding').map(({ data }) => [data?.['found'], data?.['action']]), [[{ 'credit-card': 1 }, 'log'], [{ 'credit-card': 1 }, 'log']]);
  assert.match(await post(plain), /inspection\.actions\.credit-card/);
  settings({ actions: { 'credit-card': 'block' } });
  assert.match(await post(id), /inspection\.actions\.credit-card/);
});

test('redact: the request arrives without the value, whole and with its right length, also compressed', async () => {
  settings({ actions: { email: 'redact', 'credit-card': 'redact' } });
  assert.match(await post({ to: mail, n: 1.5, pan: card }), /fine/);
  assert.equal(seen[0]?.body.toString(), '{"to":"[redacted:email]","n":1.5,"pan":"[redacted:credit-card]"}');
  assert.equal(seen[0]?.headers['content-length'], String(seen[0]?.body.length));
  assert.match(await send('POST', '/x', gzipSync(JSON.stringify({ to: mail })), { ...json, 'content-encoding': 'gzip' }), /fine/);
  assert.equal(gunzipSync(seen[1]?.body ?? Buffer.alloc(0)).toString(), '{"to":"[redacted:email]"}');
  assert.match(await send('POST', '/x', `24\r\n{"to":"${mail}","b":"xx"}\r\n0\r\n\r\n`.replace('24', (`{"to":"${mail}","b":"xx"}`).length.toString(16)), { ...json, 'transfer-encoding': 'chunked', 'content-length': '' }).catch(() => ''), /400|fine/);
  assert.match(await post({ [mail]: 1 }), /inspection\.actions\.email/, 'what cannot be taken out does not leave');
  assert.match(await send('GET', `/x?to=${mail}`), /inspection\.actions\.email/, 'a URL is not rewritten');
});

test('escalate: a person sees class and place, not the value; approved it arrives as it was', async () => {
  settings({ actions: { email: 'escalate' } });
  const before = desk.approver.asked.length;
  const reply = post({ to: mail, text: `to ${Buffer.from(`the address is ${mail}, and so on`).toString('base64')}` });
  await desk.approver.until(before + 1);
  const question = desk.approver.asked[before];
  assert.equal(question?.decision.rules[0]?.id, 'inspection.actions.email');
  assert.match(question?.decision.reason ?? '', /an email address stands in the body at \/to/);
  assert.ok(!(question?.detail ?? mail).includes(mail), question?.detail);
  assert.equal(arrived, 0);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' });
  assert.match(await reply, /fine/);
  assert.ok(seen[0]?.body.toString().includes(mail));
});

test('what an agent dresses up as a secret, or puts behind much else, is said to be there, and how long it is', async () => {
  settings({ actions: { email: 'escalate', secret: 'log' } });
  const before = desk.approver.asked.length;
  const order = 'DROP TABLE customers; ';
  const reply = post({ to: mail, key: `-----BEGIN PRIVATE KEY-----${order.repeat(50)}-----END PRIVATE KEY-----`, rest: ' '.repeat(70_000), more: order });
  await desk.approver.until(before + 1);
  const detail = desk.approver.asked[before]?.detail ?? '';
  assert.match(detail, new RegExp(`"key":"\\[redacted:secret, ${52 + 50 * order.length} characters\\]"`));
  assert.match(detail, /\n… \(\d{4} more characters, not shown\)$/);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'uid:0', reason: 'no' });
  assert.match(await reply, / 403 /);
});

test('bodies that are not held are read as they pass: a value cut in two does not leave whole', async () => {
  const socket = await desk.tcp('api.test', upstream.port);
  const got = say(socket, `POST /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n`, wholeAnswer);
  const chunk = (text: string): void => void socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
  chunk(`token ${token.slice(0, 20)}`);
  while (arrived === 0) await new Promise((next) => setTimeout(next, 5));
  chunk(`${token.slice(20)} and more`);
  assert.match(await got, /inspection\.actions\.secret/);
  assert.equal(seen.length, 0, 'the request never ended for the other side');
});

test('what the policy refuses is refused before the body is read; a bomb and a large encoded body are refused with a reason', async () => {
  const denied = await desk.tcp('api.test', upstream.port);
  assert.match(await say(denied, `POST /denied HTTP/1.1\r\nhost: api.test:${upstream.port}\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n`, wholeAnswer), /^HTTP\/1\.1 403/);
  const bomb = gzipSync(Buffer.alloc(32 << 20));
  assert.match(await send('POST', '/x', bomb, { ...json, 'content-encoding': 'gzip' }), /proxy\.body-encoding.*decodes to more than/);
  const large = await desk.tcp('api.test', upstream.port);
  assert.match(await say(large, `POST /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\ncontent-encoding: gzip\r\ncontent-length: 9000000\r\n\r\n`, wholeAnswer), /inspection\.maxBody/);
  assert.equal(arrived, 0);
});

test('a text in a character encoding that cannot be read is refused with the reason; whatever its type; all others pass', async () => {
  const fine = Buffer.from('nothing in here, café', 'latin1');
  const part = (type: string): string => `--b\r\ncontent-disposition: form-data; name="a"\r\ncontent-type: ${type}\r\n\r\nhello\r\n--b--\r\n`;
  const unread: readonly (readonly [string, string | Buffer])[] = [
    ['text/plain; charset=utf-7', '4111+ACA-1111+ACA-1111+ACA-1111'], ['application/xml; Charset="IBM037"', fine], ['application/json; charset=nobodys', '{}'], ['application/javascript; charset=utf-7', '4111+ACA-1111'], ['text/plain; charset=utf-8; charset=utf-16le', fine], ['multipart/form-data; boundary=b', part('text/plain; charset=utf-7')],
  ];
  for (const [type, body] of unread) assert.match(await send('POST', '/x', body, { 'content-type': type }), /^HTTP\/1\.1 403[^]*"rule":"inspection\.scanForPII"[^]*character encoding/, type);
  const large = await desk.tcp('api.test', upstream.port);
  assert.match(await say(large, `POST /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\ncontent-type: text/plain; charset=utf-16le\r\ncontent-length: 9000000\r\n\r\n`, wholeAnswer), /inspection\.maxBody/);
  const streams = await desk.tcp('api.test', upstream.port);
  assert.match(await say(streams, `POST /x HTTP/1.1\r\nhost: api.test:${upstream.port}\r\ncontent-type: application/x-ndjson; charset=utf-16le\r\ntransfer-encoding: chunked\r\n\r\n`, wholeAnswer), /inspection\.scanForPII/);
  assert.equal(arrived, 0);
  const passing = ['text/html; charset=ISO-8859-1', "text/plain; charset='utf-8'", 'text/plain; charset=', 'text/plain', 'text/plain; charset=Shift_JIS', 'text/plain; charset=gb18030', 'text/plain; charset=euc-kr', 'text/plain; charset=koi8-u', 'text/plain; charset=ibm866', 'text/plain; charset=us-ascii', 'application/octet-stream; charset=binary', 'text/plain; charset=utf8mb4', 'application/sql; charset=UTF_8', 'text/csv; charset=ANSI_X3.4-1968', ''];
  for (const type of passing) assert.match(await send('POST', '/x', fine, type === '' ? {} : { 'content-type': type }), /fine/, type);
  assert.match(await send('POST', '/x', part('application/octet-stream; charset=binary'), { 'content-type': 'multipart/form-data; boundary=b' }), /fine/);
  assert.match(await send('POST', '/x', Buffer.from('nothing in here', 'utf16le'), { 'content-type': 'text/plain; charset=utf-16le' }), /fine/);
  assert.equal(arrived, passing.length + 2);
  settings({ scanForPII: false });
  assert.match(await send('POST', '/x', fine, { 'content-type': 'text/plain; charset=utf-7' }), /fine/);
});

test('with scanForPII: false nothing is searched for but the own credentials, and these never leave', async () => {
  settings({ scanForPII: false });
  assert.match(await post({ note: card }), /fine/);
  for (const form of [own, Buffer.from(`x${own}y`).toString('base64'), Buffer.from(own).toString('hex'), [...own].toReversed().join('')]) {
    assert.match(await post({ note: form }), /^HTTP\/1\.1 403/, form);
    assert.match(await send('GET', `/x?q=${encodeURIComponent(form)}`), /^HTTP\/1\.1 403/, form);
  }
  assert.equal(seen.length, 1);
});

test('a credential that the service echoes comes back masked, whatever pieces it comes in; lengths stay', async () => {
  answer = (req, res) => {
    const echo = `you sent ${String(req.headers.authorization)}, that is ${Buffer.from(String(req.headers.authorization)).toString('base64')}.`;
    res.writeHead(200, { 'content-type': 'text/event-stream', 'x-echo': String(req.headers.authorization), 'x-asked': String(req.headers['accept-encoding']) });
    for (const character of echo) res.write(character);
    res.end();
  };
  const text = await send('GET', '/x', '', { authorization: `Bearer ${placeholder}`, 'accept-encoding': 'gzip' });
  assert.equal(seen[0]?.headers.authorization, `Bearer ${own}`);
  assert.ok(!text.includes(own) && !text.includes(Buffer.from(own).toString('base64').slice(4, 20)), text);
  assert.match(text.replaceAll(/\r\n[0-9a-f]+\r\n/g, ''), /\*{10}/);
  assert.match(text, /x-asked: undefined/, 'the answer was asked for without an encoding');
  answer = (req, res) => void res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(String(req.headers.authorization)));
  const encoded = await send('GET', '/x', '', { authorization: `Bearer ${placeholder}` });
  assert.match(encoded, /Bearer \*{20}/, 'what comes encoded all the same is masked and goes on without its encoding');
  assert.ok(!/content-encoding/i.test(encoded) && !encoded.includes(own));
  answer = (req, res) => void res.writeHead(200, { 'content-encoding': 'snappy' }).end(String(req.headers.authorization));
  assert.match(await send('GET', '/x', '', { authorization: `Bearer ${placeholder}` }), /proxy\.answer-encoding/);
});

test('a credential does not come back in parts: ranges are not asked for, and a part that comes all the same is refused', async () => {
  answer = (req, res) => {
    const page = `you sent ${String(req.headers.authorization)}`;
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(String(req.headers['range'] ?? req.headers['request-range'])) ?? [];
    if (from !== undefined && to !== undefined) res.writeHead(206, { 'content-range': `bytes ${from}-${to}/${page.length}` }).end(page.slice(Number(from), Number(to) + 1));
    else res.end(page);
  };
  for (const name of ['range', 'request-range']) {
    for (let i = 0; i < 40; i += 10) assert.match(await send('GET', '/x', '', { authorization: `Bearer ${placeholder}`, [name]: `bytes=${i}-${i + 9}`, 'if-range': '"v"', 'a-im': 'x' }), /you sent Bearer \*{25}$/);
  }
  assert.deepEqual(seen.map(({ headers }) => [headers['range'], headers['request-range'], headers['if-range'], headers['a-im']]), seen.map(() => [undefined, undefined, undefined, undefined]));
  const plain = { 'content-type': 'text/plain' };
  const parts: readonly (readonly [number, Record<string, string | string[]>])[] = [
    [206, plain], [226, plain], [200, { 'content-type': 'multipart/byteranges; boundary=b' }], [200, { 'x-a': 'b', 'content-type': ['text/plain', 'multipart/byteranges; boundary=b'] }], [200, { ...plain, 'content-range': 'bytes 0-9/40' }],
  ];
  for (const [status, fields] of parts) {
    answer = (_req, res) => void res.writeHead(status, Object.entries(fields).flatMap(([name, value]) => [value].flat().flatMap((one) => [name, one]))).end(own.slice(0, 10));
    const refused = await send('GET', '/x');
    assert.ok(/^HTTP\/1\.1 502/.test(refused) && refused.includes('proxy.answer-part') && !refused.includes(own.slice(0, 10)), refused);
  }
  for (const [status, method, type] of [[200, 'HEAD', 'gzip'], [304, 'GET', 'gzip'], [416, 'GET', 'identity']] as const) {
    answer = (_req, res) => void res.writeHead(status, { 'content-encoding': type, 'content-range': 'bytes */40' }).end();
    assert.match(await send(method, '/x'), new RegExp(`^HTTP/1\\.1 ${status}`), 'nothing comes in parts');
  }
});

test('a page of whole rows is asked for and passed on, its credential masked; nothing that counts bytes is taken for one', async () => {
  const bearer = { authorization: `Bearer ${placeholder}` };
  const page = { 'content-type': 'application/json', 'content-range': '0-1/40', 'range-unit': 'items' };
  answer = (req, res) => void res.writeHead(206, page).end(JSON.stringify([{ id: 1, said: req.headers.authorization }, { id: 2, said: Buffer.from(own).toString('base64') }]));
  for (const fields of [{ range: '0-1', 'range-unit': 'items' }, { range: 'items=0-1' }, { range: 'rows=10-' }, {}]) {
    const text = await send('GET', '/rows', '', { ...bearer, ...fields });
    assert.match(text, /^HTTP\/1\.1 206[^]*content-range: 0-1\/40[^]*"id":2/i);
    assert.ok(!text.includes(own) && !text.includes(Buffer.from(own).toString('base64').slice(0, 12)), text);
    assert.equal(seen.at(-1)?.headers['range'], fields.range);
  }
  for (const fields of [{ range: '0-1' }, { range: 'bytes=0-1', 'range-unit': 'items' }, { range: '0-1', 'range-unit': 'bytes' }, { range: 'items=0-1', 'range-unit': 'bytes' }, { range: 'items=0-1,5-9' }, { range: 'chars=0-9' }, { range: 'items=bytes=0-1' }, { range: 'items=-5' }]) {
    await send('GET', '/rows', '', { ...bearer, ...fields });
    assert.equal(seen.at(-1)?.headers['range'], undefined, JSON.stringify(fields));
  }
  const others: readonly OutgoingHttpHeaders[] = [{ 'content-range': 'bytes 0-9/40' }, { 'Content-Range': 'bytes 0-9/40' }, { 'range-unit': 'bytes' }, { 'content-range': 'chars 0-9/40' }, { 'content-range': '0-1/40, bytes 0-9/40' }, { 'content-type': 'multipart/byteranges; boundary=b' }, { 'content-type': 'multipart/mixed; boundary=b' }, { 'content-range': '*/40' }];
  for (const fields of others) {
    answer = (_req, res) => void res.writeHead(206, { ...page, ...fields }).end(own.slice(0, 10));
    const refused = await send('GET', '/rows', '', { ...bearer, range: 'items=0-1' });
    assert.ok(/^HTTP\/1\.1 502/.test(refused) && refused.includes('proxy.answer-part') && !refused.includes(own.slice(0, 10)), JSON.stringify(fields) + refused);
  }
});

test('a credential that is replaced, or taken away, while its request is under way does not come back either', async () => {
  const session = 'session-of-old-90f3c1';
  for (const [sigv4, credentials] of [[undefined, [{ ...desk.config.credentials[0], value: 'newer-credential-77aa' }]], [undefined, []], [{ accessKeyId: 'AKIDEXAMPLE', sessionToken: session }, []]] as const) {
    const before = desk.config;
    const [held] = before.credentials;
    assert.ok(held);
    desk.egress.update({ ...before, credentials: [{ ...held, ...(sigv4 ? { sigv4 } : {}) }] });
    const arrival = new Promise<() => void>((resolve) => {
      answer = (req, res) => resolve(() => void res.end(`you sent ${String(req.headers.authorization)}, ${session}`));
    });
    const reply = send('GET', '/x', '', sigv4 ? {} : { authorization: `Bearer ${placeholder}` });
    const goOn = await arrival;
    desk.egress.update({ ...before, credentials: credentials.map((one) => ({ ...held, ...one })) });
    goOn();
    const text = await reply;
    desk.egress.update(before);
    assert.match(text, /you sent/);
    assert.ok(!text.includes(own) && (!sigv4 || !text.includes(session)), text);
  }
});

test('personal data in an answer passes, and is on record once, without the value', async () => {
  const mark = desk.audit.events.length;
  answer = (_req, res) => {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.write(`[{"email":"${mail.slice(0, 6)}`);
    res.end(`${mail.slice(6)}"},{"email":"${mail}"}]`);
  };
  assert.ok((await send('GET', '/x')).includes('200 OK'));
  const events = (): unknown[] => desk.audit.events.slice(mark).filter((one) => one.class === 'dataSecurityFinding').map((one) => one.data?.['found']);
  assert.deepEqual(events(), [{ email: 2 }]);
  settings({ responses: false });
  await send('GET', '/x');
  assert.equal(events().length, 1);
});

test('messages of a WebSocket: blocked, redacted, masked', () => {
  const core = new Core(
    { sandbox: 's', judge: judgeOf(() => ({ network: { labelOf: () => undefined, inspection: { tlsDecrypt: true, logPayloads: false, scanForPII: true, actions: { email: 'redact' } } } }) as unknown as CompiledPolicy, { version: 1, decide: () => assert.fail() }), approver: desk.approver, audit: desk.audit, clock: testClock, ids: testIds, upstreams: new Upstreams({ resolve: async () => [], clock: testClock, pins: [], connections: 1 }), limits: defaultLimits },
    standardHooks, desk.config,
  );
  const place = { name: 'api.test', port: 80, tls: false };
  const checked = { method: 'GET', target: '/', paths: ['/'], query: [], headers: [], hasBody: false, length: undefined, contentType: '', contentEncoding: '' };
  const pass = standardHooks.messages[0]?.open({ core, place, checked, correlation: 'c', resource: () => assert.fail(), asked: [], judged: undefined });
  const message = (from: 'client' | 'server', text: string) => pass?.({ from, binary: false, data: Buffer.from(text) })?.toString();
  assert.equal(message('client', '{"a":"hello"}'), '{"a":"hello"}');
  assert.equal(message('client', `{"a":"${mail}"}`), '{"a":"[redacted:email]"}');
  assert.throws(() => message('client', card), /a payment card number is in a message/);
  assert.throws(() => message('client', Buffer.from(`xx${own}`).toString('base64')), /credential of this sandbox/);
  assert.equal(message('server', `you are ${own}`), `you are ${'*'.repeat(own.length)}`);
});

test('messages that come back over a WebSocket: on record once by default; blocked or redacted where the policy says so', () => {
  const open = (more: Partial<InspectionSettings>): ((text: string) => string | undefined) => {
    const network = { network: { labelOf: () => undefined, inspection: { tlsDecrypt: true, logPayloads: false, scanForPII: true, ...more } } };
    const core = new Core(
      { sandbox: 's', judge: judgeOf(() => network as unknown as CompiledPolicy, { version: 1, decide: () => assert.fail() }), approver: desk.approver, audit: desk.audit, clock: testClock, ids: testIds, upstreams: new Upstreams({ resolve: async () => [], clock: testClock, pins: [], connections: 1 }), limits: defaultLimits },
      standardHooks, desk.config,
    );
    const checked = { method: 'GET', target: '/', paths: ['/'], query: [], headers: [], hasBody: false, length: undefined, contentType: '', contentEncoding: '' };
    const pass = standardHooks.messages[0]?.open({ core, place: { name: 'api.test', port: 80, tls: false }, checked, correlation: 'c', resource: () => assert.fail(), asked: [], judged: undefined });
    return (text) => pass?.({ from: 'server', binary: false, data: Buffer.from(text) })?.toString();
  };
  const mark = desk.audit.events.length;
  const watched = open({});
  for (let i = 0; i < 3; i += 1) assert.equal(watched(`{"to":"${mail}","pan":"${card}"}`), `{"to":"${mail}","pan":"${card}"}`);
  assert.deepEqual(desk.audit.events.slice(mark).map(({ data }) => data?.['found']), [{ email: 1, 'credit-card': 1 }]);
  const acting = open({ responses: { actions: { email: 'redact', 'credit-card': 'block', iban: 'escalate' } } });
  assert.equal(acting('{"a":"hello"}'), '{"a":"hello"}');
  assert.equal(acting(`{"a":"${mail}"}`), '{"a":"[redacted:email]"}');
  assert.throws(() => acting(`{"pan":"\\u0034111 1111 1111 1111"}`), /a payment card number is in the answer: a message/);
  assert.throws(() => acting('to DE89 3704 0044 0532 0130 00'), /account number is in the answer/, 'nobody can be asked about a message');
  assert.equal(open({ responses: false })(card), card);
});

test('a body that is read as it passes is read in UTF-16 where it looks like that, whatever it is called', async () => {
  settings({});
  const text = `${'plain text '.repeat(150_000)} card 4111 1111 1111 1111 ${'and on '.repeat(10)}`;
  for (const [bytes, type] of [[Buffer.from(`\ufeff${text}`, 'utf16le'), 'text/plain'], [Buffer.from(text, 'utf16le').swap16(), 'application/json']] as const) {
    seen = [];
    assert.match(await send('POST', '/x', bytes, { 'content-type': type }), /inspection\.actions\.credit-card/, type);
    assert.deepEqual(seen, [], 'it did not arrive whole');
  }
  assert.match(await send('POST', '/x', Buffer.from('plain text '.repeat(300_000), 'utf16le'), { 'content-type': 'text/plain' }), /^HTTP\/1\.1 200/);
});
