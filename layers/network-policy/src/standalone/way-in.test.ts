/** Calls into a network that the layer alone serves, on the real kernel: each kind of proof, from the address that is listened at to a port in the namespace. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestPlain } from 'node:http';
import type { OutgoingHttpHeaders } from 'node:http';
import { request as requestTls } from 'node:https';
import type { RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { testClock } from '../testing/testing-egress.ts';
import { buildNative } from './native-build.ts';
import { nodeFor, programPath, startAlone } from './testing-command.ts';
import type { Running } from './testing-command.ts';

const key = 'a key that only the two of them have';
const token = 'real-token-0123456789';
const plain = 65_533;
/** What the command does: answers on the port that the rules name, and on another one; says what came in. */
const server = `const h = require('http'); const s = (port, then) => h.createServer((q, r) => { let b = ''; q.on('data', (d) => { b += d; }); q.on('end', () => { console.log(JSON.stringify([port, q.method, q.url, b, q.headers['x-signature'] ?? ''])); r.end(q.url.startsWith('/hooks/leak') ? '${token}' : 'done\\n'); }); }).listen(port, '127.0.0.1', then); s(8081, () => s(8080, () => console.log('up')));`;
const hmac = '{ hmac: { header: x-signature, secret: hook, prefix: "sha256=" } }';
const policy = `networkPolicy:
  name: way-in
  ingress:
    allow:
      - { source: signed.example, path: /hooks/**, port: 8080, auth: ${hmac} }
      - { source: signed.example, path: /seldom, port: 8080, rate: 1/h, auth: ${hmac} }
      - { source: here.example, path: /here, port: 8080, auth: { addresses: [127.0.0.1] } }
      - { source: nobody.example, path: /nobody, port: 8080, auth: { addresses: [192.0.2.1] } }
      - { source: anybody.example, path: /anybody, port: 8080 }
      - { source: closed.example, path: /closed, port: 9, auth: { addresses: [127.0.0.1] } }
      - { source: token.example, path: /token, port: 8080, auth: { jwt: { issuer: them, audience: us, keys: keys.json } } }
      - { source: shown.example, path: /shown, port: 8080, auth: { mtls: { ca: callers.pem, names: [caller.example] } } }
      - { source: lost.example, path: /lost, port: 8080, auth: { mtls: { ca: no-such.pem, names: [caller.example] } } }
`;

interface Heard {
  readonly status: number;
  readonly body: string;
}

