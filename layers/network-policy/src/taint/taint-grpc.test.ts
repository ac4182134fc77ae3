/** What a labelled host says in messages of gRPC is known again wherever it leaves; and in messages of gRPC leaves nothing of what was told elsewhere. */
import assert from 'node:assert/strict';
import type { ClientHttp2Session } from 'node:http2';
import { after, before, beforeEach, test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import { compileKnown } from '@nemoclaw/detect';
import { inspectAside } from '../inspect/inspect-aside.ts';
import { openDesk } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import { answerOf, ask, openHttp2Upstream, openSession, refusedCall } from '../testing/testing-http2.ts';
import type { Http2Answer, Http2Upstream } from '../testing/testing-http2.ts';
import { field, framed, number, varint } from '../testing/testing-protobuf.ts';

let upstream: Http2Upstream;
/** What crm.test answers, in these pieces. */
let says: readonly Buffer[] = [];
let encoding = 'identity';
/** It answers so much more, then. */
let later: Promise<Buffer> | undefined;
/** Bodies that came whole, by host. */
let arrived: string[] = [];
let desk: Desk;
const sessions = new Map<string, ClientHttp2Session>();

before(async () => {
  upstream = await openHttp2Upstream((stream, raw) => {
    const host = (raw[raw.indexOf(':authority') + 1] ?? '').split(':')[0] ?? '';
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      // Nor is one that was cut.
      if (stream.rstCode !== 0 || stream.destroyed) return;
      arrived.push(`${host} ${Buffer.concat(parts).toString('latin1')}`);
      stream.respond({ ':status': 200, 'content-type': raw[raw.indexOf('content-type') + 1] ?? '', 'grpc-encoding': encoding }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      for (const piece of host === 'crm.test' ? says : []) stream.write(piece);
      if (host === 'crm.test' && later) void later.then((last) => stream.end(last));
      else stream.end();
    });
  });
});
after(() => upstream.close());
beforeEach(async () => {
  [arrived, says, encoding, later] = [[], [], 'identity', undefined];
});

async function withDesk(use: () => Promise<void>): Promise<void> {
  const hosts = ['crm.test', 'other.test'];
  desk = await openDesk({ rules: hosts.map((host) => ({ host, verdict: 'allow' })), pins: hosts.map((host) => ({ host })), ports: [upstream.port] });
  desk.policy.inspection = { scanForPII: true, actions: { tainted: 'block' } };
  desk.policy.labels = new Map([['crm.test', 'confidential']]);
  for (const host of hosts) sessions.set(host, await openSession(desk, host, upstream.port, false));
  try {
    await use();
  } finally {
    for (const session of sessions.values()) session.destroy();
    await desk.close();
  }
}

const fields = { ':method': 'POST', ':path': '/pkg.Service/Do', 'content-type': 'application/grpc+proto', te: 'trailers' };
const session = (host: string): ClientHttp2Session => sessions.get(host) ?? assert.fail(host);
/** `pieces`: each goes out by itself. */
async function call(host: string, pieces: readonly Buffer[], more: Readonly<Record<string, string>> = {}): Promise<Http2Answer> {
  const stream = session(host).request({ ...fields, ...more }, { endStream: false });
  const answer = answerOf(stream);
  for (const piece of pieces) await new Promise<void>((done) => stream.write(piece, () => done()));
  stream.end();
  return answer;
}
const tell = async (...pieces: readonly Buffer[]): Promise<void> => {
  says = pieces;
  const { trailers, rstCode } = await call('crm.test', [framed('')]);
  assert.equal(trailers['grpc-status'], '0', `${rstCode}`);
};
async function stopped(pieces: readonly Buffer[], more: Readonly<Record<string, string>> = {}, why = ''): Promise<void> {
  const before = desk.audit.events.length;
  arrived = [];
  assert.ok(refusedCall(await call('other.test', pieces, more)), why);
  assert.deepEqual(arrived, [], why);
  assert.equal(desk.audit.events.slice(before).find(({ verdict, decision }) => verdict === 'deny' && decision !== undefined)?.decision?.rules[0]?.id, 'inspection.actions.tainted', why);
  for (const event of desk.audit.events) assert.ok(!JSON.stringify(event).includes('CUST-48'), JSON.stringify(event));
}
const passes = async (pieces: readonly Buffer[]): Promise<void> => {
  const { trailers } = await call('other.test', pieces);
  assert.equal(trailers['grpc-status'], '0');
};

