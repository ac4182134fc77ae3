/** gRPC through a whole egress: both directions at once, statuses after the body, denials in its own words, messages looked at one by one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { after, before, test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { refusal } from '../core.ts';
import { framesOnly, grpcDenial, isGrpc, perMessage } from './grpc.ts';
import { Stopped } from '../hooks.ts';
import type { ByteTransform } from '../hooks.ts';
import { KnownSecrets } from '../credentials/known-secrets.ts';
import { openDesk } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import { answerOf, openHttp2Upstream, openSession, refusedCall } from '../testing/testing-http2.ts';
import type { Http2Upstream } from '../testing/testing-http2.ts';
import { field, framed, number } from '../testing/testing-protobuf.ts';

const secret = 'sk-real-0123456789abcdef';
let upstream: Http2Upstream;
let desk: Desk;
let session: ClientHttp2Session;
/** What the upstream says in place of an echo. */
let lie: Buffer | undefined;
let answered: Readonly<Record<string, string>> = {};
let seen: { path: string; te: string; whole: boolean }[] = [];

before(async () => {
  upstream = await openHttp2Upstream((stream, raw) => {
    const field = (name: string): string => raw[raw.indexOf(name) + 1] ?? '';
    const call = { path: field(':path'), te: raw.includes('te') ? field('te') : '', whole: false };
    seen.push(call);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...answered }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': 'fine' }));
    stream.on('data', (chunk: Buffer) => stream.write(lie ?? chunk));
    stream.on('end', () => {
      call.whole = stream.rstCode === constants.NGHTTP2_NO_ERROR;
      stream.end();
    });
  }, 'grpc.test');
  desk = await openDesk({
    rules: [{ host: 'grpc.test', verdict: 'deny', path: '/pkg.Service/Drop' }, { host: 'grpc.test', verdict: 'allow', methods: ['POST'] }],
    pins: [{ host: 'grpc.test', caPem: upstream.caPem }],
    ports: [upstream.port],
    credentials: [{ placeholder: 'nemo-placeholder-42', value: secret, host: 'grpc.test', header: 'authorization', pathPrefix: '' }],
  });
  session = await openSession(desk, 'grpc.test', upstream.port);
});
after(async () => {
  session.destroy();
  await desk.close();
  await upstream.close();
});

const call = (method: string, more: Readonly<Record<string, string>> = {}): ClientHttp2Stream =>
  session.request({ ':method': 'POST', ':path': `/pkg.Service/${method}`, 'content-type': 'application/grpc+proto', te: 'trailers', ...more }, { endStream: false });

test('a call streams both ways message by message; its status comes after the body', async () => {
  seen = [];
  const stream = call('Chat');
  const answer = answerOf(stream);
  await once(stream, 'response');
  // The last bytes of each could begin a secret: they must not wait for the next message.
  for (const text of ['one s', 'two sk', 'three sk-real-']) {
    const back = new Promise<string>((done) => {
      let got = '';
      stream.on('data', function take(chunk: Buffer) {
        got += chunk.toString('latin1');
        if (got.length < text.length + 5) return;
        stream.off('data', take);
        done(got.slice(5));
      });
    });
    stream.write(framed(text));
    assert.equal(await back, text);
  }
  stream.end();
  const { status, trailers } = await answer;
  assert.equal(status, 200);
  assert.equal(trailers['grpc-status'], '0');
  assert.deepEqual(seen, [{ path: '/pkg.Service/Chat', te: 'trailers', whole: true }]);
});

test('a denial is status 7 in a head that is all there is', async () => {
  seen = [];
  const stream = call('Drop');
  stream.on('error', () => undefined);
  const closed = new Promise<void>((done) => stream.once('close', done));
  const [headers, flags] = (await once(stream, 'response')) as [Record<string, string>, number];
  assert.equal(headers['grpc-status'], '7');
  assert.match(decodeURIComponent(headers['grpc-message'] ?? ''), /the test policy says deny \(rule rules\[0\]\) ask the operator/);
  assert.equal(headers['x-nemoclaw-rule'], 'rules[0]');
  assert.equal(headers['content-type'], 'application/grpc');
  assert.notEqual(flags & constants.NGHTTP2_FLAG_END_STREAM, 0);
  stream.resume();
  await closed;
  assert.deepEqual(seen, []);
});

