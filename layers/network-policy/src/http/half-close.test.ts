/** A client of HTTP/1.1 that closes its side of the connection: what it has sent as a whole is answered, what it has not is no request. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, TestRule, Upstream } from '../testing/testing-egress.ts';

const piece = Buffer.alloc(1 << 18, 'x');
const ssn = '536-22-1234';
let upstream: Upstream;
let secure: Upstream;
let desk: Desk;
/** Requests that reached the origin as whole ones. */
let seen: string[] = [];
/** What the origin answers when it is told to. */
const waiting = new Map<string, ServerResponse>();

function pour(res: ServerResponse, left: number): void {
  if (left === 0) res.end();
  else if (res.write(piece)) pour(res, left - 1);
  else res.once('drain', () => pour(res, left - 1));
}

function answer(req: IncomingMessage, res: ServerResponse): void {
  let body = '';
  req.on('error', () => undefined);
  req.on('data', (chunk: Buffer) => { body += chunk.toString(); });
  req.once('end', () => {
    const path = req.url ?? '';
    seen.push(`${req.method} ${path} ${body}`.trim());
    if (path === '/long') pour(res, 16);
    else if (path === '/endless') pour(res, 1 << 20);
    else if (path === '/person') res.writeHead(200, { 'content-type': 'text/plain' }).end(`her number is ${ssn}`);
    else if (path.startsWith('/wait')) waiting.set(path, res);
    else res.end(`fine ${body}`);
  });
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i += 1) {
    assert.ok(i < 6000, what);
    await new Promise((next) => setTimeout(next, 10));
  }
}

/** Everything until the other side closes, too. */
async function rest(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'close');
  return Buffer.concat(chunks).toString('latin1');
}

const rules: readonly TestRule[] = [
  { host: 'half.test', verdict: 'allow' }, { host: 'safe.test', verdict: 'allow' }, { host: 'held.test', verdict: 'escalate' }, { host: 'read.test', verdict: 'allow', body: () => true },
];
const open = (limits: NonNullable<Parameters<typeof openDesk>[0]['limits']> = {}): Promise<Desk> => openDesk({
  rules, pins: rules.map(({ host }) => ({ host, ...(host === 'safe.test' && secure.caPem !== undefined ? { caPem: secure.caPem } : {}) })), ports: [upstream.port, secure.port, 3128], limits,
  local: new Map([['model.test', (_req, res) => void waiting.set('model', res)]]),
});
before(async () => {
  upstream = await openUpstream(answer);
  secure = await openUpstream(answer, 'safe.test');
  desk = await open();
});
beforeEach(() => {
  seen = [];
  waiting.clear();
});
after(async () => {
  await desk.close();
  await upstream.close();
  await secure.close();
});

const head = (path: string, host = 'half.test', target = ''): string => `GET ${target}${path} HTTP/1.1\r\nHost: ${host}:${host === 'safe.test' ? secure.port : upstream.port}\r\n\r\n`;
const connectHead = (host: string, port: number): string => `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`;
const door = (): Promise<Socket> => desk.tcp('proxy.local', 3128);

/** Sends the request and closes the client's side, all at once where the door lets it. */
const ways: Readonly<Record<string, (path: string) => Promise<Socket>>> = {
  captured: async (path) => (await desk.tcp('half.test', upstream.port)).end(head(path)),
  'absolute form': async (path) => (await door()).end(head(path, 'half.test', `http://half.test:${upstream.port}`)),
  CONNECT: async (path) => (await door()).end(`${connectHead('half.test', upstream.port)}${head(path)}`),
  SOCKS5: async (path) => (await door()).end(Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, 9]), Buffer.from('half.test'), Buffer.from([upstream.port >> 8, upstream.port & 255]), Buffer.from(head(path))])),
  TLS: async (path) => (await desk.tls('safe.test', secure.port)).end(head(path, 'safe.test')),
  'TLS in CONNECT': async (path) => {
    const socket = await door();
    socket.write(connectHead('safe.test', secure.port));
    await once(socket, 'data');
    const tls = connectTls({ socket, servername: 'safe.test', ca: desk.rootPem });
    await once(tls, 'secureConnect');
    return tls.on('error', () => undefined).end(head(path, 'safe.test'));
  },
};

/** By then the proxy has read what came to it before: the answer to a request that came after it is here. */
const oneMore = async (): Promise<void> => assert.match(await say(await desk.tcp('half.test', upstream.port), head('/fine'), wholeAnswer), /fine/);

for (const [name, way] of Object.entries(ways)) {
  test(`${name}: who sends a whole request and closes its side gets the whole answer, however long it is and takes`, { timeout: 120_000 }, async () => {
    assert.match(await rest(await way('/fine')), /HTTP\/1\.1 200 [^]*fine/);
    assert.equal((await rest(await way('/long'))).replace(/[^x]/g, '').length, 16 * piece.length);
    const streamed = rest(await way('/wait'));
    await until('the request has come', () => waiting.has('/wait'));
    const res = waiting.get('/wait');
    await oneMore();
    for (const part of ['one', 'two', 'three']) {
      res?.write(part);
      await oneMore();
    }
    res?.end();
    const text = await streamed;
    assert.match(text, /HTTP\/1\.1 200 [^]*one\r\n[^]*two\r\n[^]*three\r\n0\r\n\r\n$/i);
  });
}

test('several requests, then the end of the client\'s side: each is answered', async () => {
  const socket = (await desk.tcp('half.test', upstream.port)).end(`${head('/wait')}${head('/fine')}${head('/long')}`);
  const all = rest(socket);
  await until('the first has come', () => waiting.has('/wait'));
  await oneMore();
  waiting.get('/wait')?.end('first');
  const text = await all;
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 3);
  assert.equal(text.replace(/[^x]/g, '').length, 16 * piece.length);
});

