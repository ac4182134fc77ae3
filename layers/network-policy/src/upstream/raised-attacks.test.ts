/** Answers in frames of HTTP/2 that would become something else over HTTP/1.1, origins that refuse, leave or fall silent: the client of HTTP/1.1 sees one honest answer, or that there is none. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { openDesk, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import { block, flags, frame, types } from '../testing/testing-frames.ts';
import type { Fields } from '../testing/testing-frames.ts';
import { answerOf, openSession } from '../testing/testing-http2.ts';
import { openFrames, openOrigin } from '../testing/testing-origins.ts';
import type { Origin } from '../testing/testing-origins.ts';
import { Http2Pool } from './http2-upstream.ts';

const u32 = (value: number): Buffer => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
const head = (stream: number, fields: Fields, end = false): Buffer => frame('headers', flags.endHeaders | (end ? flags.endStream : 0), stream, block(fields));
const status = (code: string, ...more: Fields): Fields => [[':status', code], ...more];
const data = (stream: number, text: string, end = true): Buffer => frame('data', end ? flags.endStream : 0, stream, Buffer.from(text, 'latin1'));
const reset = (stream: number, code: number): Buffer => frame('reset', 0, stream, u32(code));
const goaway = (last: number, code: number): Buffer => frame('goaway', 0, 0, Buffer.concat([u32(last), u32(code)]));

let desk: Desk;
let framed: Origin;
let changing: Origin;
/** Answers the next requests, one after the other; the last one all that come later. */
let script: ((stream: number, socket: Socket) => Buffer)[] = [];
let asked = 0;

before(async () => {
  framed = await openFrames('framed.test', (socket, stream) => {
    const answer = script[Math.min(asked, script.length - 1)];
    asked += 1;
    if (answer) socket.write(answer(stream, socket));
  });
  changing = await openOrigin('changing.test', (req, res) => void res.end(`over ${req.httpVersion}`));
  desk = await openDesk({
    rules: [{ host: 'framed.test', verdict: 'allow' }, { host: 'changing.test', verdict: 'allow' }],
    pins: [{ host: 'framed.test', caPem: framed.caPem }, { host: 'changing.test', caPem: changing.caPem }],
    ports: [framed.port, changing.port],
  });
});
after(async () => {
  await desk.close();
  await framed.close();
  await changing.close();
});
beforeEach(() => {
  asked = 0;
});

const request = (method = 'GET', more = ''): string => `${method} / HTTP/1.1\r\nHost: framed.test:${framed.port}\r\nConnection: close\r\n${more}\r\n`;
const ask = async (method = 'GET', more = ''): Promise<string> => say(await desk.tls('framed.test', framed.port), request(method, more), () => false);
const fine = (stream: number): Buffer => Buffer.concat([head(stream, status('200')), data(stream, 'fine')]);

