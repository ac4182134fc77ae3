/** WebSocket through a whole egress: the handshake decided and rebuilt, every message read, a new policy closing exactly what it denies. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { WebSocket, WebSocketServer } from 'ws';
import { compileKnown } from '@nemoclaw/detect';
import { Pace } from '../fairness/pace.ts';
import { inspectAside } from '../inspect/inspect-aside.ts';
import { openDesk, openUpstream, say, testClock } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { FrameError, FrameReader, writeClose, writeFrame } from './websocket-frames.ts';
import type { FrameEvent } from './websocket-frames.ts';

const secret = 'sk-real-0123456789abcdef';
let secure: Upstream;
let plain: Upstream;
let desk: Desk;
let sockets: WebSocketServer;
let heads: string[][] = [];
let messages: string[] = [];
let codes: number[] = [];
let accepted: WebSocket[] = [];

before(async () => {
  sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true, handleProtocols: (offered) => [...offered][0] ?? false });
  const listen = (upstream: Upstream): void => {
    upstream.server.on('upgrade', (req: import('node:http').IncomingMessage, socket: Socket, head: Buffer) => {
      heads.push(req.rawHeaders);
      if (req.url === '/wrong') {
        socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAA\r\n\r\n');
        return;
      }
      if (req.url === '/refused') {
        socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno');
        return;
      }
      sockets.handleUpgrade(req, socket, head, (peer) => {
        accepted.push(peer);
        peer.on('error', () => undefined);
        peer.on('message', (data: Buffer, binary: boolean) => {
          messages.push(data.toString());
          peer.send(data, { binary });
        });
        peer.on('close', (code) => codes.push(code));
      });
    });
  };
  secure = await openUpstream((_req, res) => res.end('no socket'), 'ws.test');
  plain = await openUpstream((_req, res) => res.end('no socket'));
  listen(secure);
  listen(plain);
  desk = await openDesk({
    rules: [{ host: 'ws.test', verdict: 'deny', path: '/admin' }, { host: 'ws.test', verdict: 'escalate', path: '/ask' }, { host: 'ws.test', verdict: 'allow' }, { host: 'plain.test', verdict: 'allow' }],
    pins: [{ host: 'ws.test', caPem: secure.caPem ?? '' }, { host: 'plain.test' }],
    ports: [secure.port, plain.port],
    credentials: [{ placeholder: 'nemo-placeholder-42', value: secret, host: 'ws.test', header: 'authorization', pathPrefix: '' }],
    limits: { messageBytes: 100_000 },
  });
});
after(async () => {
  await desk.close();
  await secure.close();
  await plain.close();
});

async function open(path: string, options: { readonly tls?: boolean; readonly protocols?: string[]; readonly headers?: Record<string, string> } = {}): Promise<WebSocket> {
  const { tls = true, protocols = [], headers = {} } = options;
  const [host, port] = tls ? ['ws.test', secure.port] : ['plain.test', plain.port];
  const socket = tls ? await desk.tls(host, port) : await desk.tcp(host, port);
  const client = new WebSocket(`${tls ? 'wss' : 'ws'}://${host}:${port}${path}`, protocols, { createConnection: () => socket, headers });
  client.on('error', () => undefined);
  return client;
}
const opened = async (client: WebSocket): Promise<WebSocket> => {
  await once(client, 'open');
  return client;
};
const closed = async (client: WebSocket): Promise<{ code: number; reason: string }> => {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  return { code, reason: reason.toString() };
};
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((turn) => setImmediate(turn));
}
const field = (raw: readonly string[] | undefined, name: string): string | undefined => raw?.find((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name);

test('messages pass both ways, over TLS and without; the handshake is rebuilt without extensions', async () => {
  for (const tls of [true, false]) {
    heads = [];
    const client = await opened(await open('/chat?x=1', { tls, protocols: ['soap', 'mqtt'], headers: { 'x-mine': 'm', ...(tls ? { authorization: 'Bearer nemo-placeholder-42' } : {}) } }));
    assert.equal(client.protocol, 'soap');
    assert.equal(client.extensions, '');
    for (const text of ['hallo', 'ä'.repeat(40_000), '']) {
      const back = once(client, 'message');
      client.send(text);
      assert.equal(String((await back)[0]), text);
    }
    const pong = once(client, 'pong');
    client.ping('p');
    await pong;
    const over = closed(client);
    client.close(4001, 'done');
    assert.deepEqual(await over, { code: 4001, reason: 'done' });
    const [head] = heads;
    assert.equal(field(head, 'sec-websocket-extensions'), undefined);
    assert.equal(field(head, 'sec-websocket-protocol'), 'soap, mqtt');
    assert.equal(field(head, 'x-mine'), 'm');
    if (tls) assert.equal(field(head, 'authorization'), `Bearer ${secret}`);
  }
  await until(() => codes.length >= 2);
  assert.deepEqual(codes.slice(0, 2), [4001, 4001]);
});

test('a denied handshake is answered with the rule, and the origin sees nothing', async () => {
  heads = [];
  const client = await open('/admin');
  const [, answer] = (await once(client, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
  assert.equal(answer.statusCode, 403);
  assert.equal(answer.headers['x-nemoclaw-rule'], 'rules[0]');
  answer.resume();
  await once(answer, 'end');
  assert.equal(heads.length, 0);
});

test('a handshake waits for a person', async () => {
  const client = await open('/ask');
  await desk.approver.until(1);
  const ready = once(client, 'open');
  desk.approver.answer({ verdict: 'allow', by: 'anna', approvalId: 'a1' });
  await ready;
  client.terminate();
});

test('what the origin answers instead, or wrongly, does not open anything', async () => {
  const refused = await open('/refused');
  const [, answer] = (await once(refused, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
  assert.equal(answer.statusCode, 401);
  answer.resume();
  const wrong = await open('/wrong');
  const [, bad] = (await once(wrong, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage];
  assert.equal(bad.statusCode, 502);
  bad.resume();
});

test('a secret in a message, also in fragments, closes with 1008 and does not arrive', async () => {
  messages = [];
  const client = await opened(await open('/leak'));
  const over = closed(client);
  client.send(`x${secret.slice(0, 9)}`, { fin: false });
  client.send(`${secret.slice(9)}y`, { fin: true });
  const { code, reason } = await over;
  assert.equal(code, 1008);
  assert.match(reason, /^inspection\.scanForPII: /);
  assert.deepEqual(messages, []);
  assert.equal(desk.audit.events.findLast((event) => event.verdict === 'deny')?.decision?.rules[0]?.id, 'inspection.scanForPII');
});

test('a new policy closes exactly the socket it denies, with its reason', async () => {
  const [stays, goes] = [await opened(await open('/a')), await opened(await open('/b'))];
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'ws.test', verdict: 'deny', path: '/b', id: 'no-b' }, ...rules];
  const over = closed(goes);
  desk.egress.update(desk.config);
  const { code, reason } = await over;
  assert.equal(code, 1008);
  assert.match(reason, /^no-b: /);
  const back = once(stays, 'message');
  stays.send('still');
  assert.equal(String((await back)[0]), 'still');
  stays.terminate();
  desk.policy.rules = rules;
});

test('too large a message closes with 1009; a client that vanishes is told to the origin', async () => {
  const client = await opened(await open('/big'));
  const over = closed(client);
  client.send('x'.repeat(100_001));
  assert.equal((await over).code, 1009);
  codes = [];
  (await opened(await open('/gone'))).terminate();
  await until(() => codes.length > 0);
  accepted = [];
  const left = await opened(await open('/left'));
  await until(() => accepted.length > 0);
  const cut = closed(left);
  accepted[0]?.terminate();
  assert.equal((await cut).code, 1011);
});

const key = 'AAAAAAAAAAAAAAAAAAAAAA==';
const hello = (more = '', path = '/raw'): string => `GET ${path} HTTP/1.1\r\nHost: plain.test:${plain.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${more}\r\n`;
const raw = async (bytes: string | Buffer): Promise<string> => say(await desk.tcp('plain.test', plain.port), bytes);

test('handshakes that are none', async () => {
  const bad: readonly [string, RegExp][] = [
    [hello('Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB==\r\n'), /^HTTP\/1\.1 501/],
    [hello().replace(key, 'short'), /^HTTP\/1\.1 501/],
    [hello().replace('Version: 13', 'Version: 8'), /^HTTP\/1\.1 501/],
    [hello().replace('GET', 'POST'), /^HTTP\/1\.1 501/],
    [hello().replace('websocket', 'websocket, h2c'), /^HTTP\/1\.1 501/],
    [hello('Sec-WebSocket-Protocol: a, a\r\n'), /^HTTP\/1\.1 501/],
    [hello('Content-Length: 3\r\n') + 'abc', /^HTTP\/1\.1 501/],
    [hello('Host: other.test\r\n'), /^HTTP\/1\.1 400/],
    [hello().replace(`plain.test:${plain.port}`, 'ws.test'), /^HTTP\/1\.1 421/],
    [hello('X-HTTP-Method-Override: DELETE\r\n'), /^HTTP\/1\.1 400/],
  ];
  heads = [];
  for (const [bytes, answer] of bad) assert.match(await raw(bytes), answer, bytes);
  assert.equal(heads.length, 0);
});

test('frames that break the protocol end the connection, and nothing of them arrives', async () => {
  const frames: readonly [string, Buffer, number][] = [
    ['not masked', writeFrame('text', Buffer.from('evil'), false), 1002],
    ['a reserved bit', mutated(writeFrame('text', Buffer.from('evil'), true), 0, 0xc1), 1002],
    ['an unknown opcode', mutated(writeFrame('text', Buffer.from('evil'), true), 0, 0x83), 1002],
    ['a cut control frame', mutated(writeFrame('ping', Buffer.from('evil'), true), 0, 0x09), 1002],
    ['a continuation of nothing', mutated(writeFrame('text', Buffer.from('evil'), true), 0, 0x80), 1002],
    ['a message in a message', Buffer.concat([mutated(writeFrame('text', Buffer.from('evil'), true), 0, 0x01), writeFrame('text', Buffer.from('evil'), true)]), 1002],
    ['no UTF-8', writeFrame('text', Buffer.from([0xc3, 0x28]), true), 1007],
    ['a close code that may not be sent', writeClose(1006, '', true), 1002],
    ['a length that is written too long', Buffer.from([0x81, 0xfe, 0, 1, 0, 0, 0, 0, 0x61]), 1002],
    ['a length beyond all bounds', Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), 1009],
  ];
  for (const [name, frame, code] of frames) {
    messages = [];
    const text = Buffer.from(await raw(Buffer.concat([Buffer.from(hello()), frame])), 'latin1');
    const body = text.subarray(text.indexOf('\r\n\r\n') + 4);
    assert.match(text.toString('latin1'), /^HTTP\/1\.1 101/, name);
    const events = [...new FrameReader(false, 1000).read(body)];
    assert.deepEqual(events.map((event) => event.kind === 'close' && event.code), [code], name);
    assert.deepEqual(messages, [], name);
  }
});

function mutated(bytes: Buffer, at: number, value: number): Buffer {
  const out = Buffer.from(bytes);
  out[at] = value;
  return out;
}

test('frames: whatever the cuts, the same messages; whatever the bytes, an event or a FrameError', () => {
  const message = fc.record({ binary: fc.boolean(), text: fc.string({ maxLength: 300 }), parts: fc.integer({ min: 1, max: 4 }) });
  fc.assert(fc.property(fc.array(message, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), fc.boolean(), (sent, cuts, mask) => {
    const bytes = Buffer.concat(sent.flatMap(({ binary, text, parts }) => {
      const data = Buffer.from(text);
      const size = Math.ceil(data.length / parts) || 1;
      const pieces = Array.from({ length: Math.max(1, Math.ceil(data.length / size)) }, (_, i) => data.subarray(i * size, (i + 1) * size));
      return pieces.map((piece, i) => {
        const frame = writeFrame(binary ? 'binary' : 'text', piece, mask);
        frame[0] = ((i === pieces.length - 1 ? 0x80 : 0) | (i === 0 ? (frame[0] ?? 0) & 15 : 0)) & 0xff;
        return frame;
      });
    }));
    const reader = new FrameReader(mask, 100_000);
    const events: FrameEvent[] = [];
    for (let at = 0, i = 0; at < bytes.length; i += 1) {
      const size = cuts[i % cuts.length] ?? 1;
      events.push(...reader.read(Buffer.from(bytes.subarray(at, at + size))));
      at += size;
    }
    assert.deepEqual(events.map((event) => event.kind === 'message' && [event.binary, event.data.toString()]), sent.map(({ binary, text }) => [binary, Buffer.from(text).toString()]));
  }), { seed: 7, numRuns: 200 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (bytes, mask) => {
    try {
      for (const event of new FrameReader(mask, 1000).read(Buffer.from(bytes))) assert.ok(event.kind !== 'message' || event.data.length <= 1000);
    } catch (error) {
      assert.ok(error instanceof FrameError);
    }
  }), { seed: 7, numRuns: 2000 });
});

test('what stands in a ping, a pong or the reason of a close is read as messages are, both ways', async () => {
  const pings: string[] = [];
  for (const kind of ['ping', 'pong'] as const) {
    const count = accepted.length;
    const client = await opened(await open('/control'));
    const peer = accepted[count];
    peer?.on(kind, (data: Buffer) => pings.push(data.toString()));
    const over = closed(client);
    client[kind]('fine');
    client[kind](`x ${secret}`);
    assert.equal((await over).code, 1008, kind);
  }
  assert.deepEqual(pings, ['fine', 'fine']);
  const count = accepted.length;
  const client = await opened(await open('/control'));
  const peer = accepted[count] ?? assert.fail('nobody came');
  const heard = once(client, 'ping') as Promise<[Buffer]>;
  peer.ping(`x ${secret}`);
  assert.equal((await heard)[0].toString(), `x ${'*'.repeat(secret.length)}`);
  const left = once(peer, 'close') as Promise<[number, Buffer]>;
  client.close(4000, secret);
  const [, reason] = await left;
  assert.ok(!reason.toString().includes(secret), reason.toString());
});

test('a sandbox whose messages keep the others waiting is read in its turns, and all of them arrive in order', async () => {
  const other = new Pace(testClock);
  const works = setInterval(() => other.measure(() => undefined), 5);
  const client = await opened(await open('/turns', { tls: false }));
  try {
    messages = [];
    let echoed = 0;
    client.on('message', () => { echoed += 1; });
    const before = desk.egress.stats().waited;
    let sent = 0;
    // Until it has had to wait, however fast this machine is.
    for (let i = 0; i < 50 && desk.egress.stats().waited - before < 3; i += 1) {
      for (const text of Array.from({ length: 10 }, () => ['4111 1111 1111 1112 ', 'a@b.example ', 'plain words ']).flat()) {
        client.send(`${sent} ${text.repeat(16_000 / text.length)}`);
        sent += 1;
      }
      while (echoed < sent) await once(client, 'message');
    }
    assert.ok(desk.egress.stats().waited - before >= 3, 'it never waited');
    assert.deepEqual(messages.map((text) => Number(text.split(' ')[0])), Array.from({ length: sent }, (_, i) => i));
  } finally {
    clearInterval(works);
    other.close();
    client.terminate();
  }
});

/** Long enough to be read in the other thread. */
const long = (text: string): string => `${text} ${'plain words '.repeat(7_000)}`;
/** Keeps that thread busy for `sandbox`. */
const busy = (sandbox: string, bytes: Buffer): Promise<unknown> => Promise.resolve(inspectAside(sandbox, { bytes, contentType: 'application/json', known: compileKnown([]), settings: { scanForPII: true } }));
/** Before whatever comes next is read there. */
const muchElse = (): Promise<unknown> => Promise.all(Array.from({ length: 5 }, (_, i) => busy(`another ${i}`, slow)));
const slow = Buffer.from(JSON.stringify(Array.from({ length: 10_000 }, (_, i) => ({ mail: `user${i}@example.com`, card: '4111 1111 1111 1111' }))));