test('a secret is stopped in a message, plain or compressed; what cannot be undone is refused', async () => {
  for (const [bytes, encoding] of [[framed(`x${secret}`), ''], [framed(gzipSync(`x${secret}`), true), 'gzip'], [framed(deflateSync(`x${secret}`), true), 'deflate'], [framed('x', true), 'snappy'], [framed(gzipSync(`x${secret}`), true), ''], [framed(gzipSync('harmless'), true), 'identity']] as const) {
    seen = [];
    const stream = call('Send', encoding === '' ? {} : { 'grpc-encoding': encoding });
    const answer = answerOf(stream);
    stream.end(bytes);
    // The head of the answer may have come back already: then the status stands behind it.
    assert.ok(refusedCall(await answer), encoding);
    assert.ok(seen.every(({ whole }) => !whole), encoding);
  }
  answered = { 'grpc-encoding': 'gzip' };
  const fine = call('Send', { 'grpc-encoding': 'gzip' });
  const answer = answerOf(fine);
  fine.end(framed(gzipSync('harmless'), true));
  assert.equal((await answer).trailers['grpc-status'], '0');
  answered = {};
});

test('a message is read as its readers do, one layer of encoding deep; a number that nothing names is no card', async () => {
  const card = '4111 1111 1111 1111';
  const type = { 'content-type': 'application/connect+json' };
  for (const [bytes, more] of [
    [framed(field(1, Buffer.from(card).toString('base64'))), {}],
    [framed(field(1, field(2, `take ${[...card].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('')}`))), {}],
    [framed(gzipSync(field(1, Buffer.from(card).toString('base64'))), true), { 'grpc-encoding': 'gzip' }],
    [framed(field(1, [...card].map((c) => `&#${c.charCodeAt(0)};`).join(''))), {}],
    // The tag and the length before it are digits.
    [framed(field(6, `4111111111111111 ${'and on'.repeat(5)} `)), {}],
    [framed(`{"a":"${[...card].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join('')}"}`), type],
    [framed(JSON.stringify({ a: Buffer.from(card).toString('base64') })), type],
    [framed(Buffer.concat([field(1, 'x'.repeat(20_000)), field(2, Buffer.from(card).toString('base64'))])), {}],
  ] as const) {
    seen = [];
    const stream = call('Send', more);
    const answer = answerOf(stream);
    stream.end(bytes);
    const said = await answer;
    assert.ok(said.status === 403 || refusedCall(said), bytes.toString('latin1').slice(0, 80));
    assert.ok(seen.every(({ whole }) => !whole));
  }
  const fine = call('Send');
  const answer = answerOf(fine);
  fine.end(framed(Buffer.concat([number(1, 4_111_111_111_111_111n), field(2, 'an order')])));
  assert.equal((await answer).trailers['grpc-status'], '0');
});

test('messages of gRPC-Web and of streams of Connect are looked at in the same way; what lies around all of them is not let out', async () => {
  const hidden = framed(gzipSync(`x${secret}`), true);
  for (const scan of [true, false]) for (const [type, bytes, more] of [
    ['application/grpc+my_codec', hidden, { 'grpc-encoding': 'gzip' }],
    ['application/grpc-webtext', hidden, { 'grpc-encoding': 'gzip' }],
    ['application/connect+my_codec', hidden, { 'connect-content-encoding': 'gzip' }],
    ['application/connect+proto', gzipSync(hidden), { 'connect-content-encoding': 'gzip', 'content-encoding': 'gzip' }],
    ['application/grpc-web+proto', framed(`x${secret}`), {}],
    ['application/grpc-web', hidden, { 'grpc-encoding': 'gzip' }],
    ['application/grpc-web', hidden, {}],
    ['application/connect+proto', hidden, { 'connect-content-encoding': 'gzip' }],
    ['application/connect+json; charset=utf-8', hidden, { 'connect-content-encoding': 'gzip', 'content-length': String(hidden.length) }],
    ['application/connect+json', hidden, { 'grpc-encoding': 'gzip' }],
    ['application/grpc-web-text+proto', Buffer.from(hidden.toString('base64')), { 'grpc-encoding': 'gzip' }],
  ] as const) {
    seen = [];
    desk.policy.scan = scan;
    const stream = call('Send', { 'content-type': type, ...more });
    const answer = answerOf(stream);
    stream.end(bytes);
    const said = await answer;
    assert.ok(said.status === 403 || said.rstCode !== 0 || refusedCall(said), type);
    assert.ok(seen.every(({ whole }) => !whole), type);
  }
  desk.policy.scan = true;
  answered = { 'content-type': 'application/connect+proto', 'connect-content-encoding': 'gzip' };
  const back = call('Send', { 'content-type': 'application/connect+proto' });
  const denied = answerOf(back);
  back.end(framed('hello'));
  assert.match((await denied).body, /"rule":"proxy\.answer-encoding"/, 'a credential could come back in it');
  answered = {};
  const fine = call('Send', { 'content-type': 'application/connect+json', 'connect-content-encoding': 'gzip' });
  const answer = answerOf(fine);
  fine.end(Buffer.concat([framed(gzipSync('{"a":1}'), true), framed('{"b":2}')]));
  assert.deepEqual([(await answer).status, seen.at(-1)?.whole], [200, true]);
});

