/** The pure parts: DNS packets, ClientHello, addresses, targets, JSON keys, secrets, credentials. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { isPublicAddress } from '../upstream/addresses.ts';
import { readAttributes } from '../body/body-attributes.ts';
import { readClientHello } from '../tls/client-hello.ts';
import { insertCredentials, maskCredentials } from '../credentials/credentials.ts';
import { readQuery } from '../dns/dns-packet.ts';
import { DnsResponder } from '../dns/dns-server.ts';
import { hasDuplicateKeys } from '../body/json-keys.ts';
import { KnownSecrets } from '../credentials/known-secrets.ts';
import { readTarget } from '../http/request-target.ts';
import { isSynthetic, SyntheticAddresses } from '../dns/synthetic.ts';
import { askDns, questionFor, TestAudit, testClock, testIds, TestPolicy } from './testing-egress.ts';

function responder(audit = new TestAudit(), perSecond = 1000): { dns: DnsResponder; audit: TestAudit; synthetic: SyntheticAddresses } {
  const policy = new TestPolicy([{ host: 'ok.test', verdict: 'allow' }]);
  const synthetic = new SyntheticAddresses();
  const dns = new DnsResponder({ sandbox: 's', allowed: (name) => policy.nameAllowed(name), explain: (host) => policy.decide({ source: 'dns', resource: { kind: 'host', host, port: 443 } } as never), synthetic, audit, clock: testClock, ids: testIds, perSecond, six: false });
  return { dns, audit, synthetic };
}
const code = (packet: Buffer | undefined): number => (packet?.readUInt16BE(2) ?? 15) & 15;
const answers = (packet: Buffer | undefined): number => packet?.readUInt16BE(6) ?? -1;

test('DNS: an allowed name gets a stable synthetic address with TTL 30, any spelling', () => {
  const { dns, synthetic } = responder();
  const first = dns.answer(questionFor('ok.test'));
  const second = dns.answer(questionFor('OK.TeSt', 1, 9));
  assert.equal(answers(first), 1);
  const address = [...(first ?? Buffer.alloc(0)).subarray(-4)].join('.');
  assert.deepEqual(first?.subarray(-4), second?.subarray(-4));
  assert.equal(first?.readUInt32BE(first.length - 10), 30);
  assert.equal(second?.readUInt16BE(0), 9);
  assert.ok(isSynthetic(address));
  assert.equal(synthetic.nameOf(address), 'ok.test');
});

test('DNS: without IPv6 AAAA is empty, other types refused, other names do not exist, each on record', () => {
  const { dns, audit } = responder();
  assert.deepEqual([code(dns.answer(questionFor('ok.test', 28))), answers(dns.answer(questionFor('ok.test', 28)))], [0, 0]);
  for (const type of [2, 5, 6, 12, 15, 16, 33, 251, 252]) {
    const reply = dns.answer(questionFor('ok.test', type));
    assert.equal(code(reply), 5);
    assert.equal(answers(reply), 0);
  }
  for (const name of ['evil.test', 'sub.ok.test', 'ok.test.evil', 'xok.test', 'test', 'secret-data.evil.test', 'ok\0.test', 'o\u00e9.test']) assert.equal(code(dns.answer(questionFor(name))), 3, name);
  assert.ok(audit.events.length >= 9);
  assert.ok(audit.events.every((event) => event.layer === 'dns' && event.verdict === 'deny'));
  assert.ok(audit.events.some((event) => event.decision?.rules[0]?.id === 'default'));
});

test('DNS: what is malformed gets no answer, and never throws', () => {
  const { dns } = responder();
  const good = questionFor('ok.test');
  for (let end = 0; end < good.length; end += 1) assert.equal(readQuery(good.subarray(0, end)), undefined);
  const response = Buffer.from(good);
  response[2] = 0x81;
  assert.equal(dns.answer(response), undefined);
  const pointer = Buffer.from(good);
  pointer[12] = 0xc0;
  assert.equal(dns.answer(pointer), undefined);
  const two = Buffer.from(good);
  two[5] = 2;
  assert.equal(dns.answer(two), undefined);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => { dns.answer(Buffer.from(bytes)); }), { numRuns: 2000 });
});

test('DNS: more questions than the cap are dropped', () => {
  const { dns } = responder(new TestAudit(), 10);
  const replies = Array.from({ length: 200 }, () => dns.answer(questionFor('ok.test')));
  const given = replies.filter((reply) => reply !== undefined).length;
  assert.ok(given >= 20 && given < 100, String(given));
});

test('DNS: served over UDP', async () => {
  const { dns } = responder();
  await dns.serve({ host: '127.0.0.1', port: 0 });
  try {
    assert.equal(answers(await askDns(questionFor('ok.test'), dns.port)), 1);
  } finally {
    dns.close();
  }
});

test('synthetic addresses run out instead of repeating', () => {
  const pool = new SyntheticAddresses(3);
  const given = ['a', 'b', 'c', 'd'].map((name) => pool.addressOf(name));
  assert.equal(new Set(given.slice(0, 3)).size, 3);
  assert.equal(given[3], undefined);
  assert.equal(pool.addressOf('a'), given[0]);
});

async function hello(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const server = createServer((socket: Socket) => { socket.on('data', (chunk: Buffer) => { chunks.push(chunk); socket.destroy(); }); socket.on('error', () => undefined); });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const client = connectTls({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername: 'some.host.test', ALPNProtocols: ['h2', 'http/1.1'] });
  client.on('error', () => undefined);
  await new Promise<void>((done) => client.once('close', () => done()));
  server.close();
  return Buffer.concat(chunks);
}

test('a ClientHello is read at every cut and in every record size', async () => {
  const whole = await hello();
  const read = readClientHello(whole);
  assert.equal(read.state, 'whole');
  assert.equal(read.state === 'whole' && read.serverName, 'some.host.test');
  assert.deepEqual(read.state === 'whole' && read.protocols, ['h2', 'http/1.1']);
  for (let end = 1; end < whole.length; end += 1) assert.equal(readClientHello(whole.subarray(0, end)).state, 'more');
  const message = whole.subarray(5);
  for (const size of [1, 2, 3, 7, 100]) {
    const records: Buffer[] = [];
    for (let at = 0; at < message.length; at += size) {
      const part = message.subarray(at, at + size);
      records.push(Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 255]), part);
    }
    const split = readClientHello(Buffer.concat(records));
    assert.equal(split.state === 'whole' && split.serverName, 'some.host.test', String(size));
    // Waiting for what is said to be missing never waits too long, and takes few looks.
    const all = Buffer.concat(records);
    let [have, looks] = [1, 0];
    for (let read = readClientHello(all.subarray(0, have)); read.state === 'more'; read = readClientHello(all.subarray(0, have))) {
      have += read.missing;
      looks += 1;
      assert.ok(have <= all.length);
    }
    assert.ok(looks < 80, `${looks} looks`);
  }
  // Else more could be sent without end, and all of it be read again for each piece.
  assert.equal(readClientHello(Buffer.from([0x16, 3, 1, 0, 4, 1, 0, 0, 0])).state, 'bad', 'no ClientHello is empty');
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(whole.length - 1), (noise, at) => {
    const damaged = Buffer.from(whole);
    damaged.set(noise.slice(0, whole.length - at), at);
    readClientHello(damaged);
  }), { numRuns: 2000 });
});

test('only public unicast addresses count as public', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '104.16.0.1', '2606:4700::1111', '2a00:1450:4001:80b::200e']) assert.ok(isPublicAddress(address), address);
  for (const address of [
    '127.0.0.1', '127.1.2.3', '0.0.0.0', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.1.1', '169.254.169.254', '100.64.0.1', '198.18.0.1', '198.19.255.255', '192.0.2.1', '224.0.0.1', '255.255.255.255', '240.0.0.1',
    '168.63.129.16', '::', '::1', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fd00:ec2::254', 'ff02::1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '64:ff9b::7f00:1', '64:ff9b::808:808', '64:ff9b:1::1', '2002:7f00:1::', '2001::1', '2001:db8::1', '100::1', 'localhost', '', '0x7f000001', '0177.0.0.1', '2130706433',
  ]) assert.ok(!isPublicAddress(address), address);
});

test('targets: plain ones stay, ambiguous ones give every reading', () => {
  assert.deepEqual(readTarget('/a/b.c?x=1&y=a%20b+c'), { paths: ['/a/b.c'], query: [['x', '1'], ['y', 'a b c']] });
  assert.deepEqual(readTarget('/@scope%2fname'), { paths: ['/@scope%2Fname', '/@scope/name'], query: [] });
  const semi = readTarget('/a;b/c');
  assert.ok(typeof semi === 'object' && semi.paths.includes('/a/c') && semi.paths.includes('/a;b/c'));
  for (const bad of ['/a/../b', '/%2e%2e/b', '/a%2f..%2fb', '/a%00', '/a%5cb', '/a\\b', '/%zz', '/%', '/a#b', '/\u00e9', '/a%25%32%65', '/a%0a', '/.', '/..', '/a/.', 'a', '', '/a?x=%zz', '/a?\u0001']) assert.equal(typeof readTarget(bad), 'string', bad);
});

test('targets: no reading ever has dot segments, controls or backslashes', () => {
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom('/', '.', '%2e', '%2f', '%5c', '%00', '%25', ';', 'a', '%c3%a9', '%c0', '\\', '//'), maxLength: 12 }), (text) => {
    const read = readTarget(`/${text}`);
    if (typeof read === 'string') return;
    for (const path of read.paths) assert.ok(!/(^|\/)\.{1,2}(\/|$)|[\x00-\x1f\\]/.test(path), path);
  }), { numRuns: 5000 });
});

test('duplicate JSON keys are found, and only those', () => {
  for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"x":{"b":1,"b":2}}', `{"a":1,"a"${' '.repeat(200)}:2}`, '[{"a":1,"a":1}]', '{"a":{"b":1},"a":1}']) assert.ok(hasDuplicateKeys(text), text);
  for (const text of ['{"a":"a","b":"a"}', '{"a":{"a":1}}', '[{"a":1},{"a":2}]', '"a"', '{"a":"\\"a\\":1,"}', '{"a":["b","b"]}']) assert.ok(!hasDuplicateKeys(text), text);
  for (const text of ['{"a":1,"A":2}', '{"x":{"key":1,"\u212aEY":2}}']) assert.ok(hasDuplicateKeys(text), text);
  const keys = fc.dictionary(fc.stringMatching(/^[a-z0-9_]{0,4}$/), fc.oneof(fc.string(), fc.integer(), fc.array(fc.string())));
  fc.assert(fc.property(keys, (value) => { assert.equal(hasDuplicateKeys(JSON.stringify({ value, list: [value, value] })), false); }), { numRuns: 500 });
});

test('bodies: forms, JSON, other, bombs', () => {
  const read = (text: string, type: string): unknown => {
    const result = readAttributes(Buffer.from(text), type);
    return result.state === 'read' ? [...result.attributes] : result.state;
  };
  assert.deepEqual(read('{"__proto__":1,"a":2}', 'application/json'), [['__proto__', 1], ['a', 2]]);
  assert.deepEqual(read('a=1&b=%20', 'application/x-www-form-urlencoded'), [['a', '1'], ['b', ' ']]);
  assert.equal(read('a=1&a=2', 'application/x-www-form-urlencoded'), 'ambiguous');
  assert.equal(read('{"a":', ''), 'ambiguous');
  assert.deepEqual(read('hello', 'text/plain'), []);
  assert.deepEqual(read('{"a":1}', 'text/plain'), [['a', 1]]);
  // What another parser would read otherwise is no ground for a decision, and no identity for an approval.
  assert.equal(read('{"account":12345678901234567891}', 'application/json'), 'ambiguous');
  assert.equal(read('{"amount":5,"AMOUNT":500}', 'application/json'), 'ambiguous');
  assert.equal(read('a=1&A=2', 'application/x-www-form-urlencoded'), 'ambiguous');
  assert.equal(read('{"to":"x@evil.test","y":"&to=us@own.test&"}', 'application/x-www-form-urlencoded'), 'ambiguous');
  assert.equal(read('{"a":1}', 'application/json; charset=ibm037'), 'ambiguous');
  assert.equal(read('{"a":1}', 'application/json; charset=utf-8; charset=utf-7'), 'ambiguous');
  assert.deepEqual(read('{"a":1}', 'application/json; charset=utf-8'), [['a', 1]]);
  assert.equal(readAttributes(Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d]), 'application/json').state, 'ambiguous');
});

test('known secrets are found in any spelling and cut, and nothing else is held back or lost', () => {
  const secret = 'sk-0123456789abcdefXYZ';
  const secrets = new KnownSecrets([secret]);
  fc.assert(fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), fc.array(fc.nat(200), { maxLength: 6 }), fc.constantFrom('plain', 'base64', 'hex', 'percent'), (before, after, cuts, form) => {
    const raw = Buffer.from(before + secret + after);
    const bytes = form === 'base64' ? Buffer.from(raw.toString('base64')) : form === 'hex' ? Buffer.from(raw.toString('hex')) : form === 'percent' ? Buffer.from(`${encodeURIComponent(before.toWellFormed())}${encodeURIComponent(secret)}`) : raw;
    const points = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
    const watch = secrets.watch();
    let out = Buffer.alloc(0);
    let found = false;
    for (let i = 1; i < points.length && !found; i += 1) {
      const passed = watch.next(bytes.subarray(points[i - 1], points[i]));
      if (passed === undefined) found = true;
      else out = Buffer.concat([out, passed]);
    }
    assert.ok(found);
    assert.ok(!secrets.inBytes(out));
  }), { numRuns: 1000 });
  fc.assert(fc.property(fc.array(fc.string({ unit: fc.constantFrom('s', 'k', '-', '0', '1', 'a'), maxLength: 8 })), (chunks) => {
    const watch = secrets.watch();
    const out = chunks.map((chunk) => watch.next(Buffer.from(chunk)) ?? assert.fail('found nothing to find'));
    assert.equal(Buffer.concat([...out, watch.rest()]).toString(), chunks.join(''));
  }));
});

test('a credential is masked wherever its value shows', () => {
  const credential = { placeholder: 'PH', value: 'real-value', host: 'h', header: 'x', pathPrefix: '' };
  assert.equal(maskCredentials('a real-value b real-value', [credential]), 'a PH b PH');
  const headers = ['X', 'PH'];
  assert.equal(insertCredentials(headers, '/', [credential], { host: 'h', port: 443, method: 'GET', bodyHash: undefined, paths: ['/'], confidential: false }).state, 'misplaced');
  assert.equal(insertCredentials(headers, '/', [credential], { host: 'h', port: 443, method: 'GET', bodyHash: undefined, paths: ['/'], confidential: true }).state, 'done');
  assert.deepEqual(headers, ['X', 'real-value']);
});
