/** What a labelled host answered is known again when it leaves for a place that does not take it, wherever and however it stands there; nothing else is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { WebSocket, WebSocketServer } from 'ws';
import { judgeOf } from '../judge/judge.ts';
import { openDesk, openUpstream, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const hosts = ['crm.test', 'vault.test', 'other.test', 'partner.test'];
const customer = { customer_no: 'CUST-48-20931', name: 'Jane Q. Public, Elm Street', account: 48209317, city: 'Berlin', line_2_text: 'says "ref 7741-A9-x"', open: true, at: '2026-03-04T10:00:00Z' };
/** What the origins answer. */
let answer: { readonly type: string; readonly parts: readonly string[]; readonly status?: number; readonly fields?: Readonly<Record<string, string>>; readonly hints?: string; readonly trailers?: Readonly<Record<string, string>> };
let arrived: string[] = [];
let upstream: Upstream;
let sockets: WebSocketServer;

before(async () => {
  sockets = new WebSocketServer({ noServer: true });
  sockets.on('headers', (fields) => fields.push('X-Owner: OWN-55-1234'));
  upstream = await openUpstream((req, res) => {
    const parts: Buffer[] = [];
    req.on('error', () => undefined);
    req.on('data', (part: Buffer) => parts.push(part));
    req.on('end', () => {
      arrived.push(`${req.headers.host?.split(':')[0]} ${req.url} ${req.rawHeaders.join(' ')} ${Buffer.concat(parts).toString()}`);
      const { type, parts: said, status = 200, fields = {}, hints, trailers } = req.method === 'GET' ? answer : { type: 'text/plain', parts: ['done'] };
      if (hints !== undefined) res.writeEarlyHints({ link: hints });
      res.statusCode = status;
      res.setHeader('content-type', type);
      for (const [name, value] of Object.entries(fields)) res.setHeader(name, value);
      if (trailers) res.addTrailers(trailers);
      // As text the head would be encoded with it.
      if (said.length === 1) res.end(Buffer.from(said[0] ?? ''));
      else {
        for (const part of said) res.write(part);
        res.end();
      }
    });
  });
  upstream.server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    sockets.handleUpgrade(req, socket, head, (peer) => {
      peer.on('error', () => undefined);
      peer.on('message', (data: Buffer) => {
        arrived.push(`message ${data.toString()}`);
        peer.send(data.toString() === 'tell' ? JSON.stringify(customer) : data.toString() === 'tell much' ? JSON.stringify(Array.from({ length: 8000 }, (_, i) => `row-${i}-x`)) : 'heard');
      });
    });
  });
});
after(() => upstream.close());
beforeEach(() => {
  answer = { type: 'application/json', parts: [JSON.stringify(customer)] };
  arrived = [];
});

async function withDesk(actions: string, use: (desk: Desk) => Promise<void>): Promise<void> {
  const rules = hosts.map((host) => `      - { domain: ${host}, ports: [${upstream.port}]${host === 'partner.test' ? ', accepts: confidential' : ''} }\n`).join('');
  const text = `networkPolicy:\n  name: t\n  egress:\n    allow:\n${rules}  inspection: { ${actions} }\n  labels:\n    - { domain: crm.test, level: confidential }\n    - { domain: vault.test, level: restricted }\n`;
  const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
  const policy = compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
  const desk = await openDesk({ rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [upstream.port], intercepted: hosts, pins: hosts.map((host) => ({ host })) });
  try {
    await use(desk);
  } finally {
    await desk.close();
  }
}

interface Sent {
  readonly target?: string;
  readonly headers?: readonly string[];
  readonly type?: string;
  readonly body?: string | undefined;
}