const customer = Buffer.concat([field(1, 'x'.repeat(48)), field(6, 'CUST-48-20931'), field(7, field(8, Buffer.concat([field(6, 'Jörg Müller, Straße'), number(2, 48209317n)]))), field(9, Buffer.concat([varint(77123456n), varint(300n)])), field(10, JSON.stringify({ note: 'ref\n7741-A9-x' }))]);
const leaks: readonly (readonly [string, Buffer])[] = [
  ['a text between fields whose tags are letters', Buffer.concat([field(6, 'CUST-48-20931'), field(6, 'more')])],
  ['a text of a message inside', field(2, field(6, Buffer.concat([field(6, 'see Jörg Müller, Straße'.slice(4)), field(7, 'z')])))],
  ['a whole number', Buffer.concat([number(1, 5n), number(3, 48209317n)])],
  ['packed numbers', field(3, Buffer.concat([varint(77123456n), varint(200n)]))],
  ['a JSON text with escapes', field(6, '{"x":"\\u0043UST-48-20931"}')],
  ['no message at all', Buffer.from([0xff, ...Buffer.from(' CUST-48-20931 '), 0xff])],
];

test('what was told in messages of gRPC does not leave in any, whatever stands beside it, compressed or not, in one piece or in many', () => withDesk(async () => {
  await passes([framed(customer)]);
  await tell(framed(customer));
  for (const [name, message] of leaks) {
    await stopped([framed(message)], {}, name);
    await stopped([framed(gzipSync(message), true)], { 'grpc-encoding': 'gzip' }, name);
    await stopped([framed(deflateSync(message), true)], { 'grpc-encoding': 'deflate' }, name);
    const bytes = Buffer.concat([framed(field(1, 'before')), framed(message)]);
    await stopped(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)), {}, name);
    await stopped([bytes], { 'content-length': String(bytes.length) }, name);
  }
  await passes([framed(Buffer.concat([field(6, 'CUST-48-20932'), number(3, 48209318n)]))]);
}));

test('what was told in messages of gRPC does not leave in JSON, in a path or in a header; what JSON told does not leave in gRPC', () => withDesk(async () => {
  await tell(framed(customer));
  for (const value of ['CUST-48-20931', 'Jörg Müller, Straße', '48209317', '77123456', '7741-A9-x']) {
    const { status, body } = await ask(session('other.test'), { ':method': 'POST', 'content-type': 'application/json' }, JSON.stringify({ value }));
    assert.equal(status, 403, value);
    assert.match(body, /inspection\.actions\.tainted/);
  }
  assert.equal((await ask(session('other.test'), { ':path': '/of/CUST-48-20931' })).status, 403);
  assert.equal((await ask(session('other.test'), { 'x-note': 'CUST-48-20931' })).status, 403);
  says = [Buffer.from('{"other":"VAULT-99-1"}')];
  assert.equal((await ask(session('crm.test'), { ':method': 'POST', 'content-type': 'application/json' }, '{}')).status, 200);
  await stopped([framed(field(6, Buffer.concat([field(6, 'VAULT-99-1'), field(6, 'x')])))]);
}));

test('answers are remembered compressed, in pieces, beside others, cut and unreadable: before any of it goes on', async () => {
  const whole = framed(customer);
  const shapes: readonly (readonly [string, readonly Buffer[], string])[] = [
    ['gzip', [framed(gzipSync(customer), true)], 'gzip'],
    ['deflate', [framed(deflateSync(customer), true)], 'deflate'],
    ['byte by byte', Array.from(whole, (_, i) => whole.subarray(i, i + 1)), 'identity'],
    ['behind others', [framed(field(1, 'first')), framed(''), whole, framed(field(1, 'last'))], 'identity'],
    ['text, and no message', [framed('{"no":"CUST-48-20931"}')], 'identity'],
    ['bytes, and no message', [framed(Buffer.from([0xff, ...Buffer.from(' CUST-48-20931 '), 0xff]))], 'identity'],
    // Larger than what is held: as text, piece by piece.
    ['a large one', [framed(Buffer.concat([field(1, Buffer.alloc(2 << 20)), field(1, ' CUST-48-20931\n'), field(1, Buffer.alloc(1 << 20))]))], 'identity'],
  ];
  for (const [name, pieces, how] of shapes) {
    await withDesk(async () => {
      encoding = how;
      await tell(...pieces);
      encoding = 'identity';
      await stopped([framed(field(6, Buffer.concat([field(6, 'CUST-48-20931'), field(6, 'x')])))], {}, name);
    });
  }
});

