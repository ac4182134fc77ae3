/** The resolver's answers: both families, EDNS, reverse names, service bindings, what is malformed, and DNS over TCP through the captured port. */
import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { test } from 'node:test';
import fc from 'fast-check';
import { addressBytes, canonicalAddress, reverseAddress } from './address-bytes.ts';
import { DnsResponder } from './dns-server.ts';
import { isSynthetic, SyntheticAddresses } from './synthetic.ts';
import { openDesk, questionFor, say, TestAudit, testClock, testIds, TestPolicy } from '../testing/testing-egress.ts';

function responder(rules = [{ host: 'ok.test', verdict: 'allow' as const }], clock = testClock): { dns: DnsResponder; audit: TestAudit; synthetic: SyntheticAddresses } {
  const policy = new TestPolicy(rules);
  const audit = new TestAudit();
  const synthetic = new SyntheticAddresses();
  const dns = new DnsResponder({ sandbox: 's', allowed: (name) => policy.nameAllowed(name), explain: (host) => policy.decide({ source: 'dns', resource: { kind: 'host', host, port: 443 } } as never), synthetic, audit, clock, ids: testIds, perSecond: 100_000, six: true });
  return { dns, audit, synthetic };
}

interface Reply {
  readonly code: number;
  readonly answers: number;
  readonly additional: number;
  /** Type and data of the first answer. */
  readonly type: number;
  readonly data: Buffer;
}
function reply(packet: Buffer | undefined, question: Buffer): Reply {
  assert.ok(packet, 'an answer');
  const at = 12 + question.subarray(12).indexOf(Buffer.from([0])) + 5;
  const answers = packet.readUInt16BE(6);
  const size = answers > 0 ? packet.readUInt16BE(at + 10) : 0;
  return { code: packet.readUInt16BE(2) & 15, answers, additional: packet.readUInt16BE(10), type: answers > 0 ? packet.readUInt16BE(at + 2) : 0, data: packet.subarray(at + 12, at + 12 + size) };
}
const edns = (question: Buffer, version = 0, more = Buffer.alloc(0)): Buffer => {
  const packet = Buffer.concat([question, Buffer.from([0, 0, 41, 0x10, 0, 0, version, 0, 0, more.length >> 8, more.length & 255]), more]);
  packet[11] = 1;
  return packet;
};

test('an allowed name has an address in each family, and both lead back to it', () => {
  const { dns, synthetic } = responder();
  const four = reply(dns.answer(questionFor('ok.test', 1)), questionFor('ok.test', 1));
  const six = reply(dns.answer(questionFor('ok.test', 28)), questionFor('ok.test', 28));
  assert.deepEqual([four.type, six.type, four.data.length, six.data.length], [1, 28, 4, 16]);
  assert.deepEqual(six.data.subarray(12), four.data);
  for (const address of ['198.18.0.1', '64:ff9b:1::c612:1', '64:FF9B:1:0:0:0:198.18.0.1']) {
    assert.ok(isSynthetic(address), address);
    assert.equal(synthetic.nameOf(address), 'ok.test', address);
  }
  for (const address of ['64:ff9b:1::c612:2', '64:ff9b:1:1::c612:1']) {
    assert.ok(isSynthetic(address), address);
    assert.equal(synthetic.nameOf(address), undefined, address);
  }
  for (const address of ['64:ff9b::c612:1', '::ffff:198.18.0.1', '2001:db8::1']) assert.ok(!isSynthetic(address), address);
});

test('service bindings are empty, so that no key for an encrypted hello is had; ANY is one address', () => {
  const { dns, audit } = responder();
  for (const type of [64, 65]) {
    const question = questionFor('ok.test', type);
    assert.deepEqual([reply(dns.answer(question), question).code, reply(dns.answer(question), question).answers], [0, 0]);
  }
  const any = questionFor('ok.test', 255);
  assert.deepEqual([reply(dns.answer(any), any).answers, reply(dns.answer(any), any).type], [1, 1]);
  assert.equal(audit.events.length, 0);
  for (const type of [64, 65, 255, 28]) assert.equal(reply(dns.answer(questionFor('evil.test', type)), questionFor('evil.test', type)).code, 3);
});