async function send(desk: Desk, host: string, { target = '/', headers = [], type = 'application/json', body }: Sent = {}): Promise<string> {
  const head = [`${body === undefined ? 'GET' : 'POST'} ${target} HTTP/1.1`, `Host: ${host}:${upstream.port}`, ...headers, ...(body === undefined ? [] : [`Content-Type: ${type}`, `Content-Length: ${Buffer.byteLength(body)}`])];
  const socket = await desk.tcp(host, upstream.port);
  socket.write(`${head.join('\r\n')}\r\n\r\n${body ?? ''}`);
  return told(socket);
}

/** The whole answer, however long it takes, or what came before the connection ended. */
async function told(socket: Socket): Promise<string> {
  let text = '';
  await new Promise<void>((done) => {
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (wholeAnswer(text)) socket.destroy();
    });
    socket.once('close', () => done());
  });
  return text;
}

const blocked = /^HTTP\/1\.1 403 [^]*"rule":"inspection\.actions\.tainted"/;
const passed = /^HTTP\/1\.1 200 /;
const block = 'actions: { tainted: block }';
const values = ['CUST-48-20931', 'Jane Q. Public', '48209317', '7741-A9-x'];
/** No value is on any record. */
const silent = (desk: Desk): void => {
  for (const event of desk.audit.events) for (const value of values) assert.ok(!JSON.stringify(event).includes(value), JSON.stringify(event));
};

const ways: readonly (readonly [string, Sent])[] = [
  ['a JSON body', { body: '{"note":"for CUST-48-20931"}' }],
  ['a JSON body with escapes', { body: '{"note":"\\u0043UST-48-2093\\u0031"}' }],
  ['a value of several words', { body: '{"who":"Jane Q. Public, Elm Street"}' }],
  ['a number', { body: '{"n":[1,48209317]}' }],
  ['a number as text', { type: 'text/plain', body: 'account 48209317.' }],
  ['a form', { type: 'application/x-www-form-urlencoded', body: 'a=1&who=Jane+Q.+Public%2C+Elm+Street' }],
  ['one part of several', { type: 'multipart/form-data; boundary=b', body: '--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nCUST-48-20931\r\n--b--\r\n' }],
  ['base64 in a body', { body: JSON.stringify({ blob: Buffer.from('some more text, then CUST-48-20931 and more').toString('base64') }) }],
  ['percent-encoding in a body', { body: '{"url":"x?c=%43UST%2D48-20931"}' }],
  ['the query', { target: '/find?c=CUST-48-20931' }],
  ['the query, encoded', { target: '/find?who=Jane%20Q.%20Public%2C%20Elm%20Street' }],
  ['the path', { target: '/of/CUST-48-20931/x' }],
  ['a header', { headers: ['X-Note: CUST-48-20931'] }],
  ['a header that says how to talk', { headers: ['User-Agent: agent/1 (CUST-48-20931)'] }],
  ['a cookie', { headers: ['Cookie: c=CUST-48-20931'] }],
  ['a whole part of the path', { target: '/of/Jane%20Q.%20Public%2C%20Elm%20Street/x' }],
  ['a header, encoded', { headers: ['Referer: https://a.example/?who=Jane%20Q.%20Public%2C%20Elm%20Street'] }],
  ['a header that says how to talk, encoded', { headers: ['User-Agent: agent/1 %43UST-48-20931'] }],
  ['JSON inside JSON', { body: JSON.stringify({ arguments: JSON.stringify({ text: 'the customer\nCUST-48-20931\tis here' }) }) }],
  ['escapes in the middle of a text', { type: 'text/plain', body: 'say {"note":"\\u0043UST-48-2093\\u0031"}' }],
  ['base64 in the path', { target: `/${Buffer.from('some more text, then CUST-48-20931 and more').toString('base64url')}` }],
  ['a quoted value inside a value', { type: 'text/plain', body: 'ref 7741-A9-x' }],
];
for (const [name, sent] of ways) {
  test(`a value that was told is blocked in ${name}`, () => withDesk(block, async (desk) => {
    assert.match(await send(desk, 'other.test', sent), passed, 'before it was told');
    assert.match(await send(desk, 'crm.test'), passed);
    arrived = [];
    assert.match(await send(desk, 'other.test', sent), blocked);
    assert.deepEqual(arrived, []);
    assert.ok(desk.audit.events.some(({ data }) => JSON.stringify(data).includes('"found":{"tainted":')));
    for (const event of desk.audit.events.slice(-2)) for (const value of values) assert.ok(!JSON.stringify(event).includes(value), JSON.stringify(event));
    assert.match(await send(desk, 'crm.test', sent), passed, 'back to where it came from');
    assert.match(await send(desk, 'partner.test', sent), passed, 'to a place that accepts it');
    assert.match(await send(desk, 'vault.test', sent), passed, 'to a place of a higher label');
  }));
}

