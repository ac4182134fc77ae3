/** Credentials of the layer alone, on the real kernel: put in where they are bound to, and nowhere to be found by the command; and the file that they come from. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { NemoError } from '@nemoclaw/contract';
import type { LedgerEvent } from '@nemoclaw/contract';
import { openUpstream, testIds } from '../testing/testing-egress.ts';
import type { Upstream } from '../testing/testing-egress.ts';
import { holdCredentials } from './held-credentials.ts';
import { buildNative } from './native-build.ts';
import { nodeFor, programPath, startAlone } from './testing-command.ts';
import type { Ran, Running } from './testing-command.ts';

/** In every value, and in nothing else on this machine. */
const mark = testIds.next('real');
/** The same for grep, whose own command line is looked through as well. */
const pattern = mark.replace('real', '[r]eal');
const token = `${mark}-token`;
const key = `${mark}-key`;
const secretKey = `${mark}/wJalrXUtnFEMI`;
const plain = 65_533;

describe('credentials of network-policy alone', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'held-credentials-'));
  const seen: { readonly url: string; readonly authorization: string; readonly key: string }[] = [];
  const asked: string[] = [];
  const running = new Set<Running>();
  let safe: Upstream;
  let granted: string[] = [];
  const tokens = createServer((req, res) => {
    let text = '';
    req.on('data', (part: Buffer) => { text += part.toString(); });
    req.on('end', () => {
      asked.push(new URLSearchParams(text).get('refresh_token') ?? '');
      const next = granted.shift();
      res.writeHead(next === undefined ? 400 : 200).end(next === undefined ? '{"error":"invalid_grant"}' : JSON.stringify({ access_token: next, token_type: 'Bearer', refresh_token: `refresh-after-${next}` }));
    });
  });

  before(async () => {
    buildNative();
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'of-plain'));
    chownSync(join(folder, 'of-plain'), plain, plain);
    safe = await openUpstream((req, res) => {
      seen.push({ url: req.url ?? '', authorization: req.headers.authorization ?? '', key: String(req.headers['x-key'] ?? '') });
      res.writeHead(200, { 'x-echo': req.headers.authorization ?? '' });
      res.end(`echo ${req.headers.authorization ?? ''} ${req.headers['x-key'] ?? ''}\n`);
    }, 'safe.example');
    await new Promise<void>((done) => tokens.listen(0, '127.0.0.1', done));
    writeFileSync(join(folder, 'anchor.pem'), safe.caPem ?? '');
    writeFileSync(join(folder, 'policy.yaml'), `networkPolicy:\n  name: held\n  egress:\n    allow:\n      - { domain: safe.example, ports: [${safe.port}], methods: [GET], addresses: [127.0.0.1], ca: anchor.pem }\n      - { domain: other.example, ports: [${safe.port}], methods: [GET], addresses: [127.0.0.1], ca: anchor.pem }\n    deny:\n      - { domain: "*" }\n`);
    for (const [at, owner] of [[folder, 0], [join(folder, 'of-plain'), plain]] as const) {
      secret(join(at, 'box.key'), `${key}\n`, owner);
      secret(join(at, 'credentials.yaml'), `credentials:
  api: { host: safe.example, port: ${safe.port}, pathPrefix: /v1, env: API_TOKEN, value: { variable: REAL_TOKEN } }
  box: { host: safe.example, port: ${safe.port}, header: x-key, env: BOX_KEY, value: { file: box.key } }
  aws: { kind: sigv4, host: safe.example, port: ${safe.port}, accessKeyId: AKIAIOSFODNN7EXAMPLE, value: ${secretKey} }
`, owner);
    }
  });
  beforeEach(() => {
    seen.length = 0;
    asked.length = 0;
  });
  after(async () => {
    for (const { child } of running) child.kill('SIGKILL');
    tokens.closeAllConnections();
    tokens.close();
    await safe.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function secret(path: string, text: string, owner = 0): string {
    writeFileSync(path, text, { mode: 0o600 });
    chownSync(path, owner, owner);
    return path;
  }
  async function start(args: readonly string[], as: Partial<Parameters<typeof startAlone>[1]> = {}): Promise<Ran> {
    const one = startAlone(args, { cwd: folder, env: { REAL_TOKEN: token }, ...as });
    running.add(one);
    const ran = await one.ended;
    running.delete(one);
    return ran;
  }
  const curl = 'curl -sS -m 60';
  const url = (path: string, host = 'safe.example'): string => `https://${host}:${safe.port}${path}`;
  const bound = (): string => `printenv API_TOKEN; ${curl} -D - -H "authorization: Bearer $API_TOKEN" -H "x-key: $BOX_KEY" ${url('/v1/a')}`;
  /** What the command can look through for a value: variables and command lines of whatever it sees, the files, its own variables. */
  const search = (at: string): string => `cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline ${at}/credentials.yaml ${at}/box.key 2>/dev/null | grep -a -c '${pattern}'; env | grep -c '${pattern}'; env | grep -c REAL_TOKEN`;

  it('are put in where they are bound to and nowhere else, and are masked in what comes back', async () => {
    const record = join(folder, 'events');
    const { code, out, err } = await start(['run', '--policy', 'policy.yaml', '--credentials', 'credentials.yaml', '--record', record, '--', '/bin/sh', '-c', `${bound()}
      ${curl} -H "authorization: Bearer $API_TOKEN" ${url('/v2')}; ${curl} -H "x-other: $API_TOKEN" ${url('/v1/b')}; ${curl} "${url('/v1/c')}?token=$API_TOKEN"; ${curl} -H "authorization: Bearer $API_TOKEN" ${url('/v1/d', 'other.example')}; exit 4`]);
    assert.equal(code, 4, err);
    assert.deepEqual(seen, [{ url: '/v1/a', authorization: `Bearer ${token}`, key }], out);
    assert.match(out, /^nemoclaw-credential-api-[0-9a-f]+\nHTTP[^]*echo Bearer /);
    assert.equal(out.match(/"error":/g)?.length, 4, out);
    for (const [name, text] of [['output', out], ['notes', err], ['record', readFileSync(record, 'utf8')]] as const) assert.ok(!text.includes(mark), `${name}: ${text}`);
    assert.match(readFileSync(record, 'utf8'), /"verdict":"allow"/);
  });

  it('sign anew what was signed with a placeholder', async () => {
    const { out, err } = await start(['run', '--policy', 'policy.yaml', '--credentials', 'credentials.yaml', '--', '/bin/sh', '-c', `${curl} --aws-sigv4 aws:amz:eu-central-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" ${url('/bucket')}`]);
    assert.equal(seen.length, 1, `${out} ${err}`);
    assert.match(seen[0]?.authorization ?? '', /^AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE\/\d{8}\/eu-central-1\/s3\/aws4_request/);
  });

  it('are found by the command in no variable, file, or other process', async () => {
    // The same search finds them where nothing keeps it off.
    const found = spawnSync('/bin/sh', ['-c', search(folder)], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', REAL_TOKEN: token } });
    assert.deepEqual(found.stdout.trim().split('\n').map((count) => Number(count) > 0), [true, true, true], found.stdout);
    const { out, err } = await start(['run', '--policy', 'policy.yaml', '--credentials', 'credentials.yaml', '--', '/bin/sh', '-c', `${search(folder)}; umount ${folder}/box.key 2>/dev/null && cat ${folder}/box.key`]);
    assert.equal(out, '0\n0\n0\n', err);
    assert.equal(readFileSync(join(folder, 'box.key'), 'utf8'), `${key}\n`, 'outside the files are as they were');
  });

  it('a plain user gets the same', async (t) => {
    if (spawnSync('/usr/bin/test', ['-r', programPath], { uid: plain, gid: plain }).status !== 0) return t.skip('the checkout cannot be read by a plain user');
    const at = join(folder, 'of-plain');
    const { out, err } = await start(['run', '--policy', join(folder, 'policy.yaml'), '--credentials', 'credentials.yaml', '--', '/bin/sh', '-c', `${bound()} >/dev/null; ${search(at)}`], { uid: plain, gid: plain, cwd: at, node: nodeFor(join(folder, 'node')) });
    assert.deepEqual(seen, [{ url: '/v1/a', authorization: `Bearer ${token}`, key }], err);
    assert.match(out, /\n0\n0\n0\n$/, err);
  });

  it('in front of a namespace, the placeholders are printed', async () => {
    const inside = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
    const pid = String(inside.pid);
    try {
      while (readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) await setImmediate();
      const served = startAlone(['serve', '--policy', 'policy.yaml', '--netns', pid, '--credentials', 'credentials.yaml', '--ca-out', join(folder, 'root.pem')], { cwd: folder, env: { REAL_TOKEN: token } });
      running.add(served);
      await served.until(/serving/);
      const [, placeholder = ''] = await served.until(/^API_TOKEN=(nemoclaw-credential-api-[0-9a-f]+)$/m);
      // Names have addresses in the order in which they are asked for.
      const looked = spawnSync('nsenter', ['-t', pid, '-n', process.execPath, '-e', `const r = new (require('dns').Resolver)(); r.setServers(['9.9.9.9']); r.resolve4('safe.example', (e, a) => console.log(e ? '' : a[0]))`], { encoding: 'utf8' });
      assert.equal(looked.stdout.trim(), '198.18.0.1');
      const asks = spawn('nsenter', ['-t', pid, '-n', 'curl', '-sS', '-m', '60', '--cacert', join(folder, 'root.pem'), '--resolve', `safe.example:${safe.port}:198.18.0.1`, '-H', `authorization: Bearer ${placeholder}`, url('/v1/served')], { stdio: 'ignore' });
      await new Promise((done) => asks.once('close', done));
      served.child.kill('SIGTERM');
      assert.equal((await served.ended).code, 0);
      running.delete(served);
      assert.deepEqual(seen.map(({ authorization }) => authorization), [`Bearer ${token}`]);
    } finally {
      inside.kill('SIGKILL');
    }
  });

  const oauth = (): string => `credentials:\n  crm: { kind: oauth2, tokenUrl: "http://127.0.0.1:${(tokens.address() as AddressInfo).port}/", clientId: me, refreshToken: refresh-first, host: safe.example, port: ${safe.port}, env: CRM_TOKEN }\n`;

  it('an access token is got before the command starts, which else does not', async () => {
    const file = secret(join(folder, 'oauth.yaml'), oauth());
    const args = ['run', '--policy', 'policy.yaml', '--credentials', file, '--', '/bin/sh', '-c', `echo started; ${curl} -H "authorization: Bearer $CRM_TOKEN" ${url('/crm')}`];
    granted = ['access-token-one'];
    const first = await start(args);
    assert.deepEqual([seen.map(({ authorization }) => authorization), asked], [['Bearer access-token-one'], ['refresh-first']], first.err);
    assert.ok(!first.out.includes('access-token-one'));
    const refused = await start(args);
    assert.deepEqual([refused.code, refused.out], [2, '']);
    assert.match(refused.err, /no access token for the credential crm[^]*answered 400: invalid_grant[^]*NEMO_E_CREDENTIALS/);
  });

  it('a refused token is renewed, with the newest refresh token, and not again at once', async () => {
    const events: LedgerEvent[] = [];
    const audit = { emit: (event: LedgerEvent) => void events.push(event), commit: async (event: LedgerEvent) => void events.push(event) };
    let monotonic = 0;
    granted = ['access-token-one', 'access-token-two'];
    const held = await holdCredentials(secret(join(folder, 'oauth.yaml'), oauth()), { now: () => 1000, monotonic: () => monotonic }, testIds);
    const [plan] = held.plans;
    assert.equal(plan?.value, 'access-token-one');
    assert.equal(await held.renew(plan?.placeholder ?? '', audit), false);
    monotonic += 10_000;
    assert.equal(await held.renew(plan?.placeholder ?? '', audit), true);
    assert.deepEqual([asked, held.plans[0]?.value, held.plans[0]?.placeholder], [['refresh-first', 'refresh-after-access-token-one'], 'access-token-two', plan?.placeholder]);
    monotonic += 10_000;
    assert.equal(await held.renew(plan?.placeholder ?? '', audit), false);
    assert.deepEqual([events.length, held.plans[0]?.value], [2, 'access-token-two'], 'what there is stays');
    for (const value of ['refresh-first', 'access-token-one', 'refresh-after-access-token-one', 'access-token-two', 'refresh-after-access-token-two']) {
      assert.ok(held.secrets.includes(value), value);
      assert.ok(!JSON.stringify(events).includes(value), value);
    }
  });

  it('a file that somebody else could have read, or that is wrong, starts nothing, and is told without its values', async () => {
    const known = { host: 'safe.example', env: 'X', value: token };
    const cases: readonly (readonly [string, string, number, RegExp])[] = [
      ['open.yaml', 'credentials: {}', 0o640, /open\.yaml can be read or changed by others \(mode 640\)/],
      ['field.yaml', `credentials:\n  api:\n    host: safe.example\n    valeu: ${token}\n    value: ${token}\n    env: X\n`, 0o600, /Unknown field `valeu`[^]*field\.yaml:4:5/],
      ['yaml.yaml', `credentials:\n  api: { host: safe.example, value: *${token} }\n`, 0o600, /not valid YAML[^]*yaml\.yaml:2:/],
      ['short.yaml', 'credentials:\n  api: { host: safe.example, env: X, value: real }\n', 0o600, /credentials\.api\.value[^]*short\.yaml:2:/],
      ['host.yaml', `credentials:\n  api: { host: "*.example", env: X, value: ${token} }\n`, 0o600, /not a host name[^]*host\.yaml:2:/],
      ['env.yaml', `credentials:\n  api: { host: safe.example, value: ${token} }\n`, 0o600, /No variable is named[^]*env\.yaml:2:/],
      ['twice.yaml', `credentials:\n  a: ${JSON.stringify(known)}\n  b: ${JSON.stringify(known)}\n`, 0o600, /has the variable X[^]*twice\.yaml:3:/],
      ['unset.yaml', 'credentials:\n  api: { host: safe.example, env: X, value: { variable: NOT_SET } }\n', 0o600, /NOT_SET is not set[^]*unset\.yaml:2:\d+/],
      ['gone.yaml', 'credentials:\n  api: { host: safe.example, env: X, value: { file: no-such-file } }\n', 0o600, /no-such-file cannot be read[^]*gone\.yaml:2:\d+/],
      ['loose.yaml', 'credentials:\n  api: { host: safe.example, env: X, value: { file: anchor.pem } }\n', 0o600, /anchor\.pem can be read or changed by others[^]*loose\.yaml:2:\d+/],
    ];
    for (const [name, text, mode, words] of cases) {
      const file = secret(join(folder, name), text);
      chmodSync(file, mode);
      await assert.rejects(holdCredentials(file, { now: () => 0, monotonic: () => 0 }, testIds), (error) => {
        assert.ok(error instanceof NemoError, String(error));
        const told = `${error.message} ${error.why ?? ''} ${error.where?.file}:${error.where?.line}:${error.where?.column}`;
        assert.match(told, words, name);
        assert.ok(!JSON.stringify(error).includes(mark), JSON.stringify(error));
        return true;
      });
    }
    secret(join(folder, 'theirs.yaml'), 'credentials: {}', plain);
    for (const [file, words] of [['theirs.yaml', /belongs to somebody else/], ['none.yaml', /none\.yaml cannot be read/], ['.', /is not a file/]] as const) {
      const ran = await start(['run', '--policy', 'policy.yaml', '--credentials', file, '--', '/bin/echo', 'started']);
      assert.deepEqual([ran.code, ran.out], [2, ''], ran.err);
      assert.match(ran.err, words);
    }
  });
});