const honest: readonly (readonly [string, (stream: number) => Buffer, RegExp])[] = [
  ['hints, head, body, fields behind it', (n) => Buffer.concat([head(n, status('103', ['link', '</a>'])), head(n, status('200')), data(n, 'abc', false), head(n, [['x-sum', '7'], ['set-cookie', 'evil=1']], true)]), /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n$/i],
  ['a body that looks like another answer', (n) => Buffer.concat([head(n, status('200', ['content-length', '38'])), data(n, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')]), /^HTTP\/1\.1 200 OK\r\ncontent-length: 38\r\n[^]*\r\n\r\nHTTP\/1\.1 200 OK\r\ncontent-length: 0\r\n\r\n$/],
  ['a field with CR and LF, which is left out', (n) => Buffer.concat([head(n, status('200', ['x-a', 'a\r\nset-cookie: evil=1\r\n\r\nHTTP/1.1 200 OK'], ['x-b', 'b'])), data(n, 'abc')]), /^HTTP\/1\.1 200 OK\r\n(?!x-a)[^]*3\r\nabc\r\n0\r\n\r\n$/],
  ['a field with NUL, which is left out', (n) => Buffer.concat([head(n, status('200', ['x-a', 'a\0x-evil\0b'])), data(n, 'abc')]), /^HTTP\/1\.1 200 OK\r\n(?!x-a)[^]*3\r\nabc\r\n0\r\n\r\n$/],
  ['an end and a reset without an error behind it', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc'), reset(n, 0)]), /3\r\nabc\r\n0\r\n\r\n$/],
  ['a reset without an error for its end: servers made with Node end large answers so', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), reset(n, 0)]), /3\r\nabc\r\n0\r\n\r\n$/],
  ['an empty frame for its end', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), data(n, '')]), /3\r\nabc\r\n0\r\n\r\n$/],
  ['a head that is all there is', (n) => head(n, status('200'), true), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n(?:0\r\n\r\n)?$/],
  ['no more requests after this one', (n) => Buffer.concat([goaway(n, 0), head(n, status('200')), data(n, 'abc')]), /3\r\nabc\r\n0\r\n\r\n$/],
  ['what was pushed unasked', (n) => Buffer.concat([frame('push', flags.endHeaders, n, Buffer.concat([u32(2), block([[':method', 'GET'], [':scheme', 'https'], [':authority', 'framed.test'], [':path', '/pushed']])])), head(2, status('200')), data(2, 'pushed'), head(n, status('200')), data(n, 'abc')]), /^HTTP\/1\.1 (?:502 [^]*|200 OK\r\n[^]*3\r\nabc\r\n0\r\n\r\n)$/],
];

for (const [what, answer, expected] of honest) {
  test(`an answer with ${what}`, async () => {
    script = [answer];
    const text = await ask();
    assert.match(text, expected);
    assert.doesNotMatch(text, /evil|pushed/);
  });
}

const none: readonly (readonly [string, (stream: number) => Buffer])[] = [
  ['transfer-encoding', (n) => Buffer.concat([head(n, status('200', ['transfer-encoding', 'chunked'])), data(n, '0\r\n\r\n')])],
  ['connection', (n) => Buffer.concat([head(n, status('200', ['connection', 'close'])), data(n, 'abc')])],
  ['two lengths', (n) => Buffer.concat([head(n, status('200', ['content-length', '3'], ['content-length', '4'])), data(n, 'abc')])],
  ['a length that is no number', (n) => Buffer.concat([head(n, status('200', ['content-length', '+3'])), data(n, 'abc')])],
  ['a pseudo-header field of requests', (n) => Buffer.concat([head(n, status('200', [':path', '/'])), data(n, 'abc')])],
  ['a status behind a field', (n) => Buffer.concat([head(n, [['x-a', 'b'], [':status', '200']]), data(n, 'abc')])],
  ['two statuses', (n) => Buffer.concat([head(n, status('200', [':status', '204'])), data(n, 'abc')])],
  ['a status below 100', (n) => Buffer.concat([head(n, status('099')), data(n, 'HTTP/1.1 200 OK\r\n\r\n')])],
  ['a status that is no number', (n) => Buffer.concat([head(n, status('2x0')), data(n, 'abc')])],
  ['101', (n) => Buffer.concat([head(n, status('101')), data(n, 'abc')])],
  ['a name in capitals', (n) => Buffer.concat([head(n, status('200', ['X-A', 'b'])), data(n, 'abc')])],
  ['a body before its head', (n) => data(n, 'HTTP/1.1 200 OK\r\n\r\n')],
  ['an interim answer alone', (n) => head(n, status('103'), true)],
];

for (const [what, answer] of none) {
  test(`an answer with ${what} is none`, async () => {
    script = [answer];
    assert.match(await ask(), /^HTTP\/1\.1 502 Bad Gateway\r\n/);
    script = [fine];
    assert.match(await ask(), /4\r\nfine\r\n0\r\n\r\n$/, 'the next one is answered');
  });
}

