/** Attacks on our own HTTP/1.1: clients and origins that begin, end, wait and leave where it hurts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { after, before, test } from 'node:test';
import type { Dispatcher } from 'undici';
import { AnswerReader } from './answer-reader.ts';
import { Http1Pool } from '../upstream/http1-upstream.ts';
import type { Http1Request } from '../upstream/http1-upstream.ts';
import { OutgoingBody } from '../body/outgoing-body.ts';
import { Pace } from '../fairness/pace.ts';
import { openDesk, testClock } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import type { Wire } from './wire.ts';

let desk: Desk;
let origin: { readonly port: number; answer: (socket: Socket, text: string) => void; close(): Promise<void> };
before(async () => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => origin.answer(socket, chunk.toString('latin1')));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  origin = {
    port: (server.address() as AddressInfo).port, answer: () => undefined,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
  desk = await openDesk({ rules: [{ host: 'held.test', verdict: 'escalate' }], pins: [{ host: 'held.test' }], ports: [origin.port] });
});
after(async () => {
  await desk.close();
  await origin.close();
});

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i += 1) {
    assert.ok(i < 6000, what);
    await new Promise((next) => setTimeout(next, 10));
  }
}

/** A handler that notes what it is told. */
function noting(): { readonly handler: Dispatcher.DispatchHandler; readonly said: string[]; readonly controller: () => Dispatcher.DispatchController; readonly over: Promise<void> } {
  const said: string[] = [];
  let controller: Dispatcher.DispatchController | undefined;
  let done = (): void => undefined;
  const over = new Promise<void>((resolve) => { done = resolve; });
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: (given) => { controller = given; },
    onResponseStart: (_controller, status) => void said.push(String(status)),
    onResponseData: (_controller, bytes) => void said.push(bytes.toString('latin1')),
    onResponseEnd: () => { said.push('end'); done(); },
    onResponseError: (_controller, error) => { said.push(error.message); done(); },
  };
  return { handler, said, over, controller: () => controller ?? assert.fail('no request was started') };
}

const toOrigin = async (): Promise<Socket> => {
  const socket = connect(origin.port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
};
const openPool = (open: () => Promise<Socket>, connections = 8): Http1Pool => new Http1Pool({ connect: open, connections, idleMs: 30_000, answerMs: 30_000 });
const get: Http1Request = { method: 'GET', path: '/', headers: ['host', 'a.test'], body: null };

test('whoever holds an answer is not told of its end before it goes on', () => {
  for (const [bytes, method] of [['HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n', 'GET'], ['HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n', 'HEAD'], ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', 'GET'], ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', 'GET']] as const) {
    const told: string[] = [];
    const reader = new AnswerReader(method, {
      head: () => { told.push('head'); reader.hold(); },
      data: () => { told.push('data'); reader.hold(); },
      end: () => void told.push('end'),
    });
    reader.push(Buffer.from(bytes));
    assert.deepEqual(told, ['head'], bytes);
    for (let i = 0; i < 2 && !told.includes('end'); i += 1) {
      reader.goOn();
      if (told.at(-1) === 'data') reader.hold();
    }
    assert.equal(told.at(-1), 'end', bytes);
    assert.equal(told.filter((one) => one === 'end').length, 1);
  }
  const reader = new AnswerReader('GET', { head: () => reader.hold(), data: () => undefined, end: () => undefined });
  reader.push(Buffer.from('HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 smuggled\r\n\r\n'));
  assert.throws(() => reader.goOn(), /more than its answer/);
});