test('a long message is read in another thread: what comes behind it waits, both ways, be it the end', async () => {
  messages = [];
  const [count, before] = [accepted.length, codes.length];
  const client = await opened(await open('/long'));
  const told: string[] = [];
  accepted[count]?.on('ping', (data: Buffer) => messages.push(`ping ${data.toString()}`));
  client.on('message', (data: Buffer) => told.push(data.toString()));
  const texts = [long('1'), '2', long('3'), long('4'), '5'];
  for (const text of texts) client.send(text);
  client.ping('6');
  while (told.length < texts.length) await once(client, 'message');
  const over = closed(client);
  client.send(long('7'));
  client.close(4002, 'done');
  assert.deepEqual(await over, { code: 4002, reason: 'done' });
  await until(() => codes.length > before);
  assert.deepEqual(messages, [...texts, 'ping 6', long('7')]);
  assert.deepEqual(told.slice(0, 5), texts);
  assert.equal(codes.at(-1), 4002);
  await until(() => desk.egress.stats().buffered === 0);
});

test('a secret in a long message closes with 1008, and neither it nor what stands behind it arrives', async () => {
  messages = [];
  const client = await opened(await open('/long'));
  const over = closed(client);
  client.send('first');
  client.send(long(secret));
  client.send('last');
  const { code, reason } = await over;
  assert.equal(code, 1008);
  assert.match(reason, /^inspection\.scanForPII: /);
  assert.deepEqual(messages, ['first']);
});

test('a message that waits to be read does not leave once its connection is denied', async () => {
  messages = [];
  const client = await opened(await open('/b'));
  const works = muchElse();
  client.send(long('late'));
  await until(() => desk.egress.stats().buffered > 80_000);
  const over = closed(client);
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'ws.test', verdict: 'deny', path: '/b', id: 'no-b' }, ...rules];
  desk.egress.update(desk.config);
  assert.equal((await over).code, 1008);
  desk.policy.rules = rules;
  await works;
  // What waited in that thread has been read by now.
  await busy('another', slow);
  assert.deepEqual(messages, []);
  await until(() => desk.egress.stats().buffered === 0);
});

test('a message that cannot be read does not leave, and the agent is told', async () => {
  messages = [];
  const client = await opened(await open('/long'));
  const works = Promise.all([muchElse(), busy('sbx_test', Buffer.alloc((32 << 20) - 1000))]);
  const over = closed(client);
  client.send(long('too much'));
  const { code, reason } = await over;
  assert.equal(code, 1008);
  assert.match(reason, /^inspection\.scanForPII: The message could not be inspected/);
  assert.deepEqual(messages, []);
  await works;
});