/** What is said, and then the end of the connection. */
const leave = (socket: Socket, last: Buffer): Buffer => {
  socket.end(last);
  return Buffer.alloc(0);
};
const cut: readonly (readonly [string, (stream: number, socket: Socket) => Buffer])[] = [
  ['less than its length', (n) => Buffer.concat([head(n, status('200', ['content-length', '5'])), data(n, 'abc')])],
  ['more than its length', (n) => Buffer.concat([head(n, status('200', ['content-length', '2'])), data(n, 'abc')])],
  ['less than its length before a reset without an error', (n) => Buffer.concat([head(n, status('200', ['content-length', '5'])), data(n, 'abc', false), reset(n, 0)])],
  ['a reset in its middle', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), reset(n, 2)])],
  ['a reset in its middle because nobody wants it', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), reset(n, 8)])],
  ['a connection that ends in its middle, with an error', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), goaway(n, 2)])],
  ['a connection that ends in its middle, without one', (n, socket) => leave(socket, Buffer.concat([head(n, status('200')), data(n, 'abc', false)]))],
  ['a connection that ends in its middle, as announced', (n, socket) => leave(socket, Buffer.concat([head(n, status('200')), data(n, 'abc', false), goaway(n, 0)]))],
  ['transfer-encoding behind its body', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), head(n, [['transfer-encoding', 'chunked']], true)])],
  ['a status behind its body', (n) => Buffer.concat([head(n, status('200')), data(n, 'abc', false), head(n, status('200'), true)])],
];

for (const [what, answer] of cut) {
  test(`an answer with ${what} never looks whole`, async () => {
    script = [answer];
    const text = await ask();
    // Unless it broke off before anything of it went out.
    if (text.startsWith('HTTP/1.1 502 ')) return;
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.doesNotMatch(text, /\r\n0\r\n/);
    assert.ok(!wholeAnswer(text), text);
  });
}

