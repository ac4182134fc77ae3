/** HTTP/2 in raw frames that try to get past the checks or to wear the proxy out: the canary sees none of it, the next request is served. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { openDesk, openUpstream } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { readHttp2Head } from './http2-head.ts';
import { block, flags, frame, preface, types } from '../testing/testing-frames.ts';
import type { Fields } from '../testing/testing-frames.ts';
import { ask, openHttp2Upstream, openSession } from '../testing/testing-http2.ts';
import type { Http2Upstream } from '../testing/testing-http2.ts';

let canary: Upstream;
let two: Http2Upstream;
let desk: Desk;
let seen: string[] = [];

before(async () => {
  canary = await openUpstream((req, res) => {
    seen.push(`${req.method} ${req.url} ${JSON.stringify(req.rawHeaders)}`);
    req.resume();
    res.end('canary');
  }, 'down.test');
  two = await openHttp2Upstream((stream, raw) => {
    seen.push(raw.join(' '));
    stream.resume();
    stream.respond({ ':status': 200 });
    stream.end('canary');
  });
  desk = await openDesk({
    rules: [{ host: 'down.test', verdict: 'deny', path: '/admin' }, { host: 'down.test', verdict: 'allow' }, { host: 'clear.test', verdict: 'deny', path: '/admin' }, { host: 'clear.test', verdict: 'allow' }],
    pins: [{ host: 'down.test', caPem: canary.caPem ?? '' }, { host: 'clear.test' }],
    ports: [canary.port, two.port],
    limits: { idleMs: 60_000 },
  });
});
after(async () => {
  await desk.close();
  await canary.close();
  await two.close();
});

const base = (more: Fields = [], method = 'GET'): Fields => [[':method', method], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok'], ...more];
const request = (fields: Fields, id = 1, end = true): Buffer => frame('headers', flags.endHeaders | (end ? flags.endStream : 0), id, block(fields));

interface Reaction {
  /** Types of the frames that came back, and whether the connection was ended. */
  readonly types: readonly number[];
  readonly ended: boolean;
}

/** Sends bytes after preface and settings, and reads until the stream has an answer or a reset, or the connection ends. */
async function send(bytes: Buffer | readonly Buffer[], host = 'down.test', port = canary.port, tls = true): Promise<Reaction> {
  const socket: Socket = tls ? await desk.tls(host, port, { ALPNProtocols: ['h2'] }) : await desk.tcp(host, port);
  const got: number[] = [];
  let kept = Buffer.alloc(0);
  socket.on('error', () => undefined);
  const ended = await new Promise<boolean>((done) => {
    socket.on('data', (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]);
      while (kept.length >= 9 && kept.length >= 9 + kept.readUIntBE(0, 3)) {
        const type = kept[3] ?? 0;
        got.push(type);
        kept = kept.subarray(9 + kept.readUIntBE(0, 3));
        if (type === types.headers || type === types.reset) done(false);
      }
    });
    socket.once('close', () => done(true));
    socket.write(Buffer.concat([preface, frame('settings', 0, 0)]));
    for (const part of Array.isArray(bytes) ? (bytes as Buffer[]) : [bytes as Buffer]) socket.write(part);
  });
  socket.destroy();
  return { types: got, ended };
}

test('CONTROL: a request in raw frames reaches the canary', async () => {
  seen = [];
  const { types: got } = await send(request(base([['x-a', 'b']])));
  assert.ok(got.includes(types.headers));
  assert.equal(seen.length, 1);
});