test('other values pass, and so do words of the service, plain words, dates and booleans', () => withDesk(block, async (desk) => {
  await send(desk, 'crm.test');
  for (const body of ['{"customer_no":"CUST-48-20932","line_2_text":true}', '{"city":"Berlin","at":"2026-03-04T10:00:00Z","open":true}', '{"n":48209318}', '{"name":"Jane Q."}', '{"x":"CUST-48-209311"}']) {
    assert.match(await send(desk, 'other.test', { body }), passed, body);
  }
}));

test('a value goes out without itself where the policy says redact, and is put on record where it says log', async () => {
  await withDesk('actions: { tainted: redact }', async (desk) => {
    await send(desk, 'crm.test');
    assert.match(await send(desk, 'other.test', { body: '{"note":"for CUST-48-20931, a@b.example","who":"Jane Q. Public, Elm Street"}' }), passed);
    assert.match(arrived.at(-1) ?? '', /\{"note":"for \[redacted:tainted\], a@b\.example","who":"\[redacted:tainted\]"\}$/);
    assert.match(await send(desk, 'other.test', { target: '/?c=CUST-48-20931' }), blocked, 'cannot be taken out of a URL');
    silent(desk);
  });
  await withDesk('actions: { tainted: log }', async (desk) => {
    await send(desk, 'crm.test');
    assert.match(await send(desk, 'other.test', { target: '/of/CUST-48-20931', body: '{"note":"CUST-48-20931"}' }), passed);
    assert.ok(arrived.at(-1)?.endsWith('"CUST-48-20931"}'));
    assert.ok(desk.audit.events.some(({ verdict, data }) => verdict === 'observe' && JSON.stringify(data).includes('tainted')));
    silent(desk);
  });
});

test('a person is asked where the policy says nothing, and is not shown the value; what is blocked by default is', async () => {
  for (const said of ['scanForPII: true', 'actions: { default: log }']) {
    arrived = [];
    await withDesk(said, async (desk) => {
      await send(desk, 'crm.test');
      const waits = send(desk, 'other.test', { target: '/of/CUST-48-20931?who=Jane%20Q.%20Public%2C%20Elm%20Street', body: '{"note":"CUST-48-20931"}' });
      await desk.approver.until(1);
      const [card] = desk.approver.asked;
      assert.match(card?.detail ?? '', /redacted:tainted/);
      assert.equal(card?.tainted, true);
      for (const value of [...values, 'Jane%20Q']) assert.ok(!`${card?.summary} ${card?.detail}`.includes(value));
      desk.approver.answer({ verdict: 'deny', approvalId: 'apr_1', by: 'uid 0', reason: 'no' });
      assert.match(await waits, /^HTTP\/1\.1 403 /);
      assert.equal(arrived.length, 1);
      silent(desk);
    });
  }
  await withDesk('actions: { default: block }', async (desk) => {
    await send(desk, 'crm.test');
    assert.match(await send(desk, 'other.test', { body: '{"note":"CUST-48-20931"}' }), blocked);
  });
});