test('reverse names: ours and loopback, no other', () => {
  const { dns } = responder();
  dns.answer(questionFor('ok.test'));
  const nibbles = (hex: string): string => `${[...hex].toReversed().join('.')}.ip6.arpa`;
  for (const [name, expected] of [
    ['1.0.18.198.in-addr.arpa', 'ok.test'], [nibbles('0064ff9b0001000000000000c6120001'), 'ok.test'], ['1.0.0.127.in-addr.arpa', 'localhost'], [nibbles(`${'0'.repeat(31)}1`), 'localhost'],
  ] as const) {
    const got = reply(dns.answer(questionFor(name, 12)), questionFor(name, 12));
    assert.deepEqual([got.code, got.type, got.data.toString('latin1')], [0, 12, `${expected.split('.').map((label) => String.fromCharCode(label.length) + label).join('')}\0`], name);
  }
  for (const name of ['2.0.18.198.in-addr.arpa', '8.8.8.8.in-addr.arpa', '999.0.18.198.in-addr.arpa', 'x.1.0.18.198.in-addr.arpa', '254.169.254.169.in-addr.arpa', nibbles('20010db8000000000000000000000001')]) assert.equal(reply(dns.answer(questionFor(name, 12)), questionFor(name, 12)).code, 3, name);
});

test('EDNS: answered in kind, other versions and other records refused', () => {
  const { dns } = responder();
  const question = questionFor('ok.test');
  assert.deepEqual([reply(dns.answer(question), question).additional, reply(dns.answer(edns(question)), question).additional], [0, 1]);
  assert.equal(reply(dns.answer(edns(question, 0, Buffer.from([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]))), question).answers, 1, 'a cookie is not ours to answer, and no harm');
  const bad = dns.answer(edns(question, 1));
  assert.equal((reply(bad, question).code | ((bad?.[bad.length - 6] ?? 0) << 4)), 16, 'BADVERS');
  const twice = Buffer.concat([edns(question), edns(question).subarray(question.length)]);
  twice[11] = 2;
  const short = edns(question).subarray(0, -1);
  const signed = edns(question);
  signed[question.length + 2] = 250;
  const named = edns(question);
  named[question.length] = 0xc0;
  for (const packet of [twice, short, signed, named, Buffer.concat([question, Buffer.from('more')])]) assert.equal(reply(dns.answer(packet), question).code, 1);
});

test('names that are no names: addresses, too long, compressed onto themselves', () => {
  const { dns } = responder([{ host: '127.0.0.1', verdict: 'allow' }, { host: '169.254.169.254', verdict: 'allow' }]);
  for (const name of ['127.0.0.1', '169.254.169.254']) assert.equal(reply(dns.answer(questionFor(name)), questionFor(name)).code, 3);
  const label = 'a'.repeat(63);
  assert.ok(dns.answer(questionFor([label, label, label, 'a'.repeat(61)].join('.'))), '255 bytes are a name');
  assert.equal(dns.answer(questionFor([label, label, label, 'a'.repeat(62)].join('.'))), undefined);
  const loop = Buffer.concat([questionFor('x').subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]);
  assert.equal(dns.answer(loop), undefined);
});

test('bytes and mutated questions never throw, and an answer never holds more than was asked about', () => {
  const { dns } = responder();
  const base = edns(questionFor('ok.test', 255));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(base.length), (changes, end) => {
      const packet = Buffer.from(base);
      for (const [at, value] of changes) packet[at] = value;
      const answer = dns.answer(packet.subarray(0, end));
      assert.ok(answer === undefined || (answer.length <= 512 && answer.readUInt16BE(0) === packet.readUInt16BE(0)));
    }),
    { numRuns: 3000, seed: 17 },
  );
});