const bad: readonly (readonly [string, Buffer])[] = [
  ['a line break in a value', request(base([['x-a', 'b\r\nhost: evil.test']]))],
  ['a line feed in a value', request(base([['x-a', 'b\nx: y']]))],
  ['a NUL in a value', request(base([['x-a', 'b\0c']]))],
  ['a line break in a name', request(base([['x-a\r\nhost', 'evil.test']]))],
  ['a colon in a name', request(base([['host: evil.test\r\nx', 'y']]))],
  ['a blank in a name', request(base([['x a', 'y']]))],
  ['a capital in a name', request(base([['X-A', 'y']]))],
  ['an empty name', request(base([['', 'y']]))],
  ['transfer-encoding', request(base([['transfer-encoding', 'chunked']], 'POST'), 1, false)],
  ['connection', request(base([['connection', 'close']]))],
  ['keep-alive', request(base([['keep-alive', '5']]))],
  ['proxy-connection', request(base([['proxy-connection', 'close']]))],
  ['upgrade', request(base([['upgrade', 'h2c']]))],
  ['te with more than trailers', request(base([['te', 'trailers, gzip']]))],
  ['a line break in the path', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok HTTP/1.1\r\nhost: evil.test\r\n\r\nGET /admin']])],
  ['a blank in the path', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok /admin']])],
  ['a path that is none', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', 'http://evil.test/']])],
  ['an empty path', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '']])],
  ['a denied path, encoded', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/%61dmin']])],
  ['a line break in the method', request(base([], 'GET / HTTP/1.1\r\nx: y\r\n\r\nPOST'))],
  ['a blank in the method', request(base([], 'GET /admin'))],
  ['a method in small letters', request(base([], 'get'))],
  ['another scheme', request([[':method', 'GET'], [':scheme', 'http'], [':authority', 'down.test'], [':path', '/ok']])],
  ['two paths', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok'], [':path', '/admin']])],
  ['two authorities', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], [':authority', 'evil.test'], [':path', '/ok']])],
  ['a pseudo-header after a header', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test'], ['x', 'y'], [':path', '/ok']])],
  ['an unknown pseudo-header', request(base([]).toSpliced(0, 0, [':evil', 'x']))],
  ['no path', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test']])],
  ['no method', request([[':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok']])],
  ['no authority', request([[':method', 'GET'], [':scheme', 'https'], [':path', '/ok']])],
  ['another authority', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'evil.test'], [':path', '/ok']])],
  ['an authority with a user', request([[':method', 'GET'], [':scheme', 'https'], [':authority', 'down.test@evil.test'], [':path', '/ok']])],
  ['a host that differs from the authority', request(base([['host', 'evil.test']]))],
  ['two hosts', request([[':method', 'GET'], [':scheme', 'https'], [':path', '/ok'], ['host', 'down.test'], ['host', 'evil.test']])],
  ['two lengths', request(base([['content-length', '3'], ['content-length', '4']], 'POST'), 1, false)],
  ['a length that is no number', request(base([['content-length', '+3']], 'POST'), 1, false)],
  ['more body than its length', Buffer.concat([request(base([['content-length', '3']], 'POST'), 1, false), frame('data', flags.endStream, 1, Buffer.from('abcGET /admin HTTP/1.1\r\n\r\n'))])],
  ['a GET with a body', Buffer.concat([request(base(), 1, false), frame('data', flags.endStream, 1, Buffer.from('abc'))])],
  ['a method override', request(base([['x-http-method-override', 'DELETE']], 'POST'))],
  ...['x-rest-method', 'x-original-method', 'http_method_override'].map((name): readonly [string, Buffer] => [`a method override by ${name}`, request(base([[name, 'DELETE']], 'POST'))]),
  ...['_METHOD=DELETE', '_method%5B%5D=DELETE', 'a=1;_method=DELETE', 'X-HTTP-Method-Override=DELETE', 'http_method=DELETE'].map((query): readonly [string, Buffer] => [`a method override by ?${query}`, request([[':method', 'POST'], [':scheme', 'https'], [':authority', 'down.test'], [':path', `/ok?${query}`]])]),
  ['another path in a header', request(base([['x-original-url', '/admin']]))],
  ['another path in another header', request(base([['x-forwarded-uri', '/admin']]))],
  ['another host in a header', request(base([['x-forwarded-host', 'evil.test']]))],
  ['an unknown expectation', request(base([['expect', '200-ok']], 'POST'))],
  ['extended CONNECT', request([[':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'https'], [':authority', 'down.test'], [':path', '/ok']])],
  ['CONNECT', request([[':method', 'CONNECT'], [':authority', 'evil.test:443']])],
  ['a header block beyond the limit', Buffer.concat([frame('headers', flags.endStream, 1, block(base(Array.from({ length: 7 }, (_, i) => [`x-${i}`, 'a'.repeat(2000)] as const)))), ...Array.from({ length: 3 }, (_, n) => frame('continuation', n === 2 ? flags.endHeaders : 0, 1, block(Array.from({ length: 7 }, (_x, i) => [`y-${n}-${i}`, 'a'.repeat(2000)] as const))))])],
  ['countless headers', request(base(Array.from({ length: 400 }, (_, i) => [`x-${i}`, ''] as const)))],
  ['a frame beyond the limit', frame('headers', flags.endHeaders | flags.endStream, 1, Buffer.alloc(17_000))],
  ['a damaged header block', frame('headers', flags.endHeaders | flags.endStream, 1, Buffer.from('ffffffffffff', 'hex'))],
  ['an even stream', request(base(), 2)],
  ['data on an idle stream', frame('data', flags.endStream, 5, Buffer.from('abc'))],
  ['a push', frame('push', flags.endHeaders, 1, Buffer.concat([Buffer.from([0, 0, 0, 2]), block(base())]))],
  ['a continuation of nothing', frame('continuation', flags.endHeaders, 1, block(base()))],
  ['a continuation of another stream', Buffer.concat([frame('headers', flags.endStream, 1, block(base())), frame('continuation', flags.endHeaders, 3, block([['x', 'y']]))])],
  ['a window of nothing', frame('window', 0, 0, Buffer.from([0, 0, 0, 0]))],
  ['an HTTP/1.1 request after the preface', Buffer.from('GET /ok HTTP/1.1\r\nHost: down.test\r\n\r\n')],
];

for (const [name, bytes] of bad) {
  test(`refused or left out: ${name}`, async () => {
    seen = [];
    const { types: got, ended } = await send(bytes);
    assert.ok(ended || got.includes(types.headers) || got.includes(types.reset));
    // nghttp2 leaves out a field that is no field, and serves the rest of the request.
    if (/ (value|name)$/.test(name)) assert.ok(seen.every((head) => head.startsWith('GET /ok ') && !/evil|x-a|x a|"y"|"b/.test(head)), seen.join());
    else assert.deepEqual(seen, []);
  });
}

test('the head is strict by itself, whatever the parser below lets through', () => {
  const place = { name: 'down.test', port: 443, tls: true };
  const raw = (fields: Fields): string[] => fields.flat();
  assert.ok(!('code' in readHttp2Head(raw(base([['x-a', 'b'], ['cookie', 'a=1']])), true, place)));
  const none: readonly Fields[] = [
    base([['x-a', 'b\r\nhost: evil.test']]), base([['x-a', ' b']]), base([['x a', 'b']]), base([['X-A', 'b']]), base([['transfer-encoding', 'chunked']]), base([['connection', 'close']]), base([['te', 'gzip']]),
    base([['host', 'a.test'], ['host', 'a.test']]), base([['host', 'evil.test']]), base([[':path', '/admin']]), [[':method', 'GET']], [...base(), [':method', 'GET']], [[':evil', 'x'], ...base()], base([['expect', 'x']]),
    base([], 'get'), base([], 'DELETe'),
  ];
  for (const fields of none) assert.ok('code' in readHttp2Head(raw(fields), true, place), JSON.stringify(fields));
});

test('a method in small letters does not reach an origin that would take it for the one that is denied', async () => {
  seen = [];
  await send(request(clear(base([], 'delete'))), 'clear.test', two.port, false);
  assert.deepEqual(seen, []);
  await send(request(clear(base([], 'DELETE'))), 'clear.test', two.port, false);
  assert.equal(seen.length, 1);
});

const clear = (fields: Fields): Fields => fields.map(([name, value]) => [name, name === ':scheme' ? 'http' : name === ':authority' ? `clear.test:${two.port}` : value] as const);
const floods: readonly (readonly [string, () => Buffer])[] = [
  ['pings', () => Buffer.concat(Array.from({ length: 5000 }, () => frame('ping', 0, 0, Buffer.alloc(8))))],
  ['settings', () => Buffer.concat(Array.from({ length: 5000 }, () => frame('settings', 0, 0, Buffer.from([0, 4, 0, 0, 0xff, 0xff]))))],
  ['rapid resets', () => Buffer.concat(Array.from({ length: 5000 }, (_, i) => Buffer.concat([request(clear(base([], 'POST')), 1 + 2 * i, false), frame('reset', 0, 1 + 2 * i, Buffer.from([0, 0, 0, 8]))])))],
  ['continuations', () => Buffer.concat([frame('headers', 0, 1, block(clear(base()))), ...Array.from({ length: 5000 }, () => frame('continuation', 0, 1, block([['x', 'y']])))])],
  ['empty data', () => Buffer.concat([request(clear(base([], 'POST')), 1, false), ...Array.from({ length: 20_000 }, () => frame('data', 0, 1))])],
];
for (const [name, bytes] of floods) {
  test(`a flood of ${name} ends its connection, and others are served`, async () => {
    // An answered stream does not end the reading here: the connection has to end.
    const socket = await desk.tcp('clear.test', two.port);
    const gone = new Promise<void>((done) => socket.once('close', () => done()));
    socket.resume();
    socket.write(Buffer.concat([preface, frame('settings', 0, 0), bytes()]));
    await gone;
    const session = await openSession(desk, 'clear.test', two.port, false);
    assert.equal((await ask(session, { ':path': '/ok' })).status, 200);
    session.destroy();
  });
}