test('an answer before the end of its request is whole where its end comes before the reset that stops the rest, however long it waits for its reader', async () => {
  const long = 'x'.repeat(16_000);
  for (const ends of [true, false]) {
    script = [(n) => Buffer.concat([head(n, status('413')), ...Array.from({ length: 60 }, () => data(n, long, false)), data(n, 'abc', ends), reset(n, 0)])];
    const text = await ask('POST', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc');
    const session = await openSession(desk, 'framed.test', framed.port);
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.write('abc');
    const answer = await answerOf(stream);
    session.destroy();
    const whole = [text.startsWith('HTTP/1.1 413 ') && wholeAnswer(text), answer.status === 413 && answer.rstCode === 0];
    assert.deepEqual(whole, [ends, ends]);
    if (ends) assert.deepEqual([text.replaceAll(/[^x]/g, '').length, answer.body.length], [60 * long.length, 60 * long.length + 3]);
  }
});

test('a request that the origin did nothing with is sent once more, also on a new connection; one whose body is on its way is not', async () => {
  for (const refuse of [(n: number) => reset(n, 7), (n: number) => goaway(Math.max(0, n - 2), 0)]) {
    asked = 0;
    script = [refuse, fine];
    assert.match(await ask(), /4\r\nfine\r\n0\r\n\r\n$/);
    assert.equal(asked, 2);
  }
  for (const [code, method, more] of [[7, 'POST', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n'], [2, 'GET', ''], [8, 'GET', '']] as const) {
    asked = 0;
    script = [(n) => reset(n, code), fine];
    assert.match(await ask(method, more), /^HTTP\/1\.1 502 /, `${code}`);
    assert.equal(asked, 1);
  }
  asked = 0;
  script = [(n) => reset(n, 7)];
  assert.match(await ask(), /^HTTP\/1\.1 502 /);
  assert.equal(asked, 2, 'and no third time');
});

const get = async (): Promise<string> => say(await desk.tls('changing.test', changing.port), `GET / HTTP/1.1\r\nHost: changing.test:${changing.port}\r\n\r\n`, wholeAnswer);

test('an origin that offers other versions than before is spoken to as it wants', { timeout: 120_000 }, async () => {
  assert.match(await get(), /over 2\.0/);
  changing.offers = ['http/1.1'];
  changing.drop();
  // Until the proxy has seen that the connection is gone.
  let text = await get();
  while (text.startsWith('HTTP/1.1 502 ')) text = await get();
  assert.match(text, /over 1\.1/);
  changing.offers = ['h2'];
  changing.drop();
  text = await get();
  while (text.startsWith('HTTP/1.1 502 ')) text = await get();
  assert.match(text, /over 2\.0/);
  changing.offers = ['h2', 'http/1.1'];
});

test('an origin that takes a request over HTTP/1.1 only gets it so', async () => {
  assert.match(await get(), /over 2\.0/);
  let refused = 0;
  changing.server.prependOnceListener('stream', (stream: { close(code: number): void }) => {
    refused += 1;
    stream.close(13);
  });
  assert.match(await get(), /over 1\.1/);
  assert.match(await get(), /over 1\.1/);
  assert.equal(refused, 1);
});

test('a connection that answers nothing any more, not even a ping, does not keep its requests until they have waited for an answer long enough', async (t) => {
  let pings = 0;
  const silent = await openFrames('silent.test', (socket, stream) => void socket.write(head(stream, status('200', ['content-type', 'text/event-stream']))), (socket, type, payload) => {
    if (type !== types.ping) return;
    pings += 1;
    if (pings === 1) socket.write(frame('ping', flags.ack, 0, payload));
  });
  t.after(() => silent.close());
  const { connect: connectTls } = await import('node:tls');
  const pool = new Http2Pool({
    tls: true, authority: 'silent.test', sessions: 1, idleMs: 200, answerMs: 3_600_000,
    connect: async () => {
      const socket = connectTls({ socket: connect(silent.port, '127.0.0.1'), ca: silent.caPem, servername: 'silent.test', ALPNProtocols: ['h2'] });
      await new Promise((done) => socket.once('secureConnect', done));
      return socket;
    },
  });
  t.after(() => pool.destroy());
  const said: string[] = [];
  await new Promise<void>((done) => {
    pool.dispatch({ method: 'GET', path: '/', headers: ['host', 'silent.test'], body: null, trailers: () => [] }, {
      onResponseStart: (_controller, code) => void said.push(String(code)),
      onResponseEnd: () => void said.push('end'),
      onResponseError: () => {
        said.push('failed');
        done();
      },
    });
  });
  assert.deepEqual(said, ['200', 'failed']);
  assert.ok(pings > 0);
});

test('what no field may have is not sent: the request fails, no other field comes of it', async (t) => {
  const pool = new Http2Pool({ tls: false, authority: 'one.test', sessions: 1, idleMs: 10_000, answerMs: 10_000, connect: async () => connect(framed.port, '127.0.0.1') });
  t.after(() => pool.destroy());
  // Node writes of each character its lowest byte: U+0100 would be the NUL that ends a field.
  for (const [path, name, value] of [['/', 'x-a', 'b\r\nx-evil: 1'], ['/', 'x-a', 'b\u0100'], ['/', 'x-a', 'b\0'], ['/', ':path', '/admin'], ['/', 'x a', 'b'], ['/a b', 'x-a', 'b'], ['/\u0120', 'x-a', 'b']] as const) {
    const said = await new Promise<string>((done) => pool.dispatch({ method: 'GET', path, headers: [name, value], body: null, trailers: () => [] }, { onResponseStart: () => done('answered'), onResponseError: (_controller, error) => done(error.message) }));
    assert.match(said, /has characters that no/, JSON.stringify([path, name, value]));
  }
});
