/** The chain verifies strictly, and a stolen intermediate vouches for nothing else. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect, createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from './certificate.ts';
import type { Issuer } from './certificate.ts';

const now = Date.parse(new Date().toISOString());
const folder = mkdtempSync(join(tmpdir(), 'nemoclaw-chain-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const root = createRootCa('desk', now);
const names = ['api.example.com', '*.salesforce.com', 'example.org', 'deep.example.org'];
const intermediate = createIntermediate(root, names, now);
const key = createLeafKey();

const certificatesOf = (pem: string): string[] => pem.split(/(?<=-----END CERTIFICATE-----\n)/);

function verify(host: string, issuer: Issuer = intermediate): { ok: boolean; text: string } {
  const [leaf = '', middle = ''] = certificatesOf(mintLeaf(issuer, host, key, now));
  const paths = [leaf, middle, root.certPem].map((text, i) => {
    const path = join(folder, `${i}.pem`);
    writeFileSync(path, text);
    return path;
  });
  const run = spawnSync('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', host, '-CAfile', paths[2] ?? '', '-untrusted', paths[1] ?? '', paths[0] ?? ''], { encoding: 'utf8' });
  return { ok: run.status === 0, text: run.stdout + run.stderr };
}

async function handshake(host: string): Promise<string> {
  const server = createServer({ key: key.keyPem, cert: mintLeaf(intermediate, host, key, now) }, (socket) => socket.end());
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    return await new Promise<string>((done) => {
      const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername: host, ca: root.certPem });
      socket.once('secureConnect', () => { socket.destroy(); done('ok'); });
      socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    });
  } finally {
    server.close();
  }
}

for (const host of ['api.example.com', 'acme.my.salesforce.com', 'a.salesforce.com', 'inference.local', 'example.org', 'deep.example.org']) {
  test(`openssl and Node accept ${host}`, async () => {
    const result = verify(host);
    assert.ok(result.ok, result.text);
    assert.equal(await handshake(host), 'ok');
  });
}

for (const host of ['evil.test', 'api.example.com.evil.test', 'xapi.example.com', 'sub.api.example.com', 'salesforce.com', 'evilsalesforce.com', 'example.com', 'x.inference.local', 'com', 'other.example.org', 'x.deep.example.org']) {
  test(`a stolen intermediate cannot vouch for ${host}`, async () => {
    const result = verify(host);
    assert.ok(!result.ok);
    assert.match(result.text, /permitted subtree violation|excluded subtree violation/);
    assert.notEqual(await handshake(host), 'ok');
  });
}

test('of two thousand names a client is sent a few, and its own is among them; no certificate vouches for a name of none', () => {
  const many = createIntermediate(root, Array.from({ length: 2000 }, (_, i) => (i % 10 === 0 ? `*.wide${i}.example.com` : `host${i}.example.com`)), now);
  for (const host of ['inference.local', 'host1.example.com', 'host999.example.com', 'deep.below.wide1000.example.com', 'host1999.example.com']) {
    const result = verify(host, many);
    assert.ok(result.ok, result.text);
    assert.ok(mintLeaf(many, host, key, now).length < 4096, 'the chain is short');
  }
  for (const host of ['host2000.example.com', 'x.host1.example.com', 'wide10.example.com']) assert.match(verify(host, many).text, /permitted subtree violation|excluded subtree violation/);
  const all = certificatesOf(many.certPem);
  assert.equal(new Set(all.map((certPem) => new X509Certificate(certPem).subject)).size, all.length, 'none is taken for another');
  for (const certPem of [all[0], all[50], all.at(-1)]) assert.match(verify('evil.test', { certPem: certPem ?? '', keyPem: many.keyPem }).text, /permitted subtree violation/);
});

test('a name beside a suffix that covers it takes nothing away from the suffix', () => {
  const both = createIntermediate(root, ['*.example.com', 'api.example.com', '*.deep.example.com'], now);
  for (const host of ['api.example.com', 'v1.api.example.com', 'other.example.com', 'x.deep.example.com']) {
    const result = verify(host, both);
    assert.ok(result.ok, result.text);
  }
  assert.match(verify('example.com', both).text, /permitted subtree violation/);
});

test('no leaf is made for an address or a name with odd characters', () => {
  for (const host of ['127.0.0.1', '::1', '', 'a b', 'a/b', 'a\0b', '.x', `${'a'.repeat(254)}`]) assert.throws(() => mintLeaf(intermediate, host, key, now), RangeError);
});

test('the fields are what they should be', () => {
  const path = join(folder, 'intermediate.pem');
  writeFileSync(path, intermediate.certPem);
  const text = execFileSync('openssl', ['x509', '-in', path, '-noout', '-text'], { encoding: 'utf8' });
  assert.match(text, /CA:TRUE, pathlen:0/);
  assert.match(text, /Name Constraints: critical/);
  assert.match(text, /IP:0\.0\.0\.0\/0\.0\.0\.0/);
  assert.match(text, /DNS:example\.org/);
});

test('two roots of the same name differ', () => {
  const other = createRootCa('desk', now);
  assert.notEqual(other.certPem, root.certPem);
  assert.notEqual(other.keyPem, root.keyPem);
});
