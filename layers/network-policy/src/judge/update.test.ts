/** A policy change ends exactly what it decides otherwise; a person's answer frees exactly the request that was shown. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { ServerResponse } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openDesk, openUpstream, say, testClock, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, TestRule, Upstream } from '../testing/testing-egress.ts';
import { Upstreams } from '../upstream/upstreams.ts';

let desk: Desk;
let upstream: Upstream;
let closedTls: Upstream;
let mail: Server;
let mailPort = 0;
let seen: string[] = [];
/** Bytes of each upload's body that the origin has so far, by URL. */
const received = new Map<string, number>();
const streams = new Map<string, ServerResponse>();
const waiters = new Map<string, () => void>();

const rules: readonly TestRule[] = [
  { host: 'a.test', verdict: 'allow' }, { host: 'b.test', verdict: 'allow' }, { host: 'ask.test', verdict: 'escalate', id: 'egress.escalate[0]' },
  { host: 'mail.test', verdict: 'allow' }, { host: 'pinned.test', verdict: 'allow' },
];

before(async () => {
  upstream = await openUpstream((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => {
      body += chunk.toString();
      received.set(req.url ?? '', body.length);
    });
    req.on('error', () => undefined);
    req.on('end', () => {
      seen.push(`${req.method} ${req.url} ${body}`);
      if (req.url === '/silent') {
        waiters.get(req.url)?.();
        return;
      }
      if (!req.url?.startsWith('/stream')) {
        res.end('done');
        return;
      }
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.flushHeaders();
      streams.set(req.url, res);
      waiters.get(req.url)?.();
    });
  });
  closedTls = await openUpstream((_req, res) => { res.end('unread'); }, 'pinned.test');
  mail = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.write('220 mail.test ESMTP\r\n');
    socket.on('data', (chunk: Buffer) => socket.write(`echo ${chunk.toString()}`));
  });
  await new Promise<void>((done) => mail.listen(0, '127.0.0.1', done));
  mailPort = (mail.address() as AddressInfo).port;
  desk = await openDesk({
    rules, pins: [{ host: 'a.test' }, { host: 'b.test' }, { host: 'ask.test' }, { host: 'mail.test' }, { host: 'pinned.test' }], ports: [upstream.port, mailPort, closedTls.port],
  });
  desk.policy.raw = [mailPort];
  desk.policy.passthrough = ['pinned.test'];
});
after(async () => {
  for (const res of streams.values()) res.destroy();
  await desk.close();
  await upstream.close();
  await closedTls.close();
  await new Promise<void>((done) => mail.close(() => done()));
});
beforeEach(() => {
  desk.policy.rules = rules;
  desk.egress.update(desk.config);
  seen = [];
});

async function stream(host: string, path: string): Promise<{ socket: Socket; text: () => string; res: ServerResponse }> {
  const arrived = new Promise<void>((done) => waiters.set(path, done));
  const socket = await desk.tcp(host, upstream.port);
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await arrived;
  const res = streams.get(path);
  assert.ok(res);
  res.write('data: 1\n\n');
  while (!text.includes('data: 1')) await once(socket, 'data');
  return { socket, text: () => text, res };
}

test('a request that waits for its answer is refused with the rule, not with a failure of the upstream', async () => {
  const arrived = new Promise<void>((done) => waiters.set('/silent', done));
  const socket = await desk.tcp('a.test', upstream.port);
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  socket.write('GET /silent HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n');
  await arrived;
  desk.policy.rules = rules.map((rule) => (rule.host === 'a.test' ? { ...rule, verdict: 'deny' as const } : rule));
  desk.egress.update(desk.config);
  while (!wholeAnswer(text)) await once(socket, 'data');
  assert.match(text, /^HTTP\/1\.1 403 /);
});

test('one stream is cut, the other lives on; the next request meets the new policy', async () => {
  const a = await stream('a.test', '/stream/a');
  const b = await stream('b.test', '/stream/b');
  desk.policy.rules = rules.map((rule) => (rule.host === 'a.test' ? { ...rule, verdict: 'deny' as const } : rule));
  desk.egress.update(desk.config);
  await once(a.socket, 'close');
  assert.ok(desk.audit.events.some((event) => event.verdict === 'deny' && event.message.includes('/stream/a: ended by the new policy')));
  b.res.write('data: 2\n\n');
  while (!b.text().includes('data: 2')) await once(b.socket, 'data');
  b.socket.destroy();
  assert.match(await say(await desk.tcp('b.test', upstream.port), 'GET /x HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n', wholeAnswer), /200/);
  assert.equal(await desk.resolve('a.test'), undefined);
});