test('where nothing of a body is looked at, gRPC-Web and Connect pass as they are', async () => {
  const open = await openDesk({ rules: [{ host: 'grpc.test', verdict: 'allow' }], pins: [{ host: 'grpc.test', caPem: upstream.caPem }], ports: [upstream.port] });
  open.policy.scan = false;
  const own = await openSession(open, 'grpc.test', upstream.port);
  try {
    for (const [type, bytes] of [['application/grpc-web-text', Buffer.from('AAAA')], ['application/connect+proto', framed('x', true)], ['application/grpc-web', Buffer.from([0x80, 0, 0])]] as const) {
      seen = [];
      const stream = own.request({ ':method': 'POST', ':path': '/pkg.Service/Send', 'content-type': type }, { endStream: false });
      const answer = answerOf(stream);
      stream.end(bytes);
      assert.deepEqual([(await answer).status, seen.at(-1)?.whole], [200, true], type);
    }
  } finally {
    own.destroy();
    await open.close();
  }
});

test('a call that gives its length is looked at message by message too', async () => {
  for (const [bytes, encoding] of [[framed(`x${secret}`), 'identity'], [framed(gzipSync(`x${secret}`), true), 'gzip']] as const) {
    seen = [];
    const stream = call('Send', { 'grpc-encoding': encoding, 'content-length': String(bytes.length) });
    const answer = answerOf(stream);
    stream.end(bytes);
    assert.ok(refusedCall(await answer), encoding);
    assert.ok(seen.every(({ whole }) => !whole), encoding);
  }
});

test('two names of an encoding are none that is known: a server could take either', async () => {
  seen = [];
  const bytes = framed(gzipSync(`x${secret}`), true);
  const stream = session.request([':method', 'POST', ':path', '/pkg.Service/Send', ':scheme', 'https', ':authority', `grpc.test:${upstream.port}`, 'content-type', 'application/grpc', 'te', 'trailers', 'grpc-encoding', 'identity', 'grpc-encoding', 'gzip'], { endStream: false });
  const answer = answerOf(stream);
  stream.end(bytes);
  assert.ok(refusedCall(await answer));
  assert.ok(seen.every(({ whole }) => !whole));
});

test('messages that are held count among all that their sandbox has held; beyond that they are refused', async () => {
  const size = 100_000;
  const begun = Buffer.alloc(size);
  begun[0] = 1;
  begun.writeUInt32BE(size, 1);
  const small = await openDesk({ rules: [{ host: 'grpc.test', verdict: 'allow' }], pins: [{ host: 'grpc.test', caPem: upstream.caPem }], ports: [upstream.port], limits: { bufferedBytes: 350_000 } });
  const own = await openSession(small, 'grpc.test', upstream.port);
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((next) => setTimeout(next, 5));
  };
  const streams = [];
  for (let i = 1; i <= 3; i += 1) {
    const stream = own.request({ ':method': 'POST', ':path': '/pkg.Service/Hold', 'content-type': 'application/grpc', 'grpc-encoding': 'gzip', te: 'trailers' }, { endStream: false });
    stream.on('error', () => undefined);
    stream.write(begun);
    streams.push(stream);
    await until(() => small.egress.stats().buffered === i * size);
  }
  const more = own.request({ ':method': 'POST', ':path': '/pkg.Service/Hold', 'content-type': 'application/grpc', 'grpc-encoding': 'gzip', te: 'trailers' }, { endStream: false });
  const answer = answerOf(more);
  more.write(begun);
  assert.ok(refusedCall(await answer));
  await until(() => small.egress.stats().buffered === 3 * size);
  for (const stream of streams) stream.close();
  await until(() => small.egress.stats().buffered === 0);
  own.destroy();
  await small.close();
});