test('what a head costs grows with its length alone, also where it comes byte by byte', (t) => {
  let looked = 0;
  let copied = 0;
  const { indexOf, copy } = Buffer.prototype;
  const { concat } = Buffer;
  t.mock.method(Buffer.prototype, 'indexOf', function count(this: Buffer, ...given: Parameters<typeof indexOf>) {
    looked += this.length - Number(given[1] ?? 0);
    return indexOf.apply(this, given);
  });
  t.mock.method(Buffer.prototype, 'copy', function count(this: Buffer, ...given: Parameters<typeof copy>) {
    copied += this.length;
    return copy.apply(this, given);
  });
  t.mock.method(Buffer, 'concat', (...given: Parameters<typeof concat>) => {
    const all = concat(...given);
    copied += all.length;
    return all;
  });
  const long = `x-long: ${'x'.repeat(8_000)}\r\n`;
  const answer = Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n${long}\r\n4\r\nbody\r\n0\r\n${long}\r\n`);
  const told: string[] = [];
  const reader = new AnswerReader('GET', { head: (_status, fields) => void told.push(...fields), data: (bytes) => void told.push(bytes.toString()), end: (trailers) => void told.push(...trailers) });
  for (let at = 0; at < answer.length; at += 1) reader.push(answer.subarray(at, at + 1));
  assert.deepEqual([told.length, told.slice(4, 8).join(''), told.at(-1)?.length], [10, 'body', 8_000]);
  assert.ok(looked < 10 * answer.length, `looked at ${looked} bytes`);
  assert.ok(copied < 10 * answer.length, `copied ${copied} bytes`);
});

test('an empty piece of a streamed body does not end the request', async () => {
  let sent = '';
  origin.answer = (socket, text) => {
    sent += text;
    if (sent.endsWith('0\r\n\r\n') && sent.includes('last')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
  };
  const from = new PassThrough();
  const body = new OutgoingBody({ body: from, complete: () => true } as unknown as Wire, [], new Pace(testClock));
  const { handler, said, over } = noting();
  const pool = openPool(toOrigin);
  pool.dispatch({ ...get, method: 'POST', body }, handler);
  await until('the head is out', () => sent !== '');
  body.emit('data', Buffer.alloc(0));
  from.end('last');
  await over;
  pool.destroy();
  assert.deepEqual(said, ['200', 'end']);
  assert.equal(sent.slice(sent.indexOf('\r\n\r\n')), '\r\n\r\n4\r\nlast\r\n0\r\n\r\n');
});

test('an origin that closes every connection at once fails the request, and is left alone then', async () => {
  let made = 0;
  // Its end is there before a request goes out, and before the connection is taken.
  for (const early of [false, true]) {
    made = 0;
    const pool = openPool(async () => {
      made += 1;
      const socket = new Duplex({ allowHalfOpen: false, read() { this.push(null); }, write: (_chunk, _encoding, done) => done() });
      if (early) await once(socket.resume(), 'end');
      return Object.assign(socket, { setTimeout: () => socket }) as unknown as Socket;
    });
    const { handler, said, over } = noting();
    pool.dispatch(get, handler);
    await over;
    assert.deepEqual(said, ['the origin closed the connection at once']);
    assert.ok(made < 100, `${made} connections`);
    assert.equal(pool.busy, false);
    pool.destroy();
  }
});

test('requests that nobody waits for any more are not kept until a connection is free', async () => {
  origin.answer = () => undefined;
  const pool = openPool(toOrigin, 1);
  const first = noting();
  pool.dispatch(get, first.handler);
  for (let i = 0; i < 20; i += 1) {
    const { handler, controller, said } = noting();
    pool.dispatch({ ...get, method: 'POST', body: Buffer.alloc(1024) }, handler);
    controller().abort(new Error('left'));
    assert.deepEqual(said, ['left']);
  }
  assert.equal(pool.waiting, 1);
  pool.destroy();
  await first.over;
  assert.equal(pool.waiting, 0);
});

test('a person is not asked for a client that has left, whatever it had sent ahead', async () => {
  origin.answer = () => assert.fail('nothing goes out');
  for (const ahead of ['GET /next HTTP/1.1\r\nHost: held.test\r\n\r\n', 'x', 'POST /y HTTP/1.1\r\nHost: held.test\r\nContent-Length: 9\r\n\r\n']) {
    const before = desk.approver.withdrawn.length;
    const client = await desk.tcp('held.test', origin.port);
    client.on('error', () => undefined);
    client.resume();
    const closed = once(client, 'close');
    const asked = desk.approver.asked.length;
    client.write(`GET /held HTTP/1.1\r\nHost: held.test\r\n\r\n${ahead}`);
    await desk.approver.until(asked + 1);
    client.end();
    await until('the question is taken back', () => desk.approver.withdrawn.length > before);
    await closed;
  }
});

test('requests behind one that a person was asked for are answered in order, also when the client has closed its side by then', async () => {
  origin.answer = (socket, text) => {
    const path = text.split(' ')[1] ?? '';
    const send = (): void => void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length + 1}\r\n\r\n${path};`);
    if (path === '/1') release = send;
    else send();
  };
  let release: (() => void) | undefined;
  const client = await desk.tcp('held.test', origin.port);
  let text = '';
  const closed = once(client, 'close');
  client.on('data', (chunk: Buffer) => { text += chunk.toString('latin1'); });
  const asked = desk.approver.asked.length;
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: held.test\r\n\r\n`;
  client.write(request('/1') + request('/2') + request('/3'));
  await desk.approver.until(asked + 1);
  desk.approver.answer({ verdict: 'allow', by: 'a person', approvalId: 'apr_1' });
  await until('the first is sent', () => release !== undefined);
  desk.policy.rules = [{ host: 'held.test', verdict: 'allow' }, ...desk.policy.rules];
  client.end();
  release?.();
  await closed;
  assert.deepEqual(text.match(/\/\d;/g), ['/1;', '/2;', '/3;']);
});