test('restricted values go to restricted places only; one that a lower place answers too has its label', () => withDesk(block, async (desk) => {
  await send(desk, 'vault.test');
  const body = '{"note":"CUST-48-20931"}';
  for (const host of ['other.test', 'partner.test', 'crm.test']) assert.match(await send(desk, host, { body }), blocked, host);
  assert.match(await send(desk, 'vault.test', { body }), passed);
  await send(desk, 'crm.test');
  for (const host of ['crm.test', 'partner.test']) assert.match(await send(desk, host, { body }), passed, host);
  assert.match(await send(desk, 'other.test', { body }), blocked);
}));

test('what one sandbox was told says nothing of another', () => withDesk(block, (one) => withDesk(block, async (two) => {
  await send(one, 'crm.test');
  const body = '{"note":"CUST-48-20931"}';
  assert.match(await send(two, 'other.test', { body }), passed);
  assert.match(await send(one, 'other.test', { body }), blocked);
})));

test('events of a stream and tool results with JSON inside are remembered, also in two pieces', () => withDesk(block, async (desk) => {
  const said = JSON.stringify({ result: { content: [{ type: 'text', text: JSON.stringify(customer) }] } });
  answer = { type: 'text/event-stream', parts: [`data: ${said.slice(0, said.indexOf('20931') + 2)}`, `${said.slice(said.indexOf('20931') + 2)}\n\n`] };
  await send(desk, 'crm.test');
  assert.match(await send(desk, 'other.test', { body: '{"note":"CUST-48-20931"}' }), blocked);
  assert.match(await send(desk, 'other.test', { body: '{"line_2_text":"customer_no"}' }), passed);
}));

test('long answers and long bodies too, which another thread reads', () => withDesk(block, async (desk) => {
  const many = Array.from({ length: 600 }, (_, i) => ({ id: `row-${i}-${i * 7919}`, at: i }));
  answer = { type: 'application/json', parts: [JSON.stringify({ many })] };
  await send(desk, 'crm.test');
  const filler = Array.from({ length: 2000 }, (_, i) => `line-${i}-${i}`);
  assert.match(await send(desk, 'other.test', { body: JSON.stringify([...filler, 'row-599-4743481']) }), blocked);
  assert.match(await send(desk, 'other.test', { body: JSON.stringify(filler) }), passed);
}));

test('an upload that passes as it comes ends where the value does', () => withDesk(block, async (desk) => {
  await send(desk, 'crm.test');
  const socket = await desk.tcp('other.test', upstream.port);
  socket.write(`POST /up HTTP/1.1\r\nHost: other.test:${upstream.port}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n10\r\nabc, CUST-48-209\r\n`);
  socket.write('9\r\n31, more \r\n0\r\n\r\n');
  assert.match(await told(socket), blocked);
  assert.deepEqual(arrived.filter((one) => one.startsWith('other.test')), []);
}));

test('messages of a WebSocket: what a labelled host says in one does not leave in another', () => withDesk(block, async (desk) => {
  const open = async (host: string): Promise<WebSocket> => {
    const socket = await desk.tcp(host, upstream.port);
    const client = new WebSocket(`ws://${host}:${upstream.port}/`, { createConnection: () => socket });
    client.on('error', () => undefined);
    await once(client, 'open');
    return client;
  };
  const other = await open('other.test');
  const crm = await open('crm.test');
  assert.match(await send(desk, 'other.test', { body: '{"note":"OWN-55-1234"}' }), blocked, 'told by the head of its answer');
  arrived = [];
  crm.send('tell');
  await once(crm, 'message');
  crm.send('CUST-48-20931');
  await once(crm, 'message');
  other.send('CUST-48-20931');
  const [code] = (await once(other, 'close')) as [number];
  assert.equal(code, 1008);
  assert.deepEqual(arrived, ['message tell', 'message CUST-48-20931']);
  crm.send('tell much');
  await once(crm, 'message');
  for (const text of ['row-7999-x', `row-7999-x${' '.repeat(50_000)}`]) {
    const another = await open('other.test');
    another.send(text);
    assert.equal(((await once(another, 'close')) as [number])[0], 1008);
  }
  assert.deepEqual(arrived.slice(2), ['message tell much']);
  crm.terminate();
}));

