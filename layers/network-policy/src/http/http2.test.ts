/** HTTP/2 through a whole egress on loopback: every stream decided for itself, the version kept or translated, limits on what a client can make us do. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2';
import { after, before, test } from 'node:test';
import { openDesk, openUpstream } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { answerOf, ask, openHttp2Upstream, openSession } from '../testing/testing-http2.ts';
import type { Http2Upstream } from '../testing/testing-http2.ts';

const secret = 'sk-real-0123456789abcdef';
let two: Http2Upstream;
let clear: Http2Upstream;
let one: Upstream;
let desk: Desk;
let seen: { raw: readonly string[]; body: string; trailers: readonly string[] }[] = [];
let session: ClientHttp2Session;
let held: ServerHttp2Stream[] = [];
let aborted = 0;

function serve(stream: ServerHttp2Stream, raw: readonly string[]): void {
  const path = raw[raw.indexOf(':path') + 1] ?? '';
  if (path === '/hold') {
    held.push(stream);
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
    stream.write('data: 1\n\n');
    return;
  }
  if (path === '/hints') stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' });
  if (path === '/early') {
    stream.respond({ ':status': 413 });
    stream.end('big');
    return;
  }
  if (path === '/reset') {
    stream.respond({ ':status': 200 });
    stream.write('abc', () => stream.destroy(new Error('broken')));
    return;
  }
  if (path === '/echo') {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
    return;
  }
  const chunks: Buffer[] = [];
  let trailers: readonly string[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('trailers', (_h: unknown, _f: unknown, fields: readonly string[]) => { trailers = fields; });
  stream.on('aborted', () => { aborted += 1; });
  stream.on('end', () => {
    if (stream.rstCode !== 0) return;
    const body = Buffer.concat(chunks).toString();
    seen.push({ raw, body, trailers });
    stream.respond({ ':status': path === '/none' ? 204 : 200, 'x-two': 'yes', 'set-cookie': ['a=1', 'b=2'] }, { waitForTrailers: path !== '/none' });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '7', authorization: 'no' }));
    stream.end(path === '/none' ? undefined : `got ${body.length}`);
  });
}

before(async () => {
  two = await openHttp2Upstream(serve, 'two.test');
  clear = await openHttp2Upstream(serve);
  one = await openUpstream((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      seen.push({ raw: [':method', req.method ?? '', ':path', req.url ?? '', ...req.rawHeaders], body: Buffer.concat(chunks).toString(), trailers: [] });
      res.writeHead(200, { 'x-one': 'yes', trailer: 'x-after' });
      res.write('one');
      res.addTrailers({ 'x-after': 'z' });
      res.end();
    });
  }, 'one.test');
  desk = await openDesk({
    rules: [
      { host: 'two.test', verdict: 'deny', path: '/admin' }, { host: 'two.test', verdict: 'allow' }, { host: 'one.test', verdict: 'allow' }, { host: 'clear.test', verdict: 'deny', path: '/admin' },
      { host: 'clear.test', verdict: 'allow' }, { host: 'other.test', verdict: 'deny' },
    ],
    pins: [{ host: 'two.test', caPem: two.caPem }, { host: 'one.test', caPem: one.caPem ?? '' }, { host: 'clear.test' }],
    ports: [two.port, one.port, clear.port],
    credentials: [{ placeholder: 'nemo-placeholder-42', value: secret, host: 'two.test', header: 'authorization', pathPrefix: '' }],
    intercepted: ['two.test', 'one.test', 'clear.test', 'local.test'],
    local: new Map([['local.test', (_req, res) => void res.end('local')]]),
  });
  session = await openSession(desk, 'two.test', two.port);
});
after(async () => {
  session.destroy();
  await desk.close();
  await two.close();
  await one.close();
  await clear.close();
});

const field = (raw: readonly string[] | undefined, name: string): string | undefined => raw?.find((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name);

test('a stream is decided, rebuilt, sent over HTTP/2 and recorded; trailers go both ways', async () => {
  seen = [];
  const stream = session.request({ ':method': 'POST', ':path': '/x?a=1', 'x-mine': 'm', cookie: ['a=1', 'b=2'], te: 'trailers' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-checksum': '9', host: 'evil.test' }));
  const answer = answerOf(stream);
  stream.end('hello');
  const got = await answer;
  assert.equal(got.status, 200);
  assert.equal(got.body, 'got 5');
  assert.equal(got.headers['x-two'], 'yes');
  assert.deepEqual(got.headers['set-cookie'], ['a=1', 'b=2']);
  assert.deepEqual(Object.entries(got.trailers).filter(([name]) => typeof name === 'string'), [['x-sum', '7']]);
  assert.equal(field(seen[0]?.raw, ':authority'), `two.test:${two.port}`);
  assert.equal(field(seen[0]?.raw, 'cookie'), 'a=1; b=2');
  assert.equal(field(seen[0]?.raw, 'x-mine'), 'm');
  assert.deepEqual(seen[0]?.trailers, ['x-checksum', '9']);
  const event = desk.audit.events.at(-1);
  assert.equal(event?.verdict, 'allow');
  assert.equal(event?.data?.['path'], '/x');
});

test('what must not leave in a header does not leave behind a body either: the request is stopped, no value is told', async () => {
  seen = [];
  const card = '4111 1111 1111 1111';
  const rows: readonly (readonly [string, string])[] = [
    [secret, 'inspection.scanForPII'], [Buffer.from(secret).toString('base64'), 'inspection.scanForPII'], ['nemo-placeholder-42', 'inspection.scanForPII'], [card, 'inspection.actions.credit-card'],
    [Buffer.from(`the card is ${card}, thank you`).toString('base64'), 'inspection.actions.credit-card'], ['536-22-8145', 'inspection.actions.us-ssn'], ['DE89370400440532013000', 'inspection.actions.iban'], ['ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'inspection.actions.secret'],
  ];
  for (const type of ['application/json', 'application/octet-stream']) {
    for (const [value, rule] of rows) {
      const stream = session.request({ ':method': 'POST', ':path': '/x', 'content-type': type }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-after': value }));
      const answer = answerOf(stream);
      stream.end('[]');
      const { status, headers, body } = await answer;
      assert.deepEqual([status, headers['x-nemoclaw-rule']], [403, rule], `${type} ${value}`);
      assert.match(body, /stands in a trailer/);
      assert.ok(!`${body} ${JSON.stringify(desk.audit.events)}`.includes(value), value);
    }
  }
  assert.deepEqual(seen, [], 'for the other side no request ended');
  assert.equal((await ask(session, { ':path': '/ok' })).status, 200, 'the connection goes on');
});

test('a denied stream is answered with the rule, and the others on its connection go on', async () => {
  const [denied, allowed] = await Promise.all([ask(session, { ':path': '/admin' }), ask(session, { ':path': '/ok' })]);
  assert.equal(denied.status, 403);
  assert.equal(denied.headers['x-nemoclaw-rule'], 'rules[0]');
  assert.equal(JSON.parse(denied.body).rule, 'rules[0]');
  assert.equal(allowed.status, 200);
});

test('one upstream connection carries many streams', async () => {
  const before = two.connections();
  const all = await Promise.all(Array.from({ length: 60 }, (_, i) => ask(session, { ':path': `/n${i}`, ':method': 'POST' }, 'x'.repeat(i * 100))));
  assert.deepEqual(all.map(({ body }) => body), Array.from({ length: 60 }, (_, i) => `got ${i * 100}`));
  assert.ok(two.connections() - before <= 1);
});

test('an origin that speaks only HTTP/1.1 is reached by it, with what came after its body', async () => {
  seen = [];
  const other = await openSession(desk, 'one.test', one.port);
  const got = await ask(other, { ':path': '/down', ':method': 'POST', cookie: ['a=1', 'b=2'] }, 'body');
  other.destroy();
  assert.equal(got.status, 200);
  assert.equal(got.body, 'one');
  assert.equal(got.trailers['x-after'], 'z');
  assert.equal(field(seen[0]?.raw, 'host'), `one.test:${one.port}`);
  assert.equal(field(seen[0]?.raw, 'cookie'), 'a=1; b=2');
  assert.equal(seen[0]?.body, 'body');
});

test('HTTP/2 by prior knowledge on a plain connection', async () => {
  const plain = await openSession(desk, 'clear.test', clear.port, false);
  assert.equal((await ask(plain, { ':path': '/a' })).status, 200);
  assert.equal((await ask(plain, { ':path': '/admin' })).status, 403);
  plain.destroy();
});

test('another name on the same connection is misdirected, with any spelling of conflict', async () => {
  assert.equal((await ask(session, { ':authority': 'other.test' })).status, 421);
  assert.equal((await ask(session, { ':authority': `two.test:${one.port}` })).status, 421);
  assert.equal((await ask(session, { host: 'other.test' })).status, 421);
  assert.equal((await ask(session, { ':authority': `two.test:${two.port}`, host: 'other.test' })).status, 400);
  assert.equal((await ask(session, { ':authority': 'other.test@two.test' })).status, 0);
  assert.equal((await ask(session, { ':scheme': 'http' })).status, 400);
  assert.equal((await ask(session, { ':authority': `TWO.test:${two.port}` })).status, 200);
});

test('CONNECT, with or without a protocol, and TRACE are not served', async () => {
  const stream = session.request({ ':method': 'CONNECT', ':authority': 'two.test:443' });
  assert.equal((await answerOf(stream)).status, 405);
  assert.equal((await ask(session, { ':method': 'TRACE' })).status, 405);
});

test('interim answers, no content, HEAD, an early answer, a broken upstream', async () => {
  assert.deepEqual((await ask(session, { ':path': '/hints' })).interim, [103]);
  assert.equal((await ask(session, { ':path': '/none' })).status, 204);
  const head = await ask(session, { ':path': '/h', ':method': 'HEAD' });
  assert.deepEqual([head.status, head.body], [200, '']);
  const upload = session.request({ ':path': '/early', ':method': 'POST' });
  const early = answerOf(upload);
  upload.write('x'.repeat(200_000));
  assert.deepEqual([(await early).status, (await early).body], [413, 'big']);
  const cut = await ask(session, { ':path': '/reset' });
  assert.notEqual(cut.rstCode, 0);
  assert.equal((await ask(session, { ':path': '/after' })).status, 200);
});

test('Expect: 100-continue is answered after the decision', async () => {
  const stream = session.request({ ':path': '/e', ':method': 'POST', expect: '100-continue' });
  const answer = answerOf(stream);
  await once(stream, 'continue');
  stream.end('abc');
  assert.equal((await answer).body, 'got 3');
  const denied = session.request({ ':path': '/admin', ':method': 'POST', expect: '100-continue' });
  const refused = await answerOf(denied);
  assert.deepEqual([refused.status, refused.interim], [403, []]);
});

test('both directions stream at once, and a new policy ends exactly the stream it denies', async () => {
  const echo = session.request({ ':path': '/echo', ':method': 'POST' });
  echo.on('error', () => undefined);
  await once(echo, 'response');
  for (const word of ['(((', ')))', '***']) {
    const back = once(echo, 'data');
    echo.write(word);
    assert.equal(String((await back)[0]), word);
  }
  held = [];
  const events = session.request({ ':path': '/hold' });
  events.on('error', () => undefined);
  events.resume();
  await once(events, 'response');
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'two.test', verdict: 'deny', path: '/hold' }, ...rules];
  const ended = new Promise<void>((done) => events.once('close', done));
  desk.egress.update(desk.config);
  await ended;
  assert.notEqual(events.rstCode, 0);
  const back = once(echo, 'data');
  echo.write('(((');
  assert.equal(String((await back)[0]), '(((');
  echo.end();
  await new Promise<void>((done) => echo.once('close', done));
  desk.policy.rules = rules;
});

test('a secret is stopped in the body of a stream, and a credential goes in where it is bound', async () => {
  seen = [];
  const leak = await ask(session, { ':path': '/leak', ':method': 'POST' }, `${'x'.repeat(100_000)}${secret}`);
  assert.equal(leak.status, 403);
  // The origin sees a request that was given up, never a shorter one.
  assert.ok(!seen.some(({ raw }) => raw.includes('/leak')));
  while (aborted === 0) await new Promise((turn) => setImmediate(turn));
  assert.ok(!seen.some(({ body }) => body.includes(secret)));
  await ask(session, { ':path': '/auth', authorization: 'Bearer nemo-placeholder-42' });
  assert.equal(field(seen.at(-1)?.raw, 'authorization'), `Bearer ${secret}`);
});

test('large bodies pass both ways under flow control', async () => {
  const size = 5_000_000;
  const got = await ask(session, { ':path': '/echo', ':method': 'POST' }, Buffer.alloc(size, 'y'));
  assert.equal(got.body.length, size);
});

test('our own hosts do not speak HTTP/2', async () => {
  const socket = await desk.tls('local.test', 443, { ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.destroy();
});
