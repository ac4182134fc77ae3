/** Requests through a whole egress on loopback: allowed, denied, local, credentials, secrets, streams. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { gzipSync } from 'node:zlib';
import { after, before, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { openDesk, openUpstream, say, wholeAnswer } from './testing/testing-egress.ts';
import type { Desk, Upstream } from './testing/testing-egress.ts';

const secret = 'sk-real-0123456789abcdef';
const placeholder = 'nemo-placeholder-42';
let secure: Upstream;
let bare: Upstream;
let desk: Desk;
let seen: { method: string; url: string; headers: string[]; body: string }[] = [];

function record(req: IncomingMessage, answer: (body: string) => void): void {
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => chunks.push(chunk));
  req.on('end', () => {
    const body = Buffer.concat(chunks).toString('latin1');
    seen.push({ method: req.method ?? '', url: req.url ?? '', headers: req.rawHeaders, body });
    answer(body);
  });
}

before(async () => {
  secure = await openUpstream((req, res) => {
    if (req.url === '/early') {
      res.writeHead(413, { 'content-length': '3' });
      res.end('big');
      return;
    }
    if (req.url === '/hints') res.writeEarlyHints({ link: '</x.css>; rel=preload' });
    if (req.url === '/broken') {
      res.writeHead(200, { 'content-length': '100' });
      res.write('abc');
      setTimeout(() => res.destroy(), 20);
      return;
    }
    record(req, (body) => {
      if (req.url === '/echo') res.setHeader('x-seen', req.headers.authorization ?? '');
      res.setHeader('alt-svc', 'h3=":443"');
      res.end(`got ${body.length}`);
    });
  }, 'api.test');
  bare = await openUpstream((req, res) => record(req, () => res.end('plain')));
  desk = await openDesk({
    rules: [
      { host: 'api.test', verdict: 'deny', path: '/admin', id: 'egress.deny[1]' }, { host: 'api.test', verdict: 'allow' }, { host: 'plain.test', verdict: 'allow', methods: ['GET'] },
      { host: 'wrong.test', verdict: 'allow' }, { host: 'inside.test', verdict: 'allow' }, { host: 'gone.test', verdict: 'allow' },
      { host: 'pay.test', verdict: 'allow', body: (a) => Number(a.get('amount')) < 100 },
    ],
    pins: [{ host: 'api.test', caPem: secure.caPem ?? '' }, { host: 'plain.test' }, { host: 'wrong.test', caPem: secure.caPem ?? '' }, { host: 'pay.test' }],
    ports: [secure.port, bare.port],
    credentials: [{ placeholder, value: secret, host: 'api.test', header: 'Authorization', pathPrefix: '/v1' }],
    local: new Map([['inference.local', (req, res) => { res.end(`local ${req.url}`); }]]),
    resolveUpstream: async (host) => (host === 'inside.test' ? ['169.254.169.254', '10.0.0.1'] : []),
  });
});
after(async () => {
  await desk.close();
  await secure.close();
  await bare.close();
});

async function call(host: string, text: string, port = secure.port, tls = true): Promise<string> {
  const socket = tls ? await desk.tls(host, port) : await desk.tcp(host, port);
  return say(socket, text, wholeAnswer);
}
const lastEvent = (): (typeof desk.audit.events)[number] | undefined => desk.audit.events.at(-1);

test('an allowed request is forwarded, rebuilt, and recorded once', async () => {
  seen = [];
  const before = desk.audit.events.length;
  const text = await call('api.test', 'POST /a/b?x=1 HTTP/1.1\r\nHost: api.test:' + secure.port + '\r\nX-One: 1\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello');
  assert.match(text, /^HTTP\/1\.1 200/);
  assert.match(text, /got 5/);
  assert.doesNotMatch(text, /alt-svc/i);
  assert.equal(seen[0]?.url, '/a/b?x=1');
  assert.equal(seen[0]?.body, 'hello');
  assert.ok(!seen[0]?.headers.some((h) => h.toLowerCase() === 'proxy-connection'));
  const events = desk.audit.events.slice(before);
  assert.equal(events.length, 1);
  assert.equal(events[0]?.verdict, 'allow');
  assert.doesNotMatch(JSON.stringify(events), /hello/);
});

test('a denial is JSON that names the rule, and is recorded', async () => {
  seen = [];
  const text = await call('api.test', `GET /admin/x HTTP/1.1\r\nHost: api.test\r\n\r\n`);
  assert.match(text, /^HTTP\/1\.1 403/);
  assert.match(text, /x-nemoclaw-rule: egress\.deny\[1\]/);
  const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
  assert.equal(body['error'], 'denied_by_policy');
  assert.equal(body['rule'], 'egress.deny[1]');
  assert.deepEqual(body['rules'], ['egress.deny[1]']);
  assert.equal(body['layer'], 'proxy');
  assert.equal(seen.length, 0);
  assert.equal(lastEvent()?.verdict, 'deny');
  assert.equal(lastEvent()?.layer, 'proxy');
});

test('a denied request without a body leaves its connection usable', async () => {
  const socket = await desk.tls('api.test', secure.port);
  const text = await say(socket, 'GET /admin HTTP/1.1\r\nHost: api.test\r\n\r\nGET /fine HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n', (t) => t.includes('got 0'));
  assert.match(text, /^HTTP\/1\.1 403[^]*HTTP\/1\.1 200/);
});

test('plain HTTP goes by the same rules, by method', async () => {
  assert.match(await call('plain.test', 'GET / HTTP/1.1\r\nHost: plain.test\r\n\r\n', bare.port, false), /plain$/);
  assert.match(await call('plain.test', 'POST / HTTP/1.1\r\nHost: plain.test\r\nContent-Length: 0\r\n\r\n', bare.port, false), /403/);
});

test('a Node client with the sandbox root works, keep-alive and parallel', async () => {
  const results = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
    const socket: TLSSocket = await desk.tls('api.test', secure.port);
    const req = httpRequest({ createConnection: () => socket, headers: { host: 'api.test' }, path: `/n/${i}`, method: 'POST' });
    req.end('x'.repeat(1000 * i));
    const [res] = (await once(req, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of res) text += String(chunk);
    return text;
  }));
  results.forEach((text, i) => assert.equal(text, `got ${1000 * i}`));
});

test('our own host is served on 443 and 80, with the same checks', async () => {
  assert.match(await call('inference.local', 'GET /v1/models HTTP/1.1\r\nHost: inference.local\r\nConnection: close\r\n\r\n', 443), /local \/v1\/models/);
  assert.match(await call('inference.local', 'GET /v1/models HTTP/1.1\r\nHost: inference.local\r\nConnection: close\r\n\r\n', 80, false), /local/);
  assert.match(await call('inference.local', 'GET / HTTP/1.1\r\nHost: api.test\r\n\r\n', 443), /^HTTP\/1\.1 421/);
  assert.match(await call('inference.local', 'GET /v1/models HTTP/1.1\r\nHost: inference.local\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n', 80, false), /^HTTP\/1\.1 200[^]*local \/v1\/models/, 'as Java and curl --http2 ask for it');
});

test('a credential goes in only where it is bound, and is masked on the way back', async () => {
  seen = [];
  const good = await call('api.test', `GET /v1/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\nConnection: close\r\n\r\n`);
  assert.match(good, /^HTTP\/1\.1 200/);
  assert.ok(seen[0]?.headers.includes(`Bearer ${secret}`));
  const basic = Buffer.from(`user:${placeholder}`).toString('base64');
  assert.match(await call('api.test', `GET /v1/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Basic ${basic}\r\nConnection: close\r\n\r\n`), /^HTTP\/1\.1 200/);
  assert.ok(seen[1]?.headers.includes(`Basic ${Buffer.from(`user:${secret}`).toString('base64')}`));
  for (const text of [
    `GET /v2/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`, `GET /v1x HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`,
    `GET /v1/x HTTP/1.1\r\nHost: api.test\r\nX-Other: ${placeholder}\r\n\r\n`, `GET /v1/${placeholder} HTTP/1.1\r\nHost: api.test\r\n\r\n`, `GET /v1/x?k=${placeholder} HTTP/1.1\r\nHost: api.test\r\n\r\n`,
  ]) assert.match(await call('api.test', text), /x-nemoclaw-rule: (credentials\.binding|inspection\.scanForPII)/);
  assert.match(await call('plain.test', `GET /v1/x HTTP/1.1\r\nHost: plain.test\r\nAuthorization: Bearer ${placeholder}\r\n\r\n`, bare.port, false), /403/);
  assert.equal(seen.length, 2);
});

test('a response header that echoes the credential is masked', async () => {
  desk.egress.update({ ...desk.config, credentials: [{ placeholder, value: secret, host: 'api.test', header: 'authorization', pathPrefix: '' }] });
  const text = await call('api.test', `GET /echo HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer ${placeholder}\r\nConnection: close\r\n\r\n`);
  desk.egress.update(desk.config);
  assert.match(text, new RegExp(`x-seen: Bearer ${placeholder}`));
  assert.ok(!text.includes(secret));
});

test('the own secrets never leave: URL, header, body, encoded, split, compressed', async () => {
  seen = [];
  const base64 = Buffer.from(`xx${secret}yy`).toString('base64');
  const post = (body: string | Buffer, more = ''): string => `POST /v1 HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${body.length}\r\n${more}\r\n${body.toString('latin1')}`;
  for (const text of [
    `GET /${secret} HTTP/1.1\r\nHost: api.test\r\n\r\n`, `GET /?q=${base64} HTTP/1.1\r\nHost: api.test\r\n\r\n`, `GET / HTTP/1.1\r\nHost: api.test\r\nUser-Agent: ${secret}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: api.test\r\nCookie: a=${Buffer.from(secret).toString('hex')}\r\n\r\n`,
    ...[`Basic ${secret}`, `Basic eA==\r\nX-More: basic ${secret}`, `Basic ${Buffer.from(`u:${placeholder}`).toString('base64').replaceAll('=', '')}${secret}`].map((value) => `GET /v1/x HTTP/1.1\r\nHost: api.test\r\nAuthorization: ${value}\r\n\r\n`), post(`{"a":"${secret}"}`), post(`x${base64}`), post('a'.repeat(70_000) + secret + 'b'.repeat(70_000)),
  ]) assert.match(await call('api.test', text), /x-nemoclaw-rule: inspection\.scanForPII/, text.slice(0, 80));
  const zipped = gzipSync(`a ${secret}`);
  const socket = await desk.tls('api.test', secure.port);
  socket.write(`POST /v1 HTTP/1.1\r\nHost: api.test\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n\r\n`);
  assert.match(await say(socket, zipped, wholeAnswer), /inspection\.scanForPII/);
  const split = await desk.tls('api.test', secure.port);
  split.write(`POST /v1 HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${secret.length + 4}\r\n\r\nab${secret.slice(0, 9)}`);
  await new Promise((done) => setTimeout(done, 30));
  assert.match(await say(split, `${secret.slice(9)}cd`, wholeAnswer), /inspection\.scanForPII/);
  assert.equal(seen.length, 0);
});

test('a decision on the body waits for it, and refuses what two parsers read differently', async () => {
  const pay = (body: string): Promise<string> => call('pay.test', `POST /c HTTP/1.1\r\nHost: pay.test\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`, bare.port, false);
  seen = [];
  assert.match(await pay('{"amount":5}'), /^HTTP\/1\.1 200/);
  assert.equal(seen[0]?.body, '{"amount":5}');
  assert.match(await pay('{"amount":500}'), /403/);
  assert.match(await pay('{"amount":500,"amount":5}'), /proxy\.body-ambiguous/);
  assert.match(await pay('{"amount":500,"am\\u006funt":5}'), /proxy\.body-ambiguous/);
  assert.match(await pay('{"amount":'), /proxy\.body-ambiguous/);
  assert.match(await call('pay.test', `POST /c HTTP/1.1\r\nHost: pay.test\r\nContent-Length: 5000000\r\n\r\n`, bare.port, false), /proxy\.body-too-large/);
  assert.match(await call('pay.test', `POST /c HTTP/1.1\r\nHost: pay.test\r\nTransfer-Encoding: chunked\r\n\r\n${'ffff\r\n' + 'a'.repeat(65535) + '\r\n'}`.repeat(1) + `${'ffff\r\n' + 'a'.repeat(65535) + '\r\n'}`.repeat(20), bare.port, false), /proxy\.body-too-large/);
  assert.equal(seen.length, 1);
});

test('an upstream with a wrong certificate, without address, or inside the network is not reached', async () => {
  assert.match(await call('wrong.test', 'GET / HTTP/1.1\r\nHost: wrong.test\r\n\r\n'), /^HTTP\/1\.1 502/);
  assert.match(await call('gone.test', 'GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n'), /^HTTP\/1\.1 502/);
  const text = await call('inside.test', 'GET / HTTP/1.1\r\nHost: inside.test\r\n\r\n');
  assert.match(text, /^HTTP\/1\.1 403/);
  assert.match(text, /network\.addresses/);
  assert.equal(lastEvent()?.verdict, 'deny');
});

test('an early answer reaches a client that is still uploading', async () => {
  const socket = await desk.tls('api.test', secure.port);
  socket.write('POST /early HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10000000\r\n\r\n');
  const text = await say(socket, 'x'.repeat(500_000), (t) => t.endsWith('big'));
  assert.match(text, /^HTTP\/1\.1 413/);
  assert.match(text, /connection: close/i);
});

test('Expect: 100-continue is answered by us, after the decision', async () => {
  const socket = await desk.tls('api.test', secure.port);
  socket.write('POST /x HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n');
  const [first] = (await once(socket, 'data')) as [Buffer];
  assert.match(first.toString(), /^HTTP\/1\.1 100 Continue/);
  assert.match(await say(socket, 'abc', wholeAnswer), /got 3/);
  const denied = await desk.tls('api.test', secure.port);
  assert.match(await say(denied, 'POST /admin HTTP/1.1\r\nHost: api.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n', wholeAnswer), /^HTTP\/1\.1 403/);
});

test('early hints are passed on, a broken upstream cuts the connection', async () => {
  assert.match(await call('api.test', 'GET /hints HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/x\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200/);
  const text = await call('api.test', 'GET /broken HTTP/1.1\r\nHost: api.test\r\n\r\n');
  // What could be the beginning of a credential waits for what follows, which never comes.
  assert.match(text, /\r\n[^]*abc?$/);
});

test('trailers and hop-by-hop fields stay behind', async () => {
  seen = [];
  await call('api.test', 'POST /t HTTP/1.1\r\nHost: api.test\r\nTE: trailers\r\nKeep-Alive: 5\r\nConnection: close, TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-Evil\r\n\r\n3\r\nabc\r\n0\r\nX-Evil: 1\r\n\r\n');
  const names = (seen[0]?.headers ?? []).filter((_, i) => i % 2 === 0).map((n) => n.toLowerCase());
  assert.equal(seen[0]?.body, 'abc');
  for (const gone of ['te', 'keep-alive', 'trailer', 'x-evil']) assert.ok(!names.includes(gone), gone);
});

test('a name that no rule allows gets no address, and an address no rule names gets nothing', async () => {
  assert.equal(await desk.resolve('evil.test'), undefined);
  assert.equal(lastEvent()?.layer, 'dns');
  assert.match(await say(await desk.tcp('127.200.1.1', 80), 'GET / HTTP/1.1\r\nHost: 10.1.0.1\r\n\r\n', wholeAnswer), /^HTTP\/1\.1 403/);
  const unknown = await desk.tcp('127.17.200.200', 80);
  assert.equal(await say(unknown, 'GET / HTTP/1.1\r\nHost: api.test\r\n\r\n'), '');
});

test('a request that cannot be recorded is not made when its effect cannot be undone', async () => {
  const { policy, audit } = desk;
  const original = policy.decide.bind(policy);
  policy.decide = (request) => ({ ...original(request), action: 'data.delete' });
  audit.broken = true;
  seen = [];
  const text = await call('api.test', 'DELETE /x HTTP/1.1\r\nHost: api.test\r\n\r\n');
  audit.broken = false;
  policy.decide = original;
  assert.match(text, /^HTTP\/1\.1 503/);
  assert.equal(seen.length, 0);
});
