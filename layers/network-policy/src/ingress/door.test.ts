/** The way in, over real sockets and TLS: each kind of proof, right and wrong, and what reaches the port in the sandbox. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { request as requestTls } from 'node:https';
import type { RequestOptions } from 'node:https';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { LedgerEvent } from '@nemoclaw/contract';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { IngressSandbox } from './admission.ts';
import { IngressDoor } from './door.ts';
import type { IngressRule, Proof } from './rules.ts';

const key = 'a key that only the two of them have';
let now = Date.parse('2026-03-01T12:00:00Z');
let monotonic = 1000;
const events: LedgerEvent[] = [];
let recording = true;
const seen: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[] = [];
let reply: { status: number; body: string | Buffer; type?: string } = { status: 200, body: 'ok' };
const agent = createServer((req, res) => {
  let body = '';
  req.on('data', (part: Buffer) => {
    body += part.toString('latin1');
  });
  req.on('end', () => {
    seen.push({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, body });
    res.writeHead(reply.status, { 'set-cookie': 'a=b', 'content-type': reply.type ?? 'text/plain' });
    res.end(reply.body);
  });
});
const folder = mkdtempSync(join(tmpdir(), 'ingress-'));
const openssl = (...argv: string[]): void => void execFileSync('openssl', argv, { cwd: folder, stdio: 'pipe' });
const file = (name: string): string => readFileSync(join(folder, name), 'utf8');
let door: IngressDoor;
let port = 0;

function rule(proof: Proof, more: Partial<IngressRule> = {}): IngressRule {
  return { id: 'ingress.allow[0]', source: 'webhook.example.com', path: '/hooks/**', port: 8080, rate: null, proof, ...more };
}
function serve(...rules: IngressRule[]): IngressSandbox {
  const sandbox: IngressSandbox = {
    id: 'sb_1', name: 'one', rules, connect: async () => connect((agent.address() as AddressInfo).port, '127.0.0.1'), withhold: (body) => (body.includes('top-secret') ? 'a secret' : undefined),
  };
  door.set('sb_1', sandbox);
  return sandbox;
}
interface Heard {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}
function call(path: string, headers: OutgoingHttpHeaders = {}, body = '', method = 'POST', tls?: RequestOptions): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, headers: { ...headers, ...(body === '' ? {} : { 'content-length': Buffer.byteLength(body) }) }, agent: false as const };
    const req = tls === undefined ? request(options) : requestTls({ ...options, ...tls });
    req.on('error', reject);
    req.on('response', (res) => {
      let text = '';
      res.on('data', (part: Buffer) => {
        text += part.toString();
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: text }));
    });
    req.end(body);
  });
}
/** Bytes as they are; what comes back until the end. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let heard = '';
    socket.on('data', (part: Buffer) => {
      heard += part.toString();
      socket.end();
    });
    socket.on('close', () => resolve(heard));
    socket.on('error', reject);
  });
}

before(async () => {
  await new Promise<void>((done) => agent.listen(0, '127.0.0.1', done));
  door = new IngressDoor({ clock: { now: () => now, monotonic: () => monotonic }, audit: { emit: (event) => void events.push(event), commit: async (event) => void events.push(event) }, recording: () => recording });
  port = await door.listen({ host: '127.0.0.1', port: 0, tls: null });
});
beforeEach(() => {
  seen.length = 0;
  events.length = 0;
  recording = true;
  reply = { status: 200, body: 'ok' };
  monotonic += 60_000;
});
after(async () => {
  await door.close();
  agent.closeAllConnections();
  agent.close();
  rmSync(folder, { recursive: true, force: true });
});

const github: Proof = { kind: 'hmac', header: 'x-hub-signature-256', key, algorithm: 'sha256', encoding: 'hex', prefix: 'sha256=', timestamp: null };
const signed = (body: string, by = key): string => `sha256=${createHmac('sha256', by).update(body).digest('hex')}`;

test('a signed request reaches the port, rebuilt and without its proof; the answer comes back without its headers', async () => {
  serve(rule(github));
  const body = '{"event":"lead","näme":1}';
  const heard = await call('/one/hooks/salesforce?id=7', { 'x-hub-signature-256': signed(body), 'x-forwarded-for': '1.2.3.4', 'x-nemoclaw-rule': 'forged', 'x-custom': 'kept' }, body);
  assert.deepEqual([heard.status, heard.body, heard.headers['set-cookie']], [200, 'ok', undefined]);
  assert.equal(seen.length, 1);
  const [got] = seen;
  assert.deepEqual([got?.method, got?.url, Buffer.from(got?.body ?? '', 'latin1').toString(), got?.headers.host], ['POST', '/hooks/salesforce?id=7', body, 'localhost:8080']);
  assert.deepEqual([got?.headers['x-custom'], got?.headers['x-nemoclaw-rule'], got?.headers['x-forwarded-for'], got?.headers['x-hub-signature-256']], ['kept', 'ingress.allow[0]', undefined, undefined]);
  assert.deepEqual(events.map(({ verdict, sandbox, data }) => [verdict, sandbox, data?.['rule']]), [['allow', 'sb_1', 'ingress.allow[0]']]);
  assert.ok(!JSON.stringify(events).includes('lead'), 'no byte of the body is on record');
});

test('everything without a proof is told the same, and nothing arrives', async () => {
  serve(rule(github));
  const good = signed('x');
  const tries: [string, OutgoingHttpHeaders, string][] = [
    ['/one/hooks/a', {}, 'x'], ['/one/hooks/a', { 'x-hub-signature-256': signed('x', 'another key') }, 'x'], ['/one/hooks/a', { 'x-hub-signature-256': good }, 'y'], ['/one/hooks/a', { 'x-hub-signature-256': good.slice(7) }, 'x'],
    ['/one/hooks/a', { 'x-hub-signature-256': `${good}00` }, 'x'], ['/one/hooks/a', { 'x-hub-signature-256': [good, good] }, 'x'], ['/one/other', { 'x-hub-signature-256': good }, 'x'], ['/two/hooks/a', { 'x-hub-signature-256': good }, 'x'],
    ['/one', { 'x-hub-signature-256': good }, 'x'], ['/', {}, ''], ['/one/hooks/%2e%2e/other', { 'x-hub-signature-256': good }, 'x'], ['/one/hooks%2Fa', { 'x-hub-signature-256': good }, 'x'], ['/%6fne/hooks/a', { 'x-hub-signature-256': good }, 'x'],
    ['/one/hooks;x/a', { 'x-hub-signature-256': good }, 'x'], ['//one/hooks/a', { 'x-hub-signature-256': good }, 'x'],
  ];
  const answers = new Set<string>();
  for (const [path, headers, body] of tries) {
    const { status, body: text } = await call(path, headers, body);
    if (status !== 400) answers.add(`${status} ${text}`);
  }
  assert.deepEqual([...answers], ['404 {"error":"not_found"}\n']);
  assert.equal(seen.length, 0);
  assert.ok(events.every(({ verdict }) => verdict === 'deny'));
});

test('a caller that has sent its whole call and closes its side gets the answer; what it cuts is no call', async () => {
  serve(rule(github));
  const head = (body: string): string => `POST /one/hooks/half HTTP/1.1\r\nHost: in.test\r\nX-Hub-Signature-256: ${signed(body)}\r\nContent-Length: ${body.length}\r\n\r\n`;
  const half = (text: string): Promise<string> => new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end(text));
    let heard = '';
    socket.on('data', (part: Buffer) => { heard += part.toString(); });
    socket.on('close', () => resolve(heard));
    socket.on('error', reject);
  });
  assert.match(await half(`${head('whole')}whole`), /^HTTP\/1\.1 200 [^]*ok$/);
  await half(`${head('whole')}who`).catch(() => '');
  assert.deepEqual(seen.map(({ body }) => body), ['whole']);
});

test('a signed time is accepted within its tolerance, and once', async () => {
  serve(rule({ ...github, prefix: '', encoding: 'base64', algorithm: 'sha512', timestamp: { header: 'x-time', toleranceMs: 300_000 } }));
  const at = (seconds: number): OutgoingHttpHeaders => {
    const time = String(Math.floor(now / 1000) + seconds);
    return { 'x-time': time, 'x-hub-signature-256': createHmac('sha512', key).update(`${time}.b`).digest('base64') };
  };
  const status = async (headers: OutgoingHttpHeaders): Promise<number> => (await call('/one/hooks/t', headers, 'b')).status;
  assert.equal(await status(at(0)), 200);
  assert.equal(await status(at(0)), 404, 'a second time');
  assert.equal(await status(at(-299)), 200);
  assert.equal(await status(at(-301)), 404, 'too old');
  assert.equal(await status(at(301)), 404, 'from the future');
  assert.equal(await status({ ...at(10), 'x-time': String(Math.floor(now / 1000) + 11) }), 404, 'another time than the signed one');
  const spelled = at(20);
  assert.equal(await status({ ...spelled, 'x-hub-signature-256': `${String(spelled['x-hub-signature-256'])} ` }), 200, 'a blank at the end is no part of a value (RFC 9110 §5.5)');
  assert.equal(await status(spelled), 404);
  now += 400_000;
  monotonic += 700_000;
  assert.equal(await status({ ...spelled }), 404, 'forgotten, but too old by now');
});

test('a token is accepted for its issuer, audience and time, signed by a key of the set with a private-key algorithm', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const other = await generateKeyPair('ES256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] });
  serve(rule({ kind: 'jwt', issuer: 'https://issuer.example', audience: 'nemoclaw', keys }));
  const seconds = Math.floor(now / 1000);
  const token = (change: (jwt: SignJWT) => SignJWT = (jwt) => jwt, by = privateKey): Promise<string> =>
    change(new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuer('https://issuer.example').setAudience('nemoclaw').setIssuedAt(seconds).setExpirationTime(seconds + 60)).sign(by);
  const status = async (value: string): Promise<number> => (await call('/one/hooks/j', { authorization: value })).status;
  assert.equal(await status(`Bearer ${await token()}`), 200);
  assert.equal(seen[0]?.headers.authorization, undefined, 'the token stays outside');
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.0/8', '::1/128'] }), rule({ kind: 'jwt', issuer: 'https://issuer.example', audience: 'nemoclaw', keys }, { id: 'ingress.allow[1]' }));
  assert.equal(await status(`Bearer ${await token()}`), 200);
  assert.equal(seen.at(-1)?.headers['x-nemoclaw-rule'], 'ingress.allow[0]');
  assert.equal(seen.at(-1)?.headers.authorization, undefined, 'nor does the token of one who is admitted otherwise come in');
  serve(rule({ kind: 'jwt', issuer: 'https://issuer.example', audience: 'nemoclaw', keys }));
  assert.equal(await status(`Bearer ${await token((jwt) => jwt.setIssuer('https://other.example'))}`), 404);
  assert.equal(await status(`Bearer ${await token((jwt) => jwt.setAudience('another'))}`), 404);
  assert.equal(await status(`Bearer ${await token((jwt) => jwt.setExpirationTime(seconds - 60))}`), 404);
  assert.equal(await status(`Bearer ${await token((jwt) => jwt, other.privateKey)}`), 404);
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify({ iss: 'https://issuer.example', aud: 'nemoclaw', exp: seconds + 60 })).toString('base64url')}.`;
  assert.equal(await status(`Bearer ${none}`), 404);
  const confused = await new SignJWT({}).setProtectedHeader({ alg: 'HS256' }).setIssuer('https://issuer.example').setAudience('nemoclaw').setExpirationTime(seconds + 60).sign(Buffer.from(keys));
  assert.equal(await status(`Bearer ${confused}`), 404, 'the public key as a shared one');
  const eternal = await new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuer('https://issuer.example').setAudience('nemoclaw').sign(privateKey);
  assert.equal(await status(`Bearer ${eternal}`), 404, 'no end');
  assert.equal(await status(await token()), 404, 'no scheme');
});

test('an address is that of the connection, whatever a header says', async () => {
  serve(rule({ kind: 'addresses', ranges: ['203.0.113.0/24', '2001:db8::/32'] }));
  assert.equal((await call('/one/hooks/a', { 'x-forwarded-for': '203.0.113.5', forwarded: 'for=203.0.113.5' })).status, 404);
  serve(rule({ kind: 'addresses', ranges: ['203.0.113.0/24', '127.0.0.0/8'] }));
  assert.equal((await call('/one/hooks/a')).status, 200);
});

test('a certificate counts under the authority of its own rule only', async () => {
  for (const ca of ['partner', 'stranger']) {
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${ca}.key`, '-out', `${ca}.pem`, '-subj', `/CN=${ca}`, '-days', '30', '-addext', 'basicConstraints=critical,CA:true');
    for (const name of ['hooks.partner.example', 'other.example']) {
      const base = `${ca}-${name}`;
      openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${base}.key`, '-out', `${base}.csr`, '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`);
      openssl('x509', '-req', '-in', `${base}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-copy_extensions', 'copy', '-out', `${base}.pem`, '-days', '10');
    }
  }
  const secure = new IngressDoor({ clock: { now: () => now, monotonic: () => monotonic }, audit: { emit: (event) => void events.push(event), commit: async () => undefined }, recording: () => true });
  const plain = port;
  port = await secure.listen({ host: '127.0.0.1', port: 0, tls: { certPem: file('stranger.pem'), keyPem: file('stranger.key') } });
  const former = door;
  door = secure;
  try {
    serve(rule({ kind: 'mtls', caPem: file('partner.pem'), names: ['*.partner.example'] }), rule({ kind: 'mtls', caPem: file('stranger.pem'), names: ['nobody.example'] }, { id: 'ingress.allow[1]', path: '/other/**' }));
    const status = async (base: string, path = '/one/hooks/m'): Promise<number> => (await call(path, {}, '', 'POST', { rejectUnauthorized: false, ...(base === '' ? {} : { cert: file(`${base}.pem`), key: file(`${base}.key`) }) })).status;
    assert.equal(await status('partner-hooks.partner.example'), 200);
    assert.equal(await status('partner-other.example'), 404, 'another name');
    assert.equal(await status('stranger-hooks.partner.example'), 404, 'an authority that only another rule names');
    assert.equal(await status(''), 404, 'none');
    assert.equal(await status('partner-hooks.partner.example', '/one/other/m'), 404, 'a path of another rule');
  } finally {
    door = former;
    port = plain;
    await secure.close();
  }
});

test('what two parsers could read differently is refused, and what follows it is not read', async () => {
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  const head = 'POST /one/hooks/r HTTP/1.1\r\nHost: here\r\n';
  for (const text of [
    `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /one/hooks/smuggled HTTP/1.1\r\nHost: here\r\n\r\n`, `${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`, `${head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    `${head}Host: there\r\nContent-Length: 0\r\n\r\n`, 'POST /one/hooks/r HTTP/1.1\r\nContent-Length: 0\r\n\r\n', `${head}X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n`, `${head}X-Original-URL: /admin\r\nContent-Length: 0\r\n\r\n`,
    'GET /one/hooks/r HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n', 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: here\r\n\r\n', 'GET http://elsewhere/one/hooks/r HTTP/1.1\r\nHost: here\r\n\r\n',
  ]) {
    const heard = await raw(text);
    assert.ok(heard === '' || /^HTTP\/1\.1 4\d\d/.test(heard), heard);
    assert.ok(heard.split('HTTP/1.1').length <= 2, 'one answer at most');
  }
  assert.equal(seen.length, 0);
});

test('a rule that goes while its caller still speaks admits nobody: another rule, and no sandbox any more', async () => {
  const others: (IngressRule[] | undefined)[] = [undefined, [], [rule(github, { path: '/hooks/**', port: 9 })]];
  for (const after of others) {
    const sandbox = serve(rule(github));
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('data', (part: Buffer) => {
      heard += part.toString();
    });
    const closed = new Promise<void>((done) => void socket.on('close', () => done()));
    await new Promise<void>((done) => void socket.write(`POST /one/hooks/late HTTP/1.1\r\nHost: here\r\nX-Hub-Signature-256: ${signed('two')}\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nt`, () => done()));
    // Its head is taken once it is told to go on.
    while (!heard.includes('100 Continue')) await new Promise<void>((next) => setImmediate(next));
    door.set('sb_1', after && { ...sandbox, rules: after });
    socket.write('wo');
    await closed;
    assert.match(heard, /404 Not Found/);
    assert.equal(seen.length, 0);
  }
});

test('a rule’s rate is kept, and the record takes no more refusals than it should', async () => {
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }, { rate: { count: 2, windowMs: 60_000 } }));
  const statuses = [];
  for (let i = 0; i < 4; i += 1) statuses.push((await call('/one/hooks/a')).status);
  assert.deepEqual(statuses, [200, 200, 429, 429]);
  assert.equal(seen.length, 2);
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }, { rate: { count: 2, windowMs: 60_000 } }), rule(github, { id: 'ingress.allow[1]', path: '/new' }));
  assert.equal((await call('/one/hooks/a')).status, 429, 'an unrelated change gives no new tokens');
  monotonic += 31_000;
  assert.equal((await call('/one/hooks/a')).status, 200);
  events.length = 0;
  for (let i = 0; i < 60; i += 1) await call('/nobody/x');
  assert.ok(events.length <= 25 && events.length > 0, `${events.length} events`);
});

test('answers are bounded and looked at; without a record nothing is admitted', async () => {
  const sandbox = serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  reply = { status: 201, body: 'here is the top-secret thing' };
  const withheld = await call('/one/hooks/a');
  assert.deepEqual([withheld.status, withheld.body], [201, '']);
  assert.match(JSON.stringify(events), /withheld: a secret/);
  reply = { status: 200, body: Buffer.alloc(70_000, 97) };
  assert.equal((await call('/one/hooks/a')).status, 502);
  reply = { status: 200, body: 'ok' };
  assert.equal((await call('/one/hooks/a', {}, 'x'.repeat((1 << 20) + 1))).status, 413);
  door.set('sb_1', { ...sandbox, connect: () => Promise.reject(new Error('nothing listens on port 8080 in the sandbox')) });
  assert.equal((await call('/one/hooks/a')).status, 502);
  recording = false;
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  seen.length = 0;
  assert.equal((await call('/one/hooks/a')).status, 503);
  door.set('sb_1', undefined);
  recording = true;
  assert.equal((await call('/one/hooks/a')).status, 404);
  assert.equal(seen.length, 0);
});

test('slow bodies keep out nobody but those who call the same sandbox with a signature; and that is on record', async () => {
  const slow = (path: string, count: number) => Promise.all(Array.from({ length: count }, () => new Promise<Socket>((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc`, () => resolve(socket)));
    socket.on('error', () => undefined);
  })));
  const one = serve(rule({ kind: 'addresses', ranges: ['203.0.113.0/24'] }));
  door.set('sb_2', { ...one, id: 'sb_2', name: 'two', rules: [rule(github)] });
  door.set('sb_3', { ...one, id: 'sb_3', name: 'three', rules: [rule({ kind: 'addresses', ranges: ['127.0.0.1'] })] });
  monotonic += 60_000;
  events.length = 0;
  const sockets = await slow('/two/hooks/a', 70);
  try {
    while (!events.some(({ message }) => message.includes('too many calls at once'))) await new Promise((next) => setTimeout(next, 5));
    sockets.push(...(await slow('/one/hooks/a', 70)));
    monotonic += 60_000;
    assert.equal((await call('/three/hooks/a', {}, 'hello')).status, 200);
    assert.equal((await call('/one/hooks/a')).status, 404, 'who proves nothing by a body is answered before it');
    assert.equal((await call('/two/hooks/a')).status, 503);
  } finally {
    for (const socket of sockets) socket.destroy();
    for (const id of ['sb_2', 'sb_3']) door.set(id, undefined);
  }
});

test('a body that is too slow or too long is told so', async (t) => {
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const slow = raw('POST /one/hooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc');
  const due = setInterval(() => t.mock.timers.tick(10_000), 20);
  try {
    assert.match(await slow, /^HTTP\/1\.1 408 /);
  } finally {
    clearInterval(due);
    t.mock.timers.reset();
  }
  const long = 'x'.repeat((1 << 20) + 1);
  assert.match(await raw(`POST /one/hooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: ${2 * long.length}\r\n\r\n${long}`), /^HTTP\/1\.1 413 /);
  assert.equal(seen.length, 0);
});

test('a signed call that was not delivered can be sent again, and its signature is good once in each sandbox', async () => {
  const signed = { ...github, timestamp: { header: 'x-time', toleranceMs: 300_000 } } as const;
  const sandbox = serve(rule(signed, { rate: { count: 1, windowMs: 60_000 } }));
  const at = (seconds: number): OutgoingHttpHeaders => {
    const time = String(Math.floor(now / 1000) + seconds);
    return { 'x-time': time, 'x-hub-signature-256': `sha256=${createHmac('sha256', key).update(`${time}.b`).digest('hex')}` };
  };
  const status = async (headers: OutgoingHttpHeaders, path = '/one/hooks/t'): Promise<number> => (await call(path, headers, 'b')).status;
  assert.deepEqual([await status(at(1)), await status(at(2)), await status(at(2))], [200, 429, 429]);
  monotonic += 61_000;
  assert.deepEqual([await status(at(2)), await status(at(2))], [200, 404]);
  door.set('sb_1', { ...sandbox, rules: [rule(signed)], connect: () => Promise.reject(new Error('it begins only now')) });
  assert.equal(await status(at(3)), 502);
  door.set('sb_1', { ...sandbox, rules: [rule(signed)] });
  door.set('sb_2', { ...sandbox, id: 'sb_2', name: 'two', rules: [rule(signed)] });
  assert.deepEqual([await status(at(3)), await status(at(3), '/two/hooks/t'), await status(at(3), '/two/hooks/t')], [200, 200, 404]);
  door.set('sb_1', { ...sandbox, rules: [rule(signed), rule(signed, { id: 'ingress.allow[1]', path: '/other' })] });
  assert.equal(await status(at(3), '/one/other'), 404, 'at another rule of the sandbox');
  door.set('sb_2', undefined);
});

test('behind a proxy of the operator, and under an address, a call comes in; what it claims of its caller does not', async () => {
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  const claims = { 'x-forwarded-host': 'hooks.example', forwarded: 'for=1.2.3.4;host=hooks.example', 'x-original-host': 'hooks.example', X_Forwarded_For: '1.2.3.4', X_Nemoclaw_Rule: 'ingress.allow[9]', 'x-real-ip': '1.2.3.4', 'x-kept': 'yes' };
  seen.length = 0;
  assert.equal((await call('/one/hooks/a', claims)).status, 200);
  assert.equal((await call('/one/hooks/a', { host: '[2001:db8::1]:8443' })).status, 200);
  const { headers = {} } = seen[0] ?? {};
  assert.deepEqual(Object.keys(headers).filter((name) => name !== 'transfer-encoding').toSorted(), ['connection', 'host', 'x-kept', 'x-nemoclaw-rule']);
  assert.equal(headers['x-nemoclaw-rule'], 'ingress.allow[0]');
});

test('the content type of an answer says nothing more than that, and nothing where there is no body', async () => {
  serve(rule({ kind: 'addresses', ranges: ['127.0.0.1'] }));
  const types = [];
  for (const [type, body] of [['application/json; charset=utf-8', '{}'], ['text/x; d=what-was-read-in-a-file', 'ok'], ['text/plain', ''], ['text/plain', 'the top-secret thing']] as const) {
    reply = { status: 200, body, type };
    types.push((await call('/one/hooks/a')).headers['content-type']);
  }
  reply = { status: 200, body: 'ok' };
  assert.deepEqual(types, ['application/json; charset=utf-8', 'application/octet-stream', 'application/octet-stream', 'application/octet-stream']);
});

test('in cleartext it listens on loopback only', async () => {
  const other = new IngressDoor({ clock: { now: () => now, monotonic: () => monotonic }, audit: { emit: () => undefined, commit: async () => undefined }, recording: () => true });
  await assert.rejects(other.listen({ host: '0.0.0.0', port: 0, tls: null }), /loopback only/);
  await assert.rejects(other.listen({ host: '::', port: 0, tls: null }), /loopback only/);
});
