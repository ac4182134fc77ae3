/** A client of HTTP/1.1 in TLS whose requests go on over HTTP/2 where the origin offers it: parsed, checked, and translated both ways. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { after, before, beforeEach, test } from 'node:test';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { openHttp2Upstream } from '../testing/testing-http2.ts';
import type { Http2Upstream } from '../testing/testing-http2.ts';
import { openOrigin } from '../testing/testing-origins.ts';
import type { Origin } from '../testing/testing-origins.ts';

interface Seen {
  readonly version: string;
  readonly method: string;
  readonly path: string;
  readonly raw: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}
const secret = 'sk-real-0123456789abcdef';
const hosts = ['both.test', 'kept.test', 'two.test', 'one.test', 'plain.test'] as const;
let both: Origin;
let kept: Origin;
let two: Http2Upstream;
let one: Upstream;
let plain: Upstream;
let desk: Desk;
let seen: Seen[] = [];
/** Paths whose request was given up. */
let aborted: string[] = [];
const streams = new Map<string, Http2ServerResponse>();

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i += 1) {
    assert.ok(i < 6000, what);
    await new Promise((next) => setTimeout(next, 10));
  }
}

function serve(req: Http2ServerRequest, res: Http2ServerResponse): void {
  const path = req.url;
  req.on('aborted', () => aborted.push(path));
  res.on('close', () => { if (!res.writableFinished) aborted.push(path); });
  if (path.startsWith('/stream')) {
    streams.set(path, res);
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('data: 1\n\n');
    return;
  }
  if (path === '/early') {
    res.writeHead(413, { 'content-length': 3 });
    res.end('big');
    return;
  }
  if (path === '/echo') {
    res.writeHead(200);
    req.pipe(res);
    return;
  }
  if (path === '/reset') {
    res.writeHead(200);
    res.write('abc', () => res.stream.destroy(new Error('broken')));
    return;
  }
  if (path === '/hints') res.stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload', 'x-more': 'no' });
  let body = '';
  req.on('data', (bytes: Buffer) => { body += bytes.toString('latin1'); });
  req.on('end', () => {
    // A body that is given up ends for Node, too.
    if (req.aborted) return;
    seen.push({ version: req.httpVersion, method: req.method, path, raw: [...req.rawHeaders], body, trailers: [...req.rawTrailers] });
    if (path === '/none') res.writeHead(204).end();
    else if (path === '/same') res.writeHead(304, { etag: '"1"', 'content-length': 7 }).end();
    else if (path === '/many') res.writeHead(200, Array.from({ length: 300 }, (_, i) => [`x-${i}`, 'y']).flat()).end('hello');
    else {
      if (path === '/sized' || req.method === 'HEAD') res.setHeader('content-length', 5);
      res.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], 'x-echo': 'yes' });
      if (path === '/after') res.addTrailers({ 'x-sum': '7' });
      res.end(req.method === 'HEAD' ? '' : 'hello');
    }
  });
}

const port = (host: string): number => ({ 'both.test': both, 'kept.test': kept, 'two.test': two, 'one.test': one })[host]?.port ?? plain.port;

before(async () => {
  both = await openOrigin('both.test', serve);
  kept = await openOrigin('kept.test', serve);
  two = await openHttp2Upstream((stream, raw) => {
    seen.push({ version: '2.0', method: raw[raw.indexOf(':method') + 1] ?? '', path: raw[raw.indexOf(':path') + 1] ?? '', raw, body: '', trailers: [] });
    stream.respond({ ':status': 200 });
    stream.end('only two');
  }, 'two.test');
  const first = (req: { readonly httpVersion: string; readonly method?: string | undefined; readonly url?: string | undefined; readonly rawHeaders: readonly string[] }, res: { end(text: string): void }): void => {
    seen.push({ version: req.httpVersion, method: req.method ?? '', path: req.url ?? '', raw: req.rawHeaders, body: '', trailers: [] });
    res.end('only one');
  };
  one = await openUpstream(first, 'one.test');
  plain = await openUpstream(first);
  desk = await openDesk({
    rules: [{ host: 'both.test', verdict: 'deny', path: '/admin' }, ...hosts.map((host) => ({ host, verdict: 'allow' as const }))],
    pins: [{ host: 'both.test', caPem: both.caPem }, { host: 'kept.test', caPem: kept.caPem, http1: true }, { host: 'two.test', caPem: two.caPem }, { host: 'one.test', caPem: one.caPem ?? '' }, { host: 'plain.test' }],
    ports: [both.port, kept.port, two.port, one.port, plain.port, 3128],
    credentials: [{ placeholder: 'nemo-placeholder-42', value: secret, host: 'both.test', header: 'authorization', pathPrefix: '' }],
  });
});
after(async () => {
  await desk.close();
  for (const each of [both, kept, two, one, plain]) await each.close();
});
beforeEach(() => {
  seen = [];
  aborted = [];
  streams.clear();
});

