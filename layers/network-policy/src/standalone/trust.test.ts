/** Clients that people use, each through a captured network: they trust the run's authority, and the policy decides. What is not installed is said to be untested. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { createRootCa } from '../tls/certificate.ts';
import { openUpstream } from '../testing/testing-egress.ts';
import type { Upstream } from '../testing/testing-egress.ts';
import { javaTrustStore, trustPassword } from './java-trust-store.ts';
import { buildNative } from './native-build.ts';
import { startAlone } from './testing-command.ts';
import type { Ran } from './testing-command.ts';

const has = (name: string): boolean => ['/usr/bin', '/bin', '/usr/local/bin'].some((folder) => spawnSync('/usr/bin/test', ['-x', `${folder}/${name}`]).status === 0);

test('the Java trust store holds what was put in, in the form that the format says', () => {
  const pems = [1, 2].map((n) => createRootCa(`r${n}`, 1_700_000_000_000).certPem);
  const store = javaTrustStore(`# comment\n${pems.join('\n')}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`, 1_700_000_000_000);
  assert.deepEqual([store.readUInt32BE(0), store.readUInt32BE(4), store.readUInt32BE(8)], [0xfeedfeed, 2, 2]);
  let at = 12;
  for (const [index, pem] of pems.entries()) {
    assert.equal(store.readUInt32BE(at), 2);
    const alias = store.toString('latin1', at + 6, at + 6 + store.readUInt16BE(at + 4));
    at += 6 + alias.length;
    assert.deepEqual([alias, Number(store.readBigUInt64BE(at)), store.toString('latin1', at + 10, at + 15)], [`ca-${index}`, 1_700_000_000_000, 'X.509']);
    const size = store.readUInt32BE(at + 15);
    assert.deepEqual(store.subarray(at + 19, at + 19 + size), new X509Certificate(pem).raw);
    at += 19 + size;
  }
  const password = Buffer.from([...trustPassword].flatMap((c) => [0, c.charCodeAt(0)]));
  assert.deepEqual(store.subarray(at), createHash('sha1').update(Buffer.concat([password, Buffer.from('Mighty Aphrodite'), store.subarray(0, at)])).digest());
});

describe('clients', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'network-clients-'));
  let safe: Upstream;
  const seen: string[] = [];

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'tmp'));
    safe = await openUpstream((req, res) => {
      seen.push(req.method ?? '');
      res.end('safe\n');
    }, 'safe.example');
    writeFileSync(join(folder, 'anchor.pem'), safe.caPem ?? '');
    writeFileSync(join(folder, 'policy.yaml'), `networkPolicy:\n  name: clients\n  egress:\n    allow:\n      - { domain: safe.example, ports: [${safe.port}], methods: [GET], addresses: [127.0.0.1], ca: anchor.pem }\n    deny:\n      - { domain: "*" }\n`);
  });
  after(async () => {
    await safe.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const inside = (script: string): Promise<Ran> => startAlone(['run', '--policy', 'policy.yaml', '--', '/bin/sh', '-c', script], { cwd: folder, env: { PATH: '/usr/local/bin:/usr/bin:/bin', TMPDIR: join(folder, 'tmp') } }).ended;
  const url = (): string => `https://safe.example:${safe.port}/`;
  const python = (module: string): boolean => spawnSync('/usr/bin/python3', ['-c', `import ${module}`]).status === 0;

  it('each of them that is installed gets the answer', async (t) => {
    const clients: readonly (readonly [string, boolean, string])[] = [
      ['curl', has('curl'), `curl -sS ${url()}`],
      ['curl with an empty environment', has('curl'), `env -i /usr/bin/curl -sS ${url()}`],
      ['urllib of Python', has('python3'), `/usr/bin/python3 -c "import urllib.request as u; print(u.urlopen('${url()}').read().decode(), end='')"`],
      ['requests of Python', python('requests'), `/usr/bin/python3 -c "import requests; print(requests.get('${url()}').text, end='')"`],
      ['httpx of Python', python('httpx'), `/usr/bin/python3 -c "import httpx; print(httpx.get('${url()}').text, end='')"`],
      ['fetch of Node', true, `${process.execPath} -e "fetch('${url()}').then((r) => r.text()).then((t) => process.stdout.write(t))"`],
      ['OpenSSL', has('openssl'), `openssl s_client -verify_return_error -verify_hostname safe.example -connect safe.example:${safe.port} </dev/null 2>/dev/null | grep -q 'Verify return code: 0' && echo safe`],
      ['wget', has('wget'), `wget -qO- ${url()}`],
      ['git', has('git'), `git ls-remote ${url()}repository.git 2>&1 | grep -qiE 'certificate|SSL' || echo safe`],
    ];
    for (const [name] of clients.filter(([, there]) => !there)) t.diagnostic(`NOT TESTED: ${name} is not installed`);
    const tried = clients.filter(([, there]) => there);
    const { out, err } = await inside(tried.map(([name, , script]) => `echo '${name}'; ${script}`).join('\n'));
    assert.equal(out, tried.map(([name]) => `${name}\nsafe\n`).join(''), err);
    assert.ok(seen.length >= tried.length - 1 && seen.every((method) => method === 'GET'), seen.join());
  });
});