test('where nothing is searched the framing is checked all the same, both ways', async () => {
  const open = await openDesk({ rules: [{ host: 'grpc.test', verdict: 'allow' }], pins: [{ host: 'grpc.test', caPem: upstream.caPem }], ports: [upstream.port] });
  open.policy.inspection = { scanForPII: false };
  const own = await openSession(open, 'grpc.test', upstream.port);
  const send = async (method: string, body: Buffer): Promise<Awaited<ReturnType<typeof answerOf>>> => {
    const stream = own.request({ ':method': 'POST', ':path': `/pkg.Service/${method}`, 'content-type': 'application/grpc', te: 'trailers' }, { endStream: false });
    const answer = answerOf(stream);
    stream.end(body);
    return answer;
  };
  const fine = await send('Fine', Buffer.concat([framed('one'), framed(''), framed('?', true)]));
  assert.equal(fine.trailers['grpc-status'], '0');
  assert.equal(fine.body, `${framed('one').toString('latin1')}${framed('').toString('latin1')}${framed('?', true).toString('latin1')}`);
  for (const [what, body] of [['flag', Buffer.from([2, 0, 0, 0, 0])], ['cut', framed('one').subarray(0, 6)], ['trailing', Buffer.concat([framed('one'), Buffer.from([0, 0])])]] as const) {
    seen = [];
    assert.ok(refusedCall(await send('Bad', body)), what);
    assert.ok(seen.every(({ whole }) => !whole), what);
  }
  const before = open.audit.events.length;
  // The upstream cuts its answer: the first byte of a message, and no more.
  lie = Buffer.from([0]);
  const cut = await send('Lie', framed('one'));
  lie = undefined;
  assert.ok(refusedCall(cut));
  assert.ok(open.audit.events.slice(before).some(({ verdict, message }) => verdict === 'deny' && message.includes('gRPC message is cut')));
  own.destroy();
  await open.close();
});

test('messages of an answer are searched one by one, compressed or not; behind one that is blocked nothing comes', async () => {
  desk.policy.inspection = { scanForPII: true, responses: { actions: { 'credit-card': 'block' } } };
  for (const [bytes, encoding] of [[framed('pan 4111 1111 1111 1111'), 'identity'], [framed(gzipSync('pan 4111 1111 1111 1111'), true), 'gzip']] as const) {
    const mark = desk.audit.events.length;
    lie = Buffer.concat([framed('first'), bytes, framed('last')]);
    answered = { 'grpc-encoding': encoding };
    const stream = call('Read', { 'grpc-accept-encoding': 'gzip' });
    const answer = answerOf(stream);
    stream.end(framed('give'));
    const refused = await answer;
    const { body } = refused;
    lie = undefined;
    answered = {};
    assert.ok(refusedCall(refused) && !body.includes('4111') && !body.includes('last'), encoding);
    assert.ok(desk.audit.events.slice(mark).some(({ verdict, data }) => verdict === 'deny' && data?.['way'] === 'answer'), encoding);
  }
  lie = Buffer.concat([framed('first'), framed('')]);
  const fine = call('Read');
  const answer = answerOf(fine);
  fine.end(framed('give'));
  assert.equal((await answer).trailers['grpc-status'], '0');
  lie = undefined;
  desk.policy.inspection = undefined;
});