const get = (path: string, host = 'both.test', more = '', method = 'GET'): string => `${method} ${path} HTTP/1.1\r\nHost: ${host}:${port(host)}\r\n${more}\r\n`;
const ask = async (path: string, host = 'both.test', more = '', method = 'GET'): Promise<string> => say(await desk.tls(host, port(host)), get(path, host, more, method), wholeAnswer);
const values = (raw: readonly string[] | undefined, name: string): string[] => (raw ?? []).filter((_, i) => i % 2 === 1 && raw?.[i - 1]?.toLowerCase() === name);

test('many clients of HTTP/1.1 share one connection of HTTP/2 to an origin that offers both; what belongs to a connection stays there', async () => {
  const before = both.connections();
  const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => ask(`/n${i}`, 'both.test', 'Connection: keep-alive\r\nTE: trailers\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nCookie: a=1; b=2\r\nX-Mine: m\r\n')));
  for (const text of answers) assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*x-echo: yes\r\n[^]*\r\n\r\n5\r\nhello\r\n0\r\n\r\n$/);
  assert.deepEqual([new Set(seen.map(({ version }) => version)), seen.length, both.connections() - before], [new Set(['2.0']), 40, 1]);
  const { raw } = seen[0] ?? {};
  assert.deepEqual([values(raw, ':authority'), values(raw, 'host'), values(raw, 'te'), values(raw, 'x-mine'), values(raw, ':scheme')], [[`both.test:${both.port}`], [], ['trailers'], ['m'], ['https']]);
  assert.equal(values(raw, 'cookie').join('; '), 'a=1; b=2');
  for (const name of ['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']) assert.deepEqual(values(raw, name), [], name);
  assert.match(answers[0] ?? '', /set-cookie: a=1\r\nset-cookie: b=2\r\n/);
  assert.match(await ask('/admin'), /^HTTP\/1\.1 403 /);
  assert.equal(desk.audit.events.at(-1)?.verdict, 'deny');
});

test('an origin that speaks only HTTP/2 is reached, and one that speaks only HTTP/1.1 over the first connection made to it', async () => {
  assert.match(await ask('/a', 'two.test'), /^HTTP\/1\.1 200 OK\r\n[^]*only two/);
  const sockets = new Set<unknown>();
  one.server.on('secureConnection', (socket) => sockets.add(socket));
  assert.match(await ask('/b', 'one.test'), /only one/);
  assert.match(await ask('/c', 'one.test'), /only one/);
  assert.deepEqual([seen.map(({ version, path }) => `${version} ${path}`), sockets.size], [['2.0 /a', '1.1 /b', '1.1 /c'], 1]);
});

test('a list on several lines, and an answer of 300 fields, go through', async () => {
  assert.match(await ask('/many', 'both.test', 'If-None-Match: "1"\r\nIf-None-Match: "2"\r\n'), /^HTTP\/1\.1 200 [^]*\r\nx-299: y\r\n/);
  assert.equal(values(seen[0]?.raw, 'if-none-match').join(', '), '"1", "2"');
});

test('plain HTTP, and where the policy says `upstream: http1`, stay at HTTP/1.1', async () => {
  assert.match(await say(await desk.tcp('plain.test', plain.port), get('/p', 'plain.test'), wholeAnswer), /only one/);
  assert.match(await ask('/k', 'kept.test'), /hello/);
  assert.deepEqual(seen.map(({ version, path }) => `${version} ${path}`), ['1.1 /p', '1.1 /k']);
});

test('through CONNECT it is the same', async () => {
  const socket = await desk.tcp('proxy.local', 3128);
  socket.write(`CONNECT both.test:${both.port} HTTP/1.1\r\nHost: both.test:${both.port}\r\n\r\n`);
  await once(socket, 'data');
  const { connect } = await import('node:tls');
  const tls = connect({ socket, servername: 'both.test', ca: desk.rootPem });
  await once(tls, 'secureConnect');
  assert.match(await say(tls.on('error', () => undefined), get('/c'), wholeAnswer), /hello/);
  assert.equal(seen[0]?.version, '2.0');
});