test('what cannot be undone is not delivered, with a status that says so: an encoding that nobody knows or that is none, a bomb, bytes behind the end, one that is too large', () => withDesk(async () => {
  const bomb = gzipSync(Buffer.alloc(900_000));
  for (const [bytes, how] of [[Buffer.alloc(7 << 20, 'x'), 'gzip'], [customer, 'snappy'], [customer, 'identity'], [gzipSync(customer), 'identity'], [gzipSync(customer), 'identity, gzip'], [bomb, 'gzip'], [Buffer.concat([gzipSync('x'), customer]), 'gzip']] as const) {
    says = [framed(bytes, true)];
    encoding = how;
    const answer = await call('crm.test', [framed('')]);
    assert.ok(refusedCall(answer) && !answer.body.includes('CUST'), how);
    // Nor does it leave so.
    arrived = [];
    assert.ok(refusedCall(await call('other.test', [framed(bytes, true)], { 'grpc-encoding': how })), how);
    assert.deepEqual(arrived, [], how);
  }
}));

/** Some 900 KB with thousands of values, which others of another name do not have. */
const long = (name: string): Buffer => framed(Buffer.concat(Array.from({ length: 12_000 }, (_, i) => field(1, Buffer.concat([number(1, BigInt(1_000_000 * name.length + i)), field(2, `${name}-${i}-20931`), field(3, `${name}${i}@example.com`), field(4, 'some more')])))));
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((next) => setTimeout(next, 2));
};
/** All of it that was sent, all but its last byte: room is taken for the whole of it when it begins. */
const allHeld = async (message: Buffer): Promise<void> => {
  await until(() => desk.egress.stats().buffered === message.length - 5);
  await new Promise((arrived) => setTimeout(arrived, 200));
};

test('while a long message is taken apart, in either direction, the others are answered; what it says is known before it goes on', { timeout: 120_000 }, () => withDesk(async () => {
  const message = long('CUST-48');
  let send: (last: Buffer) => void = () => undefined;
  later = new Promise((done) => { send = done; });
  says = [message.subarray(0, -1)];
  const order: string[] = [];
  const download = session('crm.test').request(fields, { endStream: false });
  const large = answerOf(download);
  download.once('data', () => order.push('large'));
  download.end(framed(''));
  await allHeld(message);
  send(message.subarray(-1));
  await passes([framed('ping')]);
  order.push('ping');
  assert.equal((await large).trailers['grpc-status'], '0');
  assert.deepEqual(order.splice(0), ['ping', 'large']);
  await stopped([framed(field(6, 'CUST-48-11999-20931'))]);
  await stopped([Buffer.concat([long('other'), framed(field(6, 'CUST-48-11999-20931'))])]);
  await stopped([framed(Buffer.concat([long('other').subarray(5), field(6, 'CUST-48-11999-20931'), field(6, 'x')]))]);

  const sent = long('other');
  const stream = session('other.test').request(fields, { endStream: false });
  const uploaded = answerOf(stream).then((answer) => {
    order.push('large');
    return answer;
  });
  stream.write(sent.subarray(0, -1));
  await allHeld(sent);
  stream.end(Buffer.concat([sent.subarray(-1), framed('and one behind it')]));
  await passes([framed('ping')]);
  order.push('ping');
  assert.equal((await uploaded).trailers['grpc-status'], '0');
  assert.deepEqual(order, ['ping', 'large']);
  assert.ok(arrived.includes(`other.test ${Buffer.concat([sent, framed('and one behind it')]).toString('latin1')}`));
}));

test('a long message that cannot be taken apart is not delivered, with a status that says so', { timeout: 120_000 }, () => withDesk(async () => {
  const message = long('CUST-48');
  let send: (last: Buffer) => void = () => undefined;
  later = new Promise((done) => { send = done; });
  says = [message.subarray(0, -1)];
  const answer = call('crm.test', [framed('')]);
  await allHeld(message);
  const examined = (sandbox: string, bytes: Buffer): unknown => inspectAside(sandbox, { bytes, contentType: '', known: compileKnown([]), settings: { scanForPII: true } });
  // As much as may wait of this sandbox waits, behind some of others.
  const others = [...['a', 'b', 'c'].map((name) => examined(name, message)), examined('sbx_test', Buffer.alloc(32 << 20))];
  send(message.subarray(-1));
  const refused = await answer;
  assert.ok(refusedCall(refused) && refused.body === '', JSON.stringify(refused.trailers));
  assert.match(String(refused.trailers['grpc-message']), /networkPolicy\.labels/);
  await Promise.all(others);
}));