const bodies: Readonly<Record<string, string>> = { length: 'Content-Length: 5\r\n\r\nhello', chunks: 'Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n' };
for (const host of ['half.test', 'read.test', 'safe.test']) {
  for (const [kind, body] of Object.entries(bodies)) {
    test(`a body by ${kind} to ${host}: cut anywhere by the end of the client's side, it never reaches the origin as a whole request`, { timeout: 120_000 }, async () => {
      const port = host === 'safe.test' ? secure.port : upstream.port;
      const text = `POST /cut HTTP/1.1\r\nHost: ${host}:${port}\r\n${body}`;
      for (let cut = 1; cut <= text.length; cut += 1) {
        const socket = host === 'safe.test' ? await desk.tls(host, port) : await desk.tcp(host, port);
        const got = await rest(socket.end(text.slice(0, cut)));
        if (cut < text.length) assert.doesNotMatch(got, /HTTP\/1\.1 200/, `cut at ${cut}`);
        else assert.match(got, /HTTP\/1\.1 200 [^]*fine hello/);
      }
      await oneMore();
      assert.deepEqual(seen, ['POST /cut hello', 'GET /fine']);
      await until('nothing is open any more', () => desk.egress.stats().open === 0);
    });
  }
}

for (const when of ['while a person is asked', 'before anybody is asked']) {
  test(`who closes its side ${when} has withdrawn: it is told so, and a yes that comes later does nothing`, async () => {
    const { approver, audit } = desk;
    const socket = await desk.tcp('held.test', upstream.port);
    const told = rest(socket);
    const before = approver.asked.length;
    socket.write(head('/held', 'held.test'));
    if (when === 'while a person is asked') await approver.until(before + 1);
    socket.end();
    assert.match(await told, /HTTP\/1\.1 403 [^]*closed its side/);
    assert.equal(approver.withdrawn.length, approver.asked.length);
    approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
    await oneMore();
    assert.deepEqual(seen, ['GET /fine']);
    assert.ok(audit.events.some((event) => event.verdict === 'deny' && event.message.includes('the client went away while it waited')));
    audit.events.length = 0;
  });
}

test('an answer that a person is asked about is not delivered to who has closed its side', async () => {
  Object.assign(desk.policy, { inspection: { scanForPII: true, responses: { actions: { 'us-ssn': 'escalate' } } } });
  try {
    const told = await rest((await desk.tcp('half.test', upstream.port)).end(head('/person')));
    assert.match(told, /HTTP\/1\.1 503 /);
    assert.ok(!told.includes(ssn));
    assert.equal(desk.approver.withdrawn.length, desk.approver.asked.length);
    assert.deepEqual(seen, ['GET /person']);
  } finally {
    desk.policy.inspection = undefined;
  }
});

test('who is gone altogether ends its request at the origin with the next bytes of the answer', async () => {
  const socket = await desk.tcp('half.test', upstream.port);
  socket.write(head('/wait-gone'));
  await until('the request has come', () => waiting.has('/wait-gone'));
  const res = waiting.get('/wait-gone');
  socket.destroy();
  await until('its end has reached the origin', () => {
    res?.write('more');
    return res?.destroyed === true;
  });
});

test('whether it reads no answer or gets none, who has closed its side is waited for only so long', { timeout: 120_000 }, async () => {
  const other = await open({ halfClosedMs: 300 });
  try {
    const silent = rest((await other.tcp('half.test', upstream.port)).end(head('/wait-silent')));
    await until('the request has come', () => waiting.has('/wait-silent'));
    await until('the origin is let go', () => waiting.get('/wait-silent')?.destroyed === true);
    assert.equal(await silent, '');
    const unread = await other.tcp('half.test', upstream.port);
    unread.pause();
    unread.end(head('/endless'));
    await until('it was under way', () => seen.includes('GET /endless'));
    await until('nothing is open any more', () => other.egress.stats().open === 0);
    unread.destroy();
  } finally {
    await other.close();
  }
});

test('a model that we answer for is let go as soon as its client closes its side', async () => {
  const socket = await desk.tcp('model.test', 80);
  socket.write('POST /v1 HTTP/1.1\r\nHost: model.test\r\nContent-Length: 0\r\n\r\n');
  await until('it was asked', () => waiting.has('model'));
  socket.end();
  await until('it is let go', () => waiting.get('model')?.destroyed === true);
});

test('an origin that answers and closes its side is heard to the end, also while it is still sent to', async () => {
  let answered = 'HTTP/1.1 200 OK\r\n\r\nuntil the end';
  const origin = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(answered)).resume();
  });
  await new Promise<void>((done) => origin.listen(0, '127.0.0.1', done));
  const { port } = origin.address() as AddressInfo;
  const other = await openDesk({ rules: [{ host: 'half.test', verdict: 'allow' }], pins: [{ host: 'half.test' }], ports: [port] });
  other.policy.scan = false;
  try {
    const ask = async (text: string): Promise<string> => rest((await other.tcp('half.test', port)).end(text));
    assert.match(await ask(`GET / HTTP/1.1\r\nHost: half.test:${port}\r\n\r\n`), /until the end/);
    answered = 'HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\n\r\nenough';
    const early = await other.tcp('half.test', port);
    const text = rest(early);
    early.write(`POST / HTTP/1.1\r\nHost: half.test:${port}\r\nContent-Length: 1000000\r\n\r\nthe beginning`);
    assert.match(await text, /HTTP\/1\.1 413 [^]*enough/);
  } finally {
    await other.close();
    await new Promise<void>((done) => origin.close(() => done()));
  }
});