test('an upload whose decision changes is refused in its middle; an unrelated one goes on, and the origin gets all of it', async () => {
  const lines = (from: number): string => Array.from({ length: 100_000 }, (_, i) => `line ${from + i}\n`.padStart(16)).join('');
  const [first, second] = [lines(0), lines(100_000)];
  const upload = async (host: string, path: string): Promise<{ socket: Socket; answer: Promise<string> }> => {
    const socket = await desk.tcp(host, upstream.port);
    const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${first.length + second.length}\r\nConnection: close\r\n\r\n`;
    const answer = say(socket, head + first, wholeAnswer);
    // Some of it may be kept back until it is known what follows.
    while ((received.get(path) ?? 0) < first.length / 2) await new Promise((done) => setTimeout(done, 5));
    return { socket, answer };
  };
  const a = await upload('a.test', '/up/a');
  const b = await upload('b.test', '/up/b');
  desk.policy.rules = rules.map((rule) => (rule.host === 'a.test' ? { ...rule, verdict: 'deny' as const } : rule));
  desk.egress.update(desk.config);
  assert.match(await a.answer, /^HTTP\/1\.1 403 /);
  b.socket.write(second);
  assert.match(await b.answer, /^HTTP\/1\.1 200 /);
  // Not printed where it differs: it is long.
  assert.ok(seen.length === 1 && seen[0] === `POST /up/b ${first}${second}`, `${seen.map((one) => `${one.slice(0, 20)}… of ${one.length}`).join(', ')}`);
});

test('of streams that ask for the same all end, and one that asks for something else lives on', async () => {
  const same = [await stream('a.test', '/stream/same'), await stream('a.test', '/stream/same'), await stream('a.test', '/stream/same')];
  const other = await stream('a.test', '/stream/other');
  const ended = same.map(({ socket }) => once(socket, 'close'));
  desk.policy.rules = [{ host: 'a.test', verdict: 'deny', path: '/stream/same' }, ...rules];
  const denials = (): number => desk.audit.events.filter((event) => event.message.includes('/stream/same: ended by the new policy')).length;
  desk.egress.update(desk.config);
  await Promise.all(ended);
  assert.equal(denials(), same.length);
  other.res.write('data: 2\n\n');
  while (!other.text().includes('data: 2')) await once(other.socket, 'data');
  other.socket.destroy();
});

test('an open connection whose name is not allowed any more answers 403 or is closed', async () => {
  const socket = await desk.tcp('b.test', upstream.port);
  socket.write('GET /1 HTTP/1.1\r\nHost: b.test\r\n\r\n');
  await once(socket, 'data');
  desk.policy.rules = rules.map((rule) => (rule.host === 'b.test' ? { ...rule, methods: ['POST'] } : rule));
  desk.egress.update(desk.config);
  assert.match(await say(socket, 'GET /2 HTTP/1.1\r\nHost: b.test\r\n\r\n', wholeAnswer), /^HTTP\/1\.1 403/);
  const idle = await desk.tcp('b.test', upstream.port);
  idle.write('POST /1 HTTP/1.1\r\nHost: b.test\r\nContent-Length: 0\r\n\r\n');
  await once(idle, 'data');
  desk.policy.rules = [];
  // The answer's end is seen by the proxy a turn later than by us; until then the connection is not idle.
  for (let i = 0; !idle.destroyed; i += 1) {
    assert.ok(i < 6000, 'it stays open');
    desk.egress.update(desk.config);
    await new Promise((done) => setTimeout(done, 5));
  }
});

const ask = (body: string): string => `POST /send HTTP/1.1\r\nHost: ask.test\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
const held = async (body: string): Promise<{ answer: Promise<string>; socket: Socket }> => {
  const before = desk.approver.asked.length;
  const socket = await desk.tcp('ask.test', upstream.port);
  const answer = say(socket, ask(body), wholeAnswer);
  await desk.approver.until(before + 1);
  return { answer, socket };
};

test('a held request goes on after approval, on durable record first', async () => {
  const { answer } = await held('{"to":"x"}');
  assert.equal(seen.length, 0);
  const question = desk.approver.asked.at(-1);
  assert.equal(question?.kind, 'http');
  assert.match(question?.summary ?? '', /^POST http:\/\/ask\.test:\d+\/send$/);
  assert.match(question?.detail ?? '', /"to":"x"/);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
  assert.match(await answer, /^HTTP\/1\.1 200/);
  assert.deepEqual(seen, ['POST /send {"to":"x"}']);
  assert.equal(desk.audit.committed.at(-1)?.verdict, 'approved');
});

test('a person is shown the body without its content encoding, the other side gets it as it was', async () => {
  const packed = gzipSync('{"to":"x"}');
  const before = desk.approver.asked.length;
  const socket = await desk.tcp('ask.test', upstream.port);
  socket.write(`POST /send HTTP/1.1\r\nHost: ask.test\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}\r\nConnection: close\r\n\r\n`);
  const answer = say(socket, packed, wholeAnswer);
  await desk.approver.until(before + 1);
  assert.match(desk.approver.asked.at(-1)?.detail ?? '', /"to":"x"/);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_z', by: 'ann', reason: 'no' });
  assert.match(await answer, /^HTTP\/1\.1 403/);
});

test('a rejected request is refused, a waiting one says so, nobody to ask is a denial', async () => {
  const rejected = await held('1');
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'ann', reason: 'not today' });
  assert.match(await rejected.answer, /^HTTP\/1\.1 403[^]*not today/);
  const waiting = await held('2');
  desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_3' });
  const text = await waiting.answer;
  assert.match(text, /^HTTP\/1\.1 503[^]*retry-after/i);
  assert.match(text, /"status":"waiting","approvalId":"apr_3"/);
  const nobody = await held('3');
  desk.approver.answer({ verdict: 'unavailable', reason: 'no gateway' });
  assert.match(await nobody.answer, /^HTTP\/1\.1 403/);
  assert.equal(seen.length, 0);
});

test('a grant lets the identical request pass once without asking', async () => {
  const first = await held('same');
  const key = desk.approver.asked.at(-1)?.key ?? '';
  desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_4' });
  await first.answer;
  desk.approver.grants.add(key);
  const count = desk.approver.asked.length;
  assert.match(await say(await desk.tcp('ask.test', upstream.port), ask('same'), wholeAnswer), /^HTTP\/1\.1 200/);
  assert.equal(desk.approver.asked.length, count);
  const again = await held('same');
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_5', by: 'ann', reason: 'no' });
  await again.answer;
  assert.deepEqual(seen, ['POST /send same']);
});

test('an earlier approval is not used for a client that has closed its side by then', async () => {
  const { approver } = desk;
  const consume = approver.consumeGrant.bind(approver);
  let answer: (granted: boolean) => void = () => undefined;
  const asked = new Promise<void>((looked) => {
    approver.consumeGrant = () => new Promise((resolve) => {
      answer = resolve;
      looked();
    });
  });
  try {
    const socket = await desk.tcp('ask.test', upstream.port);
    const said = say(socket, ask('gone'), wholeAnswer);
    await asked;
    const denied = (): boolean => desk.audit.events.some((event) => event.verdict === 'deny' && event.message.includes('while it waited'));
    socket.end();
    await new Promise((next) => setTimeout(next, 50));
    answer(true);
    await said;
    while (!denied()) await new Promise((next) => setTimeout(next, 5));
    assert.deepEqual(seen, []);
  } finally {
    approver.consumeGrant = consume;
  }
});

test('a client that goes away withdraws its question', async () => {
  const { socket } = await held('4');
  const id = desk.approver.asked.at(-1)?.holdId ?? '';
  socket.destroy();
  while (!desk.approver.withdrawn.includes(id)) await new Promise((done) => setTimeout(done, 5));
  assert.equal(seen.length, 0);
});

test('a policy change re-decides what is held', async () => {
  const allowed = await held('5');
  desk.policy.rules = rules.map((rule) => (rule.host === 'ask.test' ? { ...rule, verdict: 'allow' as const } : rule));
  desk.egress.update(desk.config);
  assert.match(await allowed.answer, /^HTTP\/1\.1 200/);
  assert.equal(desk.approver.reasons.at(-1), 'policy');
  desk.policy.rules = rules;
  desk.egress.update(desk.config);
  const denied = await held('6');
  desk.policy.rules = rules.map((rule) => (rule.host === 'ask.test' ? { ...rule, verdict: 'deny' as const } : rule));
  desk.egress.update(desk.config);
  assert.match(await denied.answer, /^HTTP\/1\.1 403/);
  assert.deepEqual(seen, ['POST /send 5']);
});

test('what was read, or half read, when nothing was looked for in it is not sent on when something is', async () => {
  desk.policy.scan = false;
  desk.egress.update(desk.config);
  try {
    const waits = await held('{"card":"4111 1111 1111 1111"}');
    const { requests } = desk.egress.stats();
    const socket = await desk.tcp('ask.test', upstream.port);
    const reads = say(socket, 'POST /send?card=4111111111111111 HTTP/1.1\r\nHost: ask.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab', wholeAnswer);
    while (desk.egress.stats().requests === requests) await new Promise((next) => setTimeout(next, 5));
    desk.policy.scan = true;
    desk.egress.update(desk.config);
    assert.match(await waits.answer, /^HTTP\/1\.1 403 [^]*proxy\.unread/);
    assert.equal(desk.approver.reasons.at(-1), 'policy');
    const asked = desk.approver.asked.length;
    socket.write('cd');
    assert.match(await reads, /^HTTP\/1\.1 403 [^]*proxy\.unread/);
    assert.equal(desk.approver.asked.length, asked);
    assert.deepEqual(seen, []);
  } finally {
    desk.policy.scan = true;
    desk.egress.update(desk.config);
  }
});

test('a commit that fails stops an approved request', async () => {
  const { answer } = await held('7');
  desk.audit.broken = true;
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_6', by: 'ann' });
  assert.match(await answer, /^HTTP\/1\.1 503/);
  desk.audit.broken = false;
  assert.equal(seen.length, 0);
});

test('a raw port is spliced to the pinned address, whoever speaks first, and cut by a new policy', async () => {
  const socket = await desk.tcp('mail.test', mailPort);
  const [hello] = (await once(socket, 'data')) as [Buffer];
  assert.match(hello.toString(), /^220 mail/);
  socket.write('EHLO x\r\n');
  const [echo] = (await once(socket, 'data')) as [Buffer];
  assert.match(echo.toString(), /^echo EHLO/);
  desk.policy.rules = rules.filter((rule) => rule.host !== 'mail.test');
  const gone = once(socket, 'close');
  desk.egress.update(desk.config);
  await gone;
  desk.policy.rules = rules;
  const eager = await desk.tcp('mail.test', mailPort);
  eager.write('EHLO y\r\n');
  let text = '';
  while (!text.includes('EHLO y')) text += String(((await once(eager, 'data')) as [Buffer])[0]);
  eager.destroy();
});

test('a stream and a raw connection end when the policy has their host somewhere else, the others go on', async () => {
  const moved = await stream('a.test', '/stream/moved');
  const stays = await stream('b.test', '/stream/stays');
  const raw = await desk.tcp('mail.test', mailPort);
  await once(raw, 'data');
  const gone = Promise.all([once(moved.socket, 'close'), once(raw.resume(), 'close')]);
  try {
    desk.egress.update({ ...desk.config, upstreams: desk.config.upstreams.map((pin) => (pin.host === 'b.test' ? pin : { ...pin, addresses: ['127.0.0.2'] })) });
    await gone;
    assert.deepEqual(desk.audit.events.filter(({ decision }) => decision?.rules[0]?.id === 'proxy.moved').map(({ message }) => message).length, 2);
    stays.res.write('data: 2\n\n');
    while (!stays.text().includes('data: 2')) await once(stays.socket, 'data');
  } finally {
    desk.egress.update(desk.config);
    stays.socket.destroy();
  }
});

test('passthrough keeps the upstream certificate and still checks the server name', async () => {
  const open = async (servername: string): Promise<TLSSocket> => connectTls({ socket: await desk.tcp('pinned.test', closedTls.port), servername, ca: closedTls.caPem ?? '' });
  const socket = await open('pinned.test');
  await once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  assert.match(await say(socket, 'GET / HTTP/1.1\r\nHost: pinned.test\r\nConnection: close\r\n\r\n', wholeAnswer), /unread/);
  const other = await open('other.test');
  await assert.rejects(once(other, 'secureConnect'));
});

test('unread (network open): TLS is spliced with its server name checked, other protocols are spliced, plain HTTP is still decided', async () => {
  desk.policy.unread = true;
  try {
    const open = async (servername: string): Promise<TLSSocket> => connectTls({ socket: await desk.tcp('pinned.test', closedTls.port), servername, ca: closedTls.caPem ?? '' });
    const socket = await open('pinned.test');
    await once(socket, 'secureConnect');
    socket.on('error', () => undefined);
    assert.match(await say(socket, 'GET / HTTP/1.1\r\nHost: pinned.test\r\nConnection: close\r\n\r\n', wholeAnswer), /unread/);
    await assert.rejects(once(await open('other.test'), 'secureConnect'));
    const mailSocket = await desk.tcp('mail.test', mailPort);
    const [hello] = (await once(mailSocket, 'data')) as [Buffer];
    assert.match(hello.toString(), /^220 mail/);
    mailSocket.destroy();
    desk.policy.rules = [{ host: 'a.test', verdict: 'deny', methods: ['DELETE'] }, ...rules];
    const plain = await desk.tcp('a.test', upstream.port);
    assert.match(await say(plain, 'DELETE / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n', wholeAnswer), /^HTTP\/1\.1 403/);
    assert.equal(seen.length, 0);
  } finally {
    desk.policy.unread = false;
  }
});

test('what began when nothing was looked for ends when something is: an upload that still runs; an answer goes on', async () => {
  const value = 'sk-first-0123456789abcdef';
  const upload = async (path: string): Promise<{ socket: Socket; answer: Promise<string> }> => {
    const socket = await desk.tcp('a.test', upstream.port);
    const answer = say(socket, `POST ${path} HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n`, wholeAnswer);
    while (!received.has(path)) await new Promise((done) => setTimeout(done, 5));
    return { socket, answer };
  };
  const credential = { placeholder: 'nemo-placeholder-7', value, host: 'b.test', header: 'authorization', pathPrefix: '' };
  const credentials = [credential];
  const changes = { scanned: (on: boolean) => { desk.policy.scan = on; desk.egress.update(desk.config); }, given: (on: boolean) => { desk.egress.update(on ? { ...desk.config, credentials } : desk.config); } };
  desk.policy.scan = false;
  try {
    for (const [name, change] of Object.entries(changes)) {
      change(false);
      const bare = await upload(`/up/${name}`);
      const answer = await stream('a.test', `/stream/${name}`);
      change(true);
      assert.match(await bare.answer, /^HTTP\/1\.1 403 [^]*proxy\.unread/, name);
      answer.res.write('data: 2\n\n');
      while (!answer.text().includes('data: 2')) await once(answer.socket, 'data');
      answer.socket.destroy();
      bare.socket.destroy();
    }
    const other = { ...credential, placeholder: 'nemo-placeholder-8', value: 'sk-other-0123456789abcdef' };
    const [sends, hears] = [await upload('/up/renewed'), await stream('b.test', '/stream/renewed')];
    desk.egress.update({ ...desk.config, credentials: [...credentials, other] });
    hears.res.write(`data: ${other.value}\n\n`);
    while (!hears.text().includes('**')) await once(hears.socket, 'data');
    assert.ok(!hears.text().includes(other.value));
    sends.socket.write(`${other.value.length.toString(16)}\r\n${other.value}\r\n0\r\n\r\n`);
    assert.match(await sends.answer, /^HTTP\/1\.1 403/);
    assert.ok(!seen.some((one) => one.includes(other.value)));
    hears.socket.destroy();
  } finally {
    desk.policy.scan = true;
    desk.egress.update(desk.config);
  }
});

test('a TLS session does not outlive the trust anchor it was verified by', async () => {
  const pin = { host: 'pinned.test', addresses: ['127.0.0.1'] };
  const upstreams = new Upstreams({ resolve: async () => [], clock: testClock, pins: [{ ...pin, caPem: closedTls.caPem ?? '' }], connections: 4 });
  const first = await upstreams.connect('pinned.test', closedTls.port, true);
  // TLS 1.3 sends the ticket after the handshake, with the first answer.
  first.write('GET / HTTP/1.1\r\nHost: pinned.test\r\n\r\n');
  await once(first, 'data');
  first.destroy();
  const resumed = (await upstreams.connect('pinned.test', closedTls.port, true)) as TLSSocket;
  assert.equal(resumed.isSessionReused(), true);
  resumed.destroy();
  upstreams.update([pin]);
  await assert.rejects(upstreams.connect('pinned.test', closedTls.port, true), /certificate/);
  await upstreams.close();
});