describe('calls into a network of network-policy alone', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'way-in-'));
  const running = new Set<Running>();
  const openssl = (...argv: string[]): void => void execFileSync('openssl', argv, { cwd: folder, stdio: 'pipe' });
  const file = (name: string): string => readFileSync(join(folder, name), 'utf8');
  let bearer = '';

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    writeFileSync(join(folder, 'policy.yaml'), policy);
    writeFileSync(join(folder, 'credentials.yaml'), `credentials:\n  hook: { kind: key, value: "${key}" }\n  api: { host: api.example.com, env: API_TOKEN, value: ${token} }\n`, { mode: 0o600 });
    const { publicKey, privateKey } = await generateKeyPair('ES256');
    writeFileSync(join(folder, 'keys.json'), JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256' }] }));
    bearer = await new SignJWT({}).setProtectedHeader({ alg: 'ES256', kid: 'one' }).setIssuer('them').setAudience('us').setExpirationTime(Math.floor(testClock.now() / 1000) + 3600).sign(privateKey);
    for (const [name, subject] of [['own', '/CN=127.0.0.1'], ['callers', '/CN=callers']] as const) openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.pem`, '-subj', subject, '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2');
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'caller.key', '-out', 'caller.csr', '-subj', '/CN=caller', '-addext', 'subjectAltName=DNS:caller.example');
    openssl('x509', '-req', '-in', 'caller.csr', '-CA', 'callers.pem', '-CAkey', 'callers.key', '-CAcreateserial', '-copy_extensions', 'copy', '-out', 'caller.pem', '-days', '2');
  });
  afterEach(async () => {
    for (const one of running) {
      one.child.kill('SIGTERM');
      await one.ended;
    }
    running.clear();
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** A command that listens, and where its calls are taken. */
  async function open(args: readonly string[], as: Partial<Parameters<typeof startAlone>[1]> = {}): Promise<{ readonly one: Running; readonly port: number }> {
    const one = startAlone(args, { cwd: folder, ...as });
    running.add(one);
    const [, port] = await one.until(/Calls are taken at https?:\/\/127\.0\.0\.1:(\d+)\//);
    return { one, port: Number(port) };
  }
  const command = (...options: readonly string[]): string[] => ['run', '--policy', 'policy.yaml', '--credentials', 'credentials.yaml', '--listen', '127.0.0.1:0', ...options, '--', process.execPath, '-e', server];
  function call(port: number, path: string, headers: OutgoingHttpHeaders = {}, body = '', tls?: RequestOptions): Promise<Heard> {
    return new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path, method: 'POST', headers, agent: false as const };
      const req = tls === undefined ? requestPlain(options) : requestTls({ ...options, ca: file('own.pem'), ...tls });
      req.on('error', reject);
      req.on('response', (res) => {
        let text = '';
        res.on('data', (part: Buffer) => { text += part.toString(); });
        res.on('end', () => resolve({ status: res.statusCode ?? 0, body: text }));
      });
      req.end(body);
    });
  }
  const signed = (body: string, by = key): OutgoingHttpHeaders => ({ 'x-signature': `sha256=${createHmac('sha256', by).update(body).digest('hex')}` });
  const arrived = (out: string): string[] => out.split('\n').filter((line) => line.startsWith('['));

  it('reach the port of the rule that proves them, and are on record; everybody else is told the same', async () => {
    const { one, port } = await open(command('--record', 'events'));
    await one.until(/^up$/m);
    assert.deepEqual(await call(port, '/hooks/lead?id=7', signed('{"a":1}'), '{"a":1}'), { status: 200, body: 'done\n' });
    assert.equal((await call(port, '/here', {}, 'x')).status, 200);
    assert.equal((await call(port, '/token', { authorization: `Bearer ${bearer}` })).status, 200);
    const refused = { status: 404, body: '{"error":"not_found"}\n' };
    for (const [path, headers] of [['/hooks/lead', {}], ['/hooks/lead', signed('', 'another key')], ['/nobody', {}], ['/anybody', {}], ['/lost', {}], ['/token', { authorization: 'Bearer abc' }], ['/other', signed('')], ['/way-in/here', {}], ['/network-policy/here', {}]] as const) {
      assert.deepEqual(await call(port, path, headers), refused, path);
    }
    assert.equal((await call(port, '/seldom', signed(''))).status, 200);
    assert.equal((await call(port, '/seldom', signed(''))).status, 429);
    assert.equal((await call(port, '/closed')).status, 502);
    assert.deepEqual(await call(port, '/hooks/leak', signed('')), { status: 200, body: '' }, 'what holds a credential does not get out');
    one.child.kill('SIGTERM');
    const { out, err } = await one.ended;
    assert.deepEqual(arrived(out).map((line) => JSON.parse(line) as unknown), [[8080, 'POST', '/hooks/lead?id=7', '{"a":1}', ''], [8080, 'POST', '/here', 'x', ''], [8080, 'POST', '/token', '', ''], [8080, 'POST', '/seldom', '', ''], [8080, 'POST', '/hooks/leak', '', '']]);
    assert.match(err, /note: ingress\.allow\[4\]: unproven[^]*note: ingress\.allow\[8\]: the file no-such\.pem is not there; nobody is admitted/);
    assert.match(err, /denied: ingress POST \/nobody from 127\.0\.0\.1: ingress\.allow\[3\]/);
    const events = file('events');
    assert.match(events, /"verdict":"allow","message":"ingress POST \/hooks\/lead from 127\.0\.0\.1: admitted by ingress\.allow\[0\]"/);
    for (const value of [key, token, bearer]) assert.ok(!`${events}${err}`.includes(value), value);
    await assert.rejects(call(port, '/here'), /ECONNREFUSED/, 'with its command the way in ends');
  });

  it('get no answer from a command that may know what is restricted, and their key is not the command’s', async () => {
    writeFileSync(join(folder, 'restricted.yaml'), `${policy}  egress:\n    allow: [{ domain: other.example, ports: [80], addresses: [127.0.0.1] }]\n  labels: [{ domain: vault.example, level: restricted }]\n`);
    const words = ['run', '--policy', 'restricted.yaml', '--credentials', 'credentials.yaml', '--listen', '127.0.0.1:0', '--record', 'restricted-events'];
    const { one, port } = await open([...words, '--', process.execPath, '-e', server]);
    await one.until(/^up$/m);
    assert.deepEqual(await call(port, '/here', {}, 'x'), { status: 200, body: '' });
    const { out } = await startAlone([...words, '--tls-cert', 'own.pem', '--tls-key', 'own.key', '--', '/bin/sh', '-c', 'wc -c < own.key; curl -sS -m 60 http://other.example/'], { cwd: folder }).ended;
    assert.match(out, /^0\n[^]*no terminal to ask at/);
    assert.match(file('restricted-events'), /"labels\.egress"/);
  });

  it('over TLS show a certificate under the authority of their rule', async () => {
    const { one, port } = await open(command('--tls-cert', 'own.pem', '--tls-key', 'own.key'));
    await one.until(/^up$/m);
    assert.equal((await call(port, '/shown', {}, '', { cert: file('caller.pem'), key: file('caller.key') })).status, 200);
    assert.equal((await call(port, '/shown', {}, '', {})).status, 404);
    assert.equal((await call(port, '/shown', {}, '', { cert: file('own.pem'), key: file('own.key') })).status, 404);
    assert.equal((await call(port, '/here', {}, '', {})).status, 200);
  });

  it('reach the command of a plain user', async (t) => {
    if (spawnSync('/usr/bin/test', ['-r', programPath], { uid: plain, gid: plain }).status !== 0) return t.skip('the checkout cannot be read by a plain user');
    const node = nodeFor(join(folder, 'node'));
    const { one, port } = await open(['run', '--policy', 'policy.yaml', '--listen', '127.0.0.1:0', '--', node, '-e', server], { uid: plain, gid: plain, node, env: { TMPDIR: '/tmp' } });
    await one.until(/^up$/m);
    assert.deepEqual(await call(port, '/here', {}, 'x'), { status: 200, body: 'done\n' });
    assert.equal((await call(port, '/hooks/x', signed(''))).status, 404, 'the key is not there');
  });

  it('reach a namespace that exists', async () => {
    const inside = spawn('unshare', ['-n', process.execPath, '-e', server], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    inside.stdout.on('data', (part: Buffer) => { out += part.toString(); });
    try {
      const pid = String(inside.pid);
      while (!out.includes('up\n')) await once(inside.stdout, 'data');
      const { port } = await open(['serve', '--policy', 'policy.yaml', '--netns', pid, '--credentials', 'credentials.yaml', '--listen', '127.0.0.1:0']);
      assert.equal((await call(port, '/hooks/a', signed('b'), 'b')).status, 200);
      assert.equal((await call(port, '/hooks/a', signed('c'), 'b')).status, 404);
      assert.deepEqual(arrived(out), ['[8080,"POST","/hooks/a","b",""]']);
    } finally {
      inside.kill('SIGKILL');
    }
  });

  it('are not taken where that would be unsafe or cannot be', async () => {
    const { port } = await open(command());
    for (const [options, words] of [
      [['--listen', '0.0.0.0:0'], /cannot be taken[^]*without a certificate/], [['--listen', `127.0.0.1:${port}`], /cannot be taken[^]*EADDRINUSE/], [['--listen', 'localhost:80'], /needs ADDRESS:PORT/], [['--listen', '127.0.0.1'], /needs ADDRESS:PORT/],
      [['--listen', '127.0.0.1:0', '--tls-cert', 'own.pem'], /belong together/], [['--tls-cert', 'own.pem', '--tls-key', 'own.key'], /is for --listen/], [['--listen', '127.0.0.1:0', '--tls-cert', 'own.pem', '--tls-key', 'no-such.key'], /cannot be taken[^]*no-such\.key/],
    ] as const) {
      const ran = await startAlone(['run', '--policy', 'policy.yaml', ...options, '--', '/bin/echo', 'started'], { cwd: folder }).ended;
      assert.deepEqual([ran.code, ran.out], [2, ''], ran.err);
      assert.match(ran.err, words);
    }
  });
});