test('bodies: with a length, in chunks with fields behind them, after 100 Continue; what is secret in one is stopped', async () => {
  assert.match(await ask('/sized', 'both.test', 'Content-Length: 4\r\n\r\nbody', 'POST'), /content-length: 5\r\n[^]*hello$/);
  assert.deepEqual([seen[0]?.body, values(seen[0]?.raw, 'content-length')], ['body', ['4']]);
  await ask('/chunks', 'both.test', 'Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 9\r\nHost: evil.test\r\n', 'POST');
  assert.deepEqual([seen[1]?.body, seen[1]?.trailers, values(seen[1]?.raw, 'content-length'), values(seen[1]?.raw, 'transfer-encoding')], ['abcde', ['x-sum', '9'], [], []]);
  const socket = await desk.tls('both.test', both.port);
  let text = '';
  socket.on('data', (bytes: Buffer) => { text += bytes.toString('latin1'); });
  socket.write(get('/expected', 'both.test', 'Expect: 100-continue\r\nContent-Length: 3\r\n', 'PUT'));
  await until('100', () => text === 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('xyz');
  await until('the answer', () => text.endsWith('0\r\n\r\n'));
  socket.destroy();
  assert.deepEqual([seen[2]?.body, values(seen[2]?.raw, 'expect')], ['xyz', []]);
  assert.match(await ask('/leak', 'both.test', `Content-Length: ${secret.length}\r\n\r\n${secret}`, 'POST'), /^HTTP\/1\.1 403 /);
  assert.ok(!seen.some(({ path }) => path === '/leak'), 'no request of it ends there');
  await ask('/auth', 'both.test', 'Authorization: Bearer nemo-placeholder-42\r\n');
  assert.deepEqual(values(seen.at(-1)?.raw, 'authorization'), [`Bearer ${secret}`]);
});

test('answers: none for HEAD, 204 and 304, hints before, fields behind in chunks, the next one on the same connection', async () => {
  const socket = await desk.tls('both.test', both.port);
  let text = '';
  socket.on('data', (bytes: Buffer) => { text += bytes.toString('latin1'); });
  const next = async (request: string, last: RegExp): Promise<string> => {
    text = '';
    socket.write(request);
    await until(`${request} is answered`, () => last.test(text));
    return text;
  };
  assert.doesNotMatch(await next(get('/head', 'both.test', '', 'HEAD'), /\r\n\r\n$/), /transfer-encoding/i);
  assert.match(text, /content-length: 5\r\n/);
  assert.doesNotMatch(await next(get('/none'), /\r\n\r\n$/), /transfer-encoding|content-length/i);
  assert.match(text, /^HTTP\/1\.1 204 No Content\r\n/);
  assert.match(await next(get('/same'), /\r\n\r\n$/), /^HTTP\/1\.1 304 Not Modified\r\n[^]*etag: "1"\r\n/);
  assert.match(await next(get('/hints'), /0\r\n\r\n$/), /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/i);
  assert.match(await next(get('/after'), /0\r\n(?:.+\r\n)*\r\n$/), /\r\n0\r\nx-sum: 7\r\n\r\n$/);
  socket.destroy();
});

test('an answer that breaks off is cut: its client sees no end', async () => {
  const text = await say(await desk.tls('both.test', both.port), get('/reset'), (all) => all.includes('0\r\n\r\n'));
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.doesNotMatch(text, /\r\n0\r\n/);
  assert.match(await ask('/fine'), /hello/);
});

test('an answer before the end of the request, large bodies both ways, and answers that nobody reads beside one that is read', async () => {
  const socket = await desk.tls('both.test', both.port);
  assert.match(await say(socket, `${get('/early', 'both.test', 'Transfer-Encoding: chunked\r\n', 'POST')}3e8\r\n${'x'.repeat(1000)}\r\n`, (text) => text.endsWith('big')), /^HTTP\/1\.1 413 /);
  const size = 3_000_000;
  const unread = await Promise.all(Array.from({ length: 20 }, async () => {
    const one = await desk.tls('both.test', both.port);
    one.pause();
    one.write(get('/echo', 'both.test', `Content-Length: ${size}\r\n`, 'POST'));
    one.write(Buffer.alloc(size, '('));
    return one;
  }));
  const text = await say(await desk.tls('both.test', both.port), `${get('/echo', 'both.test', `Content-Length: ${size}\r\n`, 'POST')}${'*'.repeat(size)}`, (all) => all.endsWith('0\r\n\r\n'));
  assert.equal(text.replace(/[^*]/g, '').length, size);
  for (const one of unread) one.destroy();
});

test('a client that goes away ends its stream at the origin and no other; one that closes its side gets its answer', async () => {
  const [leaving, staying] = [await desk.tls('both.test', both.port), await desk.tls('both.test', both.port)];
  let text = '';
  staying.on('data', (bytes: Buffer) => { text += bytes.toString('latin1'); });
  leaving.write(get('/stream/1'));
  staying.end(get('/stream/2'));
  await until('both are served', () => streams.size === 2 && text.includes('data: 1'));
  leaving.destroy();
  // Until something is sent to it, nobody can tell it from one that has closed its side only.
  await until('the first is given up', () => {
    streams.get('/stream/1')?.write('data: more\n\n');
    return aborted.includes('/stream/1');
  });
  streams.get('/stream/2')?.end('data: 2\n\n');
  await until('the second ends', () => text.endsWith('0\r\n\r\n'));
  assert.match(text, /data: 1\n\n\r\n[^]*data: 2/);
  assert.deepEqual(aborted, ['/stream/1']);
});

test('a new policy ends the stream it denies; what an origin chose is known after it, and its connection goes on', async () => {
  const socket = await desk.tls('both.test', both.port);
  let text = '';
  socket.on('data', (bytes: Buffer) => { text += bytes.toString('latin1'); });
  socket.write(get('/stream/3'));
  await until('it is served', () => text.includes('data: 1'));
  const before = both.connections();
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'both.test', verdict: 'deny', path: '/stream' }, ...rules];
  desk.egress.update(desk.config);
  await once(socket, 'close');
  assert.doesNotMatch(text, /0\r\n\r\n$/);
  desk.policy.rules = rules;
  desk.egress.update(desk.config);
  assert.match(await ask('/again'), /hello/);
  assert.deepEqual([seen.at(-1)?.version, both.connections()], ['2.0', before]);
});