test('what a stream tells in JSON with escapes is remembered', () => withDesk(block, async (desk) => {
  const line = (text: string): string => `data: ${JSON.stringify({ text }).replaceAll(/[^\x00-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n\n`;
  answer = { type: 'text/event-stream', parts: [line('Customer:\nCUST-48-20931\tgold'), line('Jörg Müller, Straße')] };
  await send(desk, 'crm.test');
  assert.match(await send(desk, 'other.test', { body: '{"note":"CUST-48-20931"}' }), blocked, 'behind a line end');
  assert.match(await send(desk, 'other.test', { body: '{"note":"Jörg Müller, Straße"}' }), blocked, 'escaped');
}));

test('nothing of it leaves in the name of a host that only a pattern allows: no address, no request, no name on record; what a rule names is asked as ever', async () => {
  const secret = 'Vault-Value-77xQ';
  const names = ['vault-value-77xq.wild.test', 'vault-v.alue-77xq.wild.test', `${Buffer.from(secret).toString('hex')}.wild.test`, 'cust-48-20931.wild.test', 'a.48209317.wild.test', '4111111111111111.wild.test'];
  const text = `networkPolicy:\n  name: t\n  egress:\n    allow:\n      - { domain: crm.test, ports: [${upstream.port}] }\n      - { domain: "*.wild.test", ports: [${upstream.port}] }\n      - { domain: 48209317.named.test, ports: [${upstream.port}] }\n  inspection: { actions: { credit-card: block } }\n  labels:\n    - { domain: crm.test, level: confidential }\n`;
  const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
  const policy = compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
  const pins = [...names, 'crm.test', 'plain.wild.test', '48209317.named.test'].map((host) => ({ host }));
  const desk = await openDesk({ rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [upstream.port], intercepted: ['crm.test', 'wild.test'], pins, credentials: [{ placeholder: 'nemo-placeholder-9', value: secret, host: 'crm.test', header: 'authorization', pathPrefix: '' }] });
  try {
    assert.match(await send(desk, 'crm.test'), /^HTTP\/1\.1 200/);
    for (const name of names) assert.equal(await desk.resolve(name), undefined, name);
    for (const name of ['plain.wild.test', '48209317.named.test']) assert.match(await send(desk, name), /^HTTP\/1\.1 200/, name);
    const rules = desk.audit.events.filter(({ class: of }) => of === 'dnsActivity').map(({ decision }) => decision?.rules[0]?.id);
    assert.deepEqual(rules, ['inspection.scanForPII', 'inspection.scanForPII', 'inspection.scanForPII', 'inspection.actions.tainted', 'inspection.actions.tainted', 'inspection.actions.credit-card']);
    const told = JSON.stringify(desk.audit.events);
    for (const name of [...names, '4111111111111111']) assert.ok(!told.includes(name), name);
  } finally {
    await desk.close();
  }
});

test('a request that is none is refused, and its path is on record without the value', () => withDesk(block, async (desk) => {
  await send(desk, 'crm.test');
  const socket = await desk.tcp('other.test', upstream.port);
  socket.write('GET /of/CUST-48-20931/Jane%20Q.%20Public%2C%20Elm%20Street HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n');
  assert.match(await told(socket), /^HTTP\/1\.1 4/);
  assert.ok(desk.audit.events.some((event) => JSON.stringify(event).includes('[redacted:tainted]')));
  silent(desk);
}));