test('addresses: every spelling to one, and back from reverse names', () => {
  for (const [text, expected] of [
    ['::ffff:10.0.0.1', '10.0.0.1'], ['0:0:0:0:0:ffff:a00:1', '10.0.0.1'], ['2001:DB8:0:0::1', '2001:db8::1'], ['::', '::'], ['1::', '1::'], ['64:ff9b::1.2.3.4', '64:ff9b::102:304'], ['1.2.3.4', '1.2.3.4'],
  ] as const) assert.equal(canonicalAddress(text), expected, text);
  for (const text of ['fe80::1%lo', '1.2.3', '0x7f.1', '01.2.3.4', 'a.b', '', ':::', '1:2']) assert.equal(canonicalAddress(text), undefined, text);
  fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    const text = Buffer.from(bytes).toString('hex').replace(/.{4}(?=.)/g, '$&:');
    assert.deepEqual(addressBytes(text), Buffer.from(bytes));
    const reverse = `${[...Buffer.from(bytes).toString('hex')].toReversed().join('.')}.ip6.arpa`;
    assert.equal(reverseAddress(reverse), canonicalAddress(text));
  }), { numRuns: 500, seed: 17 });
});

test('served over UDP to a client of either family, and over TCP on the captured port 53', async () => {
  const desk = await openDesk({ rules: [{ host: 'ok.test', verdict: 'allow' }], ports: [53], intercepted: ['ok.test'], ipv6: true });
  try {
    const resolver = new Resolver();
    resolver.setServers([`127.0.0.1:${desk.egress.bound().dns}`]);
    assert.deepEqual(await resolver.resolve4('ok.test'), ['198.18.0.1']);
    assert.deepEqual(await resolver.resolve6('ok.test'), ['64:ff9b:1::c612:1']);
    assert.deepEqual(await resolver.reverse('198.18.0.1'), ['ok.test']);
    await assert.rejects(resolver.resolve4('evil.test'), { code: 'ENOTFOUND' });

    const framed = (packet: Buffer): Buffer => Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), packet]);
    const two = Buffer.concat([framed(questionFor('ok.test', 1, 1)), framed(questionFor('evil.test', 1, 2))]);
    const socket = await desk.tcp('ok.test', 53);
    socket.write(two.subarray(0, 20));
    const bytes = Buffer.from(await say(socket, two.subarray(20), (text) => text.length >= 2 + 41 + 2 + 27), 'latin1');
    assert.deepEqual([bytes.readUInt16BE(2), bytes.readUInt16BE(2 + 6), bytes.readUInt16BE(45), bytes.readUInt16BE(47) & 15], [1, 1, 2, 3]);
    assert.equal(await say(await desk.tcp('ok.test', 53), Buffer.from([0x20, 0])), '', 'a message longer than any question ends the connection');
  } finally {
    await desk.close();
  }
});

test('of a flood of names the first go on record one by one, the rest as a number; each is answered', () => {
  let at = 1000;
  const { dns, audit } = responder(undefined, { now: () => at, monotonic: () => at });
  const ask = (from: number): void => {
    for (let i = from; i < from + 1000; i += 1) {
      const question = questionFor(`n${i}.test`, 1);
      assert.equal(reply(dns.answer(question), question).code, 3);
    }
  };
  const counts = (): (readonly [string, number])[] => audit.events.map(({ data }) => [String(data?.name), Number(data?.count)]);
  ask(0);
  assert.deepEqual(counts().slice(199), [['n199.test', 1], ['', 1]]);
  at += 1000;
  ask(1000);
  assert.deepEqual(counts().slice(250), [['n1049.test', 1], ['', 800]]);
});

test('however long a flood lasts and however many names it has, each question counts on record', () => {
  let at = 1000;
  const { dns, audit } = responder(undefined, { now: () => at, monotonic: () => at });
  const ask = (name: string): void => void dns.answer(questionFor(name, 1));
  // Two for each name, as of a program that asks for both kinds of address.
  for (let i = 0; i < 15_000; i += 1) {
    ask(`n${i}.test`);
    ask(`n${i}.test`);
    if (i % 250 === 249) at += 1000;
  }
  const told = audit.events.reduce((sum, { data }) => sum + Number(data?.count), 0);
  // What came since the last number goes on record with the next one: of the last names, and of the last second.
  assert.ok(told <= 30_000 && told >= 30_000 - 1024 - 500, `${told} of 30000`);
});