test('the framing alone: bytes pass unchanged until they break it, whatever the cuts', () => {
  const refuse = (why: string): ReturnType<typeof refusal> => refusal(1, 'proxy.grpc', why, '');
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 9 }), fc.integer({ min: 0, max: 12 }), (messages, cuts, missing) => {
    const whole = Buffer.concat(messages.map((one) => framed(Buffer.from(one))));
    const bytes = whole.subarray(0, Math.max(0, whole.length - missing));
    const frames = framesOnly(refuse);
    for (let at = 0, i = 0; at < bytes.length; i += 1) {
      const piece = bytes.subarray(at, at + (cuts[i % cuts.length] ?? 1));
      assert.equal(frames.next(piece), piece);
      at += piece.length;
    }
    let end = 0;
    const ends = [0, ...messages.map((one) => (end += one.length + 5))];
    if (ends.includes(bytes.length)) assert.equal(frames.end().length, 0);
    else assert.throws(() => frames.end(), Stopped);
  }), { seed: 5, numRuns: 300 });
  assert.throws(() => framesOnly(refuse).next(Buffer.from([0, 0, 0, 0, 1, 7, 3])), Stopped);
});

test('statuses and words of denials', () => {
  const fields = grpcDenial(429, { rule: 'rules[1]', reason: 'zu viel: 100 %\n', hint: 'später' });
  assert.deepEqual(fields, ['content-type', 'application/grpc', 'grpc-status', '8', 'grpc-message', 'zu viel: 100 %25%0A (rule rules[1]) sp%C3%A4ter']);
  for (const yes of ['application/grpc', 'application/grpc+proto', 'Application/gRPC+json; charset=utf-8']) assert.ok(isGrpc(yes), yes);
  for (const no of ['application/grpc-web', 'application/grpc-web+proto', 'text/application/grpc', '']) assert.ok(!isGrpc(no), no);
});

test('message framing: the same bytes whatever the cuts, all of a message out at its end', () => {
  const refuse = (why: string): ReturnType<typeof refusal> => refusal(1, 'proxy.grpc', why, '');
  const secrets = new KnownSecrets([secret]);
  const open = (): ByteTransform => {
    const watch = secrets.watch();
    return { next: (chunk) => watch.next(chunk) ?? assert.fail('no secret is in here'), end: () => watch.rest() };
  };
  const text = fc.oneof(fc.string({ maxLength: 60 }), fc.integer({ min: 1, max: secret.length - 1 }).map((n) => secret.slice(0, n)));
  fc.assert(fc.property(fc.boolean(), fc.array(fc.tuple(text, fc.boolean()), { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 9 }), (rewrites, messages, cuts) => {
    const frames = messages.map(([said, zip]) => (zip ? framed(gzipSync(said), true) : framed(said)));
    const bytes = Buffer.concat(frames);
    const ends = frames.reduce<number[]>((all, frame) => [...all, (all.at(-1) ?? 0) + frame.length], []);
    const transform = perMessage({ open, encoding: 'gzip', limit: 10_000, refusal: refuse, rewrites, keep: () => true });
    let out = Buffer.alloc(0);
    for (let at = 0, i = 0; at < bytes.length; i += 1) {
      const size = cuts[i % cuts.length] ?? 1;
      const passed = transform.next(bytes.subarray(at, at + size));
      assert.ok(Buffer.isBuffer(passed));
      out = Buffer.concat([out, passed]);
      at = Math.min(bytes.length, at + size);
      const due = ends.findLast((end) => end <= at) ?? 0;
      assert.ok(out.length >= due);
    }
    assert.ok(out.equals(bytes));
    assert.equal(transform.end().length, 0);
  }), { seed: 11, numRuns: 300 });
  assert.throws(() => perMessage({ open, encoding: '', limit: 10, refusal: refuse, rewrites: false, keep: () => true }).next(Buffer.from([2, 0, 0, 0, 0])), Stopped);
  const masked = perMessage({ open: () => ({ next: (chunk) => Buffer.from(chunk.toString().replace('abc', '***!')), end: () => Buffer.alloc(0) }), encoding: 'gzip', limit: 100, refusal: refuse, rewrites: true, keep: () => true });
  assert.deepEqual(masked.next(Buffer.concat([framed('xabcy'), framed(gzipSync('abc'), true), framed('other')])), Buffer.concat([framed('x***!y'), framed('***!'), framed('other')]));
  const cut = perMessage({ open, encoding: '', limit: 10, refusal: refuse, rewrites: false, keep: () => true });
  cut.next(Buffer.from([0, 0, 0]));
  assert.throws(() => cut.end(), Stopped);
});