test('what a labelled host says in the fields of its answers is remembered: in the head, before it, behind the body, in whatever answer; words of HTTP are not', async () => {
  const plain = { type: 'text/plain', parts: ['hello'] };
  const heads: readonly (readonly [string, typeof answer])[] = [
    ['a field of its own', { ...plain, fields: { 'x-customer': 'CUST-48-20931' } }],
    ['a field of its own beside a body that is passed on as it comes', { type: 'text/event-stream', parts: ['data: hello\n\n', 'data: more\n\n'], fields: { 'x-customer': 'CUST-48-20931' } }],
    ['an address', { ...plain, status: 302, fields: { location: '/of/CUST-48-20931/x?y=1' } }],
    ['an answer without a body', { type: 'text/plain', parts: [''], status: 204, fields: { 'x-customer': 'CUST-48-20931' } }],
    ['a session', { ...plain, fields: { 'set-cookie': 'customer=CUST-48-20931; Path=/; Max-Age=31536000' } }],
    ['the name of a file', { ...plain, fields: { 'content-disposition': 'attachment; filename="CUST-48-20931"' } }],
    ['hints before the answer', { ...plain, hints: '</of/CUST-48-20931>; rel=preload' }],
    ['a trailer', { type: 'text/plain', parts: ['hello', 'more'], fields: { trailer: 'x-customer' }, trailers: { 'x-customer': 'CUST-48-20931' } }],
  ];
  for (const [name, said] of heads) {
    await withDesk(block, async (desk) => {
      answer = said;
      assert.match(await send(desk, 'crm.test', { headers: ['Connection: close'] }), /HTTP\/1\.1 (?:200|204|302) /, name);
      assert.match(await send(desk, 'other.test', { body: '{"note":"CUST-48-20931"}' }), blocked, name);
      assert.match(await send(desk, 'crm.test', { body: '{"note":"CUST-48-20931"}' }), passed, name);
      silent(desk);
    });
  }
  await withDesk(block, async (desk) => {
    answer = { ...plain, status: 302, fields: { location: '/of/J%C3%B6rg%20M%C3%BCller,%20Stra%C3%9Fe/x', 'x-name': Buffer.from('Zoë Élan, Große Allee').toString('latin1'), 'x-old': 'Chloé Straßer, Süd' } };
    await send(desk, 'crm.test');
    for (const value of ['Jörg Müller, Straße', 'Zoë Élan, Große Allee', 'Chloé Straßer, Süd']) assert.match(await send(desk, 'other.test', { body: JSON.stringify({ value }) }), blocked, value);
    answer = { ...plain, fields: { etag: '"33a64df551425fcc"', server: 'frontend/12.34.5678', 'strict-transport-security': 'max-age=31536000', 'set-cookie': 'a=b; Max-Age=31536000; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'last-modified': 'Wed, 21 Oct 2026 07:28:00 GMT' } };
    await send(desk, 'crm.test');
    assert.match(await send(desk, 'other.test', { body: '{"a":31536000,"b":"Wed, 21 Oct 2026 07:28:00 GMT","c":"12.34.5678","d":"33a64df551425fcc"}' }), passed);
  });
});

test('an upload that passes as it comes is stopped at a value outside ASCII wherever it is cut', () => withDesk(block, async (desk) => {
  answer = { type: 'application/json', parts: ['{"name":"J\\u00f6rg M\\u00fcller, Gro\\u00dfe Stra\\u00dfe\\u20ac"}'] };
  await send(desk, 'crm.test');
  const bytes = Buffer.from('"Jörg Müller, Große Straße€"');
  for (let cut = 1; cut < bytes.length; cut += 1) {
    // The last bytes of the first piece begin where what is carried on does, or just before.
    const first = Buffer.concat([Buffer.from('ä'.repeat(1500)), bytes.subarray(0, cut)]);
    const socket = await desk.tcp('other.test', upstream.port);
    const answered = told(socket);
    socket.write(`POST /up HTTP/1.1\r\nHost: other.test:${upstream.port}\r\nTransfer-Encoding: chunked\r\nContent-Type: application/octet-stream\r\n\r\n`);
    for (const piece of [first, bytes.subarray(cut)]) {
      socket.write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]));
      await new Promise((turn) => setImmediate(turn));
    }
    socket.write('0\r\n\r\n');
    assert.match(await answered, blocked, String(cut));
  }
  assert.deepEqual(arrived.filter((one) => one.startsWith('other.test')), []);
}));
