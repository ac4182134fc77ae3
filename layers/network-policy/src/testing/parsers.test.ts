/** Every parser of ours that reads bytes of a stranger, fed with a corpus and its mutations: only its own refusals, the same however the bytes are cut, and what was read is read again from what is written. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { addressBytes, canonicalAddress } from '../dns/address-bytes.ts';
import { readClientHello } from '../tls/client-hello.ts';
import type { Core } from '../core.ts';
import { elements, integer, octets, oid, sequence, utf8 } from '../tls/der.ts';
import { readQuery, writeAnswer } from '../dns/dns-packet.ts';
import { serveDnsStream } from '../dns/dns-stream.ts';
import { readToken } from '../credentials/access-token.ts';
import { readAbsolute, readAuthority } from '../doors/target.ts';
import { readGreeting, readRequest } from '../doors/socks5.ts';
import { readHttp2Head } from '../http/http2-head.ts';
import { HmacCheck } from '../ingress/hmac.ts';
import { checkJwt } from '../ingress/jwt.ts';
import { base64Runs, foldForms, undoPercent, undoReferences } from '../inspect/encoded-runs.ts';
import { viewJson } from '../inspect/json-view.ts';
import { readMultipart } from '../inspect/multipart.ts';
import { undoEncodings } from '../inspect/undo-encodings.ts';
import { ByteReader, ReadEnded } from '../protocols/byte-reader.ts';
import { readGraphqlRequest } from '../protocols/graphql-request.ts';
import { readJsonRpc } from '../protocols/json-rpc.ts';
import { readMcpRequest } from '../protocols/mcp.ts';
import { MessageEnds, PostgresWatch } from '../protocols/postgres-watch.ts';
import { readStartup, writeMessage, writeStartup } from '../protocols/postgres-words.ts';
import { readRespCommand, ReplyCounter, RespProblem, writeRespCommand } from '../protocols/resp.ts';
import { readMessage } from '../protocols/smtp-message.ts';
import { readCommand, readPath, ReplyReader, stuffed, writeReply } from '../protocols/smtp-words.ts';
import { readStrictJson } from '../protocols/strict-json.ts';
import { checkRequest, isProblem } from '../http/request-check.ts';
import { readTarget } from '../http/request-target.ts';
import { readClaim, signAnew } from '../credentials/sigv4.ts';
import { questionFor, testClock } from './testing-egress.ts';
import { bytesOf, changed, cut, telling } from './testing-mutations.ts';
import { safeTrailers } from '../http/trailers.ts';
import { FrameError, FrameReader, writeClose, writeFrame } from '../websocket/websocket-frames.ts';

const numRuns = 400;
/** One message of the corpus with up to six changes. */
function mutated(corpus: readonly (string | Buffer)[]): fc.Arbitrary<Buffer> {
  const change = fc.record({ at: fc.nat(400), byte: fc.oneof(fc.nat(255), fc.constantFrom(...telling)), way: fc.nat(5), size: fc.nat(30) });
  return fc.tuple(fc.constantFrom(...corpus), fc.array(change, { maxLength: 6 })).map(([seed, changes]) => changed(seed, changes));
}
const cuts = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 12 });

/** Reads until nothing is left, in the given pieces: what was read, and how it ended. */
async function readAll<T>(pieces: readonly Buffer[], read: (reader: ByteReader) => Promise<T>): Promise<unknown> {
  const stream = new PassThrough({ highWaterMark: 1 << 20 });
  const reader = new ByteReader(stream as unknown as Socket, 60_000);
  const out: unknown[] = [];
  for (const piece of pieces) stream.write(piece);
  stream.end();
  try {
    while (await reader.anything()) out.push(await read(reader));
    return [out, 'end'];
  } catch (error) {
    if (!(error instanceof ReadEnded) && !(error instanceof RespProblem)) throw error;
    return [out, error.constructor.name];
  } finally {
    reader.detach();
    stream.destroy();
  }
}

test('heads of HTTP/1.1 and HTTP/2: what is accepted is accepted again as it is written, and has no line break in it', () => {
  const place = { name: 'same.test', port: 80, tls: false };
  const heads = ['GET /a/b?x=1 HTTP/1.1\nHost: same.test\nX-A: b\nCookie: a=b', 'POST http://SAME.test:80/x;y HTTP/1.1\nHost: same.test:80\nContent-Length: 3\nContent-Type: text/plain', 'PUT /%7Eu HTTP/1.1\nhost: Same.Test\nTransfer-Encoding: chunked\nConnection: close, te\nTE: trailers\nForwarded: host=same.test'];
  fc.assert(fc.property(mutated(heads), fc.boolean(), (bytes, two) => {
    const [line = '', ...fields] = bytes.toString('latin1').split('\n');
    const [method, url] = line.split(' ');
    const raw = fields.flatMap((field) => [field.split(':')[0] ?? '', field.slice(field.indexOf(':') + 1).trim()]);
    const incoming = two ? readHttp2Head([':method', method ?? '', ':scheme', 'http', ':authority', 'same.test', ':path', url ?? '', ...raw.map((one, i) => (i % 2 === 0 ? one.toLowerCase() : one))], false, place) : { method, url, rawHeaders: raw };
    if ('code' in incoming) return;
    // Over HTTP/1.1 Node's parser has seen to methods, names and values before.
    if (!two && (/[^\t\x20-\x7e\x80-\xff]/.test(raw.join('')) || !/^[A-Z]+$/.test(method ?? ''))) return;
    const checked = checkRequest(incoming, place);
    if (isProblem(checked)) return;
    assert.doesNotMatch([checked.method, checked.target, ...checked.headers].join(''), /[\r\n\0]/);
    assert.ok(checked.headers.every((one, i) => i % 2 === 1 || !/^(?:host|connection|transfer-encoding|te|trailer|upgrade|keep-alive|proxy-.*)$/i.test(one)));
    const again = checkRequest({ method: checked.method, url: checked.target, rawHeaders: ['host', 'same.test', ...checked.headers], ...(two ? { streamed: true } : checked.length === undefined && checked.hasBody ? { streamed: true } : {}) }, place);
    assert.deepEqual(again, checked);
  }), { numRuns: numRuns * 3 });
});

test('targets and addresses: one spelling, which is its own', () => {
  fc.assert(fc.property(mutated(['/a/b%20c?x=1&y=%7E', '/@s%2fn;v=1/..x', '/%E2%82%AC/+', '//x///y']), (bytes) => {
    const read = readTarget(bytes.toString('latin1'));
    if (typeof read === 'string') return;
    for (const path of read.paths) assert.doesNotMatch(path, /(^|\/)\.{1,2}(\/|$)|[\x00-\x1f\\]/);
  }), { numRuns });
  fc.assert(fc.property(fc.oneof(mutated(['a.test:80', '[::1]:443', '[2001:db8::1]:1', 'xn--a.test:65535', '1.2.3.4:5', 'A_b.test:8']).map((bytes) => bytes.toString('latin1')), fc.domain().map((name) => `${name}:80`)), (text) => {
    const read = readAuthority(text);
    if (read) assert.deepEqual(readAuthority(`${read.name.includes(':') ? `[${read.name}]` : read.name}:${read.port}`), read);
    const whole = readAbsolute(`http://${text}/x`);
    if (whole) assert.deepEqual([whole.name, whole.port, whole.rest], [read?.name ?? whole.name, read?.port ?? whole.port, whole.rest]);
  }), { numRuns });
  fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4().map((four) => `::ffff:${four}`)), (address) => {
    const one = canonicalAddress(address) ?? assert.fail(address);
    assert.equal(canonicalAddress(one), one);
    assert.ok([4, 16].includes(addressBytes(one)?.length ?? 0));
  }), { numRuns });
});

test('SOCKS5, ClientHello and DNS: whole only once, whatever follows; a beginning is never more than its whole', () => {
  const requests = [Buffer.from('0501000109080706005000', 'hex'), Buffer.concat([Buffer.from([5, 1, 0, 3, 6]), bytesOf('a.test'), Buffer.from([1, 187])]), Buffer.concat([Buffer.from([5, 1, 0, 4]), Buffer.alloc(15), Buffer.from([1, 0, 80])])];
  fc.assert(fc.property(mutated(requests), (bytes) => {
    const read = readRequest(bytes);
    for (let end = 0; end <= bytes.length; end += 1) {
      const part = readRequest(bytes.subarray(0, end));
      if (part.state === 'whole') assert.deepEqual(part, read);
      if (part.state === 'bad') assert.equal(read.state, 'bad');
    }
    readGreeting(bytes);
  }), { numRuns });
  const sized = (content: Buffer): Buffer => Buffer.concat([Buffer.from([content.length >> 8, content.length & 255]), content]);
  const name = sized(Buffer.concat([Buffer.from([0]), sized(bytesOf('a.test'))]));
  const body = Buffer.concat([Buffer.from([3, 3]), Buffer.alloc(32), Buffer.from('00000213010100', 'hex'), sized(Buffer.concat([Buffer.from([0, 0]), sized(name), Buffer.from('0010000500030268320d', 'hex').subarray(0, 9)]))]);
  const hello = Buffer.concat([Buffer.from([22, 3, 1]), sized(Buffer.concat([Buffer.from([1, 0]), sized(body)]))]);
  assert.equal(readClientHello(hello).state, 'whole');
  fc.assert(fc.property(mutated([hello]), (bytes) => {
    const read = readClientHello(bytes);
    for (let end = 0; end < bytes.length; end += 1) {
      const part = readClientHello(bytes.subarray(0, end));
      if (part.state !== 'more') assert.deepEqual(part, read);
    }
    if (read.state === 'whole') assert.deepEqual(readClientHello(Buffer.concat([bytes, Buffer.from('x')])), read);
  }), { numRuns });
  fc.assert(fc.property(mutated([questionFor('a.b.test', 28), Buffer.concat([questionFor('a.test').subarray(0, 11), Buffer.from([1]), questionFor('a.test').subarray(12), Buffer.from('0000290200000000000000', 'hex')])]), (bytes) => {
    const query = readQuery(bytes);
    if (!query) return;
    assert.match(query.name, /^(?:(?:[a-z0-9_-]+|\?[0-9a-f]*)(?:\.|$))*$/);
    const answer = writeAnswer(query, 0);
    assert.deepEqual(answer.subarray(12, 12 + query.question.length), query.question);
  }), { numRuns });
});

test('DER: elements are the whole of what they were read from, or a RangeError', () => {
  const seed = sequence(integer(Buffer.from([200])), oid('2.5.29.17'), utf8('x'.repeat(200)), octets(sequence(octets(Buffer.alloc(300)))));
  fc.assert(fc.property(mutated([seed]), (bytes) => {
    try {
      const read = elements(bytes);
      assert.deepEqual(Buffer.concat(read.map(({ whole }) => whole)), bytes);
      for (const one of read) assert.ok(one.whole.subarray(one.whole.length - one.content.length).equals(one.content));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }), { numRuns });
});

test('Redis: commands are the same however they are cut, and again from what is written; replies are counted alike', async () => {
  const command = writeRespCommand(['SET', 'k', 'a\r\nb'].map((word) => bytesOf(word)));
  await fc.assert(fc.asyncProperty(mutated([command, Buffer.concat([command, command]), '*1\r\n$4\r\nPING\r\nPING\r\n']), cuts, async (bytes, sizes) => {
    const whole = await readAll([bytes], readRespCommand);
    assert.deepEqual(await readAll(cut(bytes, sizes), readRespCommand), whole);
    const [commands] = whole as [Buffer[][]];
    assert.deepEqual(await readAll([Buffer.concat(commands.map((words) => writeRespCommand(words)))], readRespCommand), [commands, 'end']);
  }), { numRuns });
  fc.assert(fc.property(mutated(['+OK\r\n:1\r\n$3\r\nabc\r\n*2\r\n+a\r\n*1\r\n-x\r\n', '%1\r\n+a\r\n~1\r\n:1\r\n|1\r\n+x\r\n+y\r\n>1\r\n+p\r\n_\r\n', '*-1\r\n$-1\r\n=5\r\ntxt:a\r\n']), cuts, (bytes, sizes) => {
    const [one, many] = [new ReplyCounter(), new ReplyCounter()];
    const whole = one.feed(bytes);
    assert.deepEqual([cut(bytes, sizes).reduce((sum, piece) => sum + many.feed(piece), 0), many.broken], [whole, one.broken]);
    assert.ok(whole <= bytes.length);
  }), { numRuns });
});

test('mail: addresses, replies and messages are read as they are written; a message has no line that ends otherwise', async () => {
  fc.assert(fc.property(mutated(['TO:<a.b+c@x.test> SIZE=1 BODY=7BIT', 'TO:<@a:b@c.test>', 'TO: <"a b"@x.test>', 'to:<A@B.Test>']), (bytes) => {
    const text = bytes.toString('latin1');
    const path = readPath(text, 'TO');
    if (!path) return;
    assert.match(path.address, /^[!-;=?-~]+@[a-z0-9.-]+$/);
    assert.equal(path.address.split('@').length, 2);
    assert.equal(readPath(`TO:<${path.address}>`, 'TO')?.address, path.address);
    readCommand(bytes);
  }), { numRuns: numRuns * 3 });
  fc.assert(fc.property(mutated(['250-a\n250-SIZE 5\n250 ok', '550 no', '250-a\n550 b']), (bytes) => {
    const reader = new ReplyReader();
    for (const line of bytes.toString('latin1').split('\n')) {
      const reply = reader.take(bytesOf(line));
      if (reply === 'bad') return;
      if (reply === 'more') continue;
      const again = new ReplyReader();
      const lines = writeReply(reply.code, reply.lines).toString('latin1').split('\r\n').slice(0, -1);
      assert.deepEqual(lines.map((one) => again.take(bytesOf(one))).at(-1), { ...reply, lines: reply.lines.map((one) => one.slice(0, 500)) });
      return;
    }
  }), { numRuns });
  const core = { buffered: 0, ports: { limits: { bufferedBytes: 1 << 20 } } } as unknown as Core;
  const read = async (reader: ByteReader): Promise<string> => {
    const message = await readMessage(reader, 1 << 20, core);
    if (typeof message === 'string') throw new ReadEnded(message);
    message.release();
    return message.message.toString('latin1');
  };
  await fc.assert(fc.asyncProperty(mutated(['Subject: x\r\n\r\n..a\r\n.b\r\n.\r\n', 'a\r\n.\r\nb\r\n.\r\n', '.\r\n', 'a\n.\r\nb\r\n.\r\n']), cuts, async (bytes, sizes) => {
    const whole = await readAll([bytes], read);
    assert.deepEqual(await readAll(cut(bytes, sizes), read), whole);
    const [messages] = whole as [string[]];
    for (const message of messages) {
      assert.doesNotMatch(message, /\r(?!\n)|(?<!\r)\n|\0/);
      assert.deepEqual(await readAll([stuffed(bytesOf(message))], read), [[message], 'end']);
    }
    assert.equal(core.buffered, 0);
  }), { numRuns });
});

test('PostgreSQL: starts are written as they were read, messages are the same however they are cut', () => {
  const start = writeStartup({ version: 196_608, parameters: new Map([['user', 'ann'], ['database', 'crm']]) }).subarray(4);
  fc.assert(fc.property(mutated([start]), (bytes) => {
    const read = readStartup(bytes);
    if (read) assert.deepEqual(readStartup(writeStartup(read).subarray(4)), read);
  }), { numRuns });
  const talk = Buffer.concat([writeMessage('Q', bytesOf('select 1\0')), writeMessage('d', Buffer.alloc(90, 0x61)), writeMessage('X', Buffer.alloc(0))]);
  fc.assert(fc.property(mutated([talk]), cuts, (bytes, sizes) => {
    const follow = (pieces: readonly Buffer[]): [string, boolean] => {
      const watch = new PostgresWatch(60);
      let out = '';
      for (const piece of pieces) {
        const { pass, problem } = watch.next(piece, false);
        out += pass.toString('latin1');
        if (problem !== undefined) return [out, true];
      }
      assert.ok(watch.kept <= bytes.length);
      return [out, false];
    };
    assert.deepEqual(follow(cut(bytes, sizes)), follow([bytes]));
    const [one, many] = [new MessageEnds(), new MessageEnds()];
    one.next(bytes);
    for (const piece of cut(bytes, sizes)) many.next(piece);
    assert.equal(many.whole, one.whole);
  }), { numRuns });
});

test('WebSocket: the same messages however they are cut, and again from what is written', () => {
  const frames = Buffer.concat([writeFrame('text', bytesOf('hello'), true), Buffer.from('0182000000006869', 'hex'), writeFrame('ping', bytesOf('p'), true), Buffer.from('808100000000', 'hex'), bytesOf('!'), writeFrame('binary', Buffer.alloc(300), true), writeClose(1000, 'bye', true)]);
  fc.assert(fc.property(mutated([frames]), cuts, (bytes, sizes) => {
    const read = (pieces: readonly Buffer[]): [unknown[], number, Buffer[]] => {
      const reader = new FrameReader(true, 1000);
      const out: unknown[] = [];
      const written: Buffer[] = [];
      try {
        for (const piece of pieces) {
          for (const event of reader.read(piece)) {
            out.push(event);
            written.push(event.kind === 'close' ? writeClose(event.code, event.reason, true) : writeFrame(event.kind === 'message' ? (event.binary ? 'binary' : 'text') : event.kind, event.data, true));
          }
        }
        assert.ok(reader.kept <= bytes.length);
        return [out, 0, written];
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        return [out, error.code, written];
      }
    };
    const [events, code, written] = read([bytes]);
    const parts = read(cut(bytes, sizes));
    assert.deepEqual([parts[0], parts[1]], [events, code]);
    assert.deepEqual(read(written)[0], events);
  }), { numRuns });
});

test('JSON, GraphQL, MCP and JSON-RPC: a refusal or a reading, never a throw; what is accepted is accepted as it is written anew', () => {
  const corpus = ['{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":[1,2.5,"\\u00e9"]}}}', '[{"jsonrpc":"2.0","method":"ping"},{"id":null,"method":"x","params":[]}]', '{"query":"query a($b: [Int!] = 1) { c: d(e: {f: \\"g\\"}) @h { ...i } } fragment i on J { k }","operationName":"a"}', '{"query":"mutation { a(b: \\"\\"\\"c\\"\\"\\") # d\\n }","variables":{}}'];
  fc.assert(fc.property(mutated(corpus), (body) => {
    const carried = { method: 'POST', contentType: 'application/json', query: [], body };
    const read = readStrictJson(body);
    const [rpc, mcp, graphql] = [readJsonRpc(carried, ['2.0', undefined]), readMcpRequest(carried, []), readGraphqlRequest(carried)];
    viewJson(body.toString('utf8'));
    if (!read.ok) {
      assert.ok(!rpc.ok && !mcp.ok && !graphql.ok);
      return;
    }
    const anew = Buffer.from(JSON.stringify(read.value));
    assert.deepEqual(readStrictJson(anew), read);
    assert.deepEqual([readJsonRpc({ ...carried, body: anew }, ['2.0', undefined]), readMcpRequest({ ...carried, body: anew }, []), readGraphqlRequest({ ...carried, body: anew })], [rpc, mcp, graphql]);
  }), { numRuns: numRuns * 2 });
});

test('bodies: parts lie within the body and in order; encodings and hiding places are undone or not, never with a throw', () => {
  fc.assert(fc.property(mutated(['--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n', '--b\n\r\nx--b--']), (bytes) => {
    let at = 0;
    for (const { headFrom, from, to } of readMultipart(bytes, 'multipart/form-data; boundary=b')?.parts ?? []) {
      assert.ok(at <= headFrom && headFrom <= from && from <= to && to <= bytes.length);
      at = to;
    }
  }), { numRuns });
  fc.assert(fc.property(mutated([Buffer.from('1f8b0800000000000003cb48cdc9c9070086a6103605000000', 'hex'), Buffer.from('28b52ffd0405290000' + '68656c6c6f' + '4f2fb5c4', 'hex')]), fc.constantFrom('gzip', 'deflate', 'br', 'zstd', 'gzip, br', 'x'), (bytes, encoding) => {
    const undone = undoEncodings(bytes, encoding, 1000);
    if (undone.state === 'done') assert.ok(undone.body.length <= 65_536);
  }), { numRuns });
  fc.assert(fc.property(mutated(['a%41%zz%C3%A9&#65;&#x41;&commat;', `${'QUJD'.repeat(20)}\r\n${'QUJD'.repeat(20)}`, '\xef\xbc\x91\xe2\x80\x8b1']), (bytes) => {
    const text = bytes.toString('utf8');
    void [undoPercent(text), undoReferences(text), foldForms(text)];
    for (const run of base64Runs(text)) assert.ok(run.start < run.end && run.end <= text.length);
  }), { numRuns });
});

test('trailers, signatures of AWS and of callers: nothing but what was meant is accepted', () => {
  fc.assert(fc.property(mutated(['x-a\nb\ncontent-length\n3\nx-c\nd', 'Host\na\nX\nb']), (bytes) => {
    const safe = safeTrailers(bytes.toString('latin1').split('\n'));
    assert.ok(safe.every((one, i) => (i % 2 === 0 ? /^[!-~]+$/.test(one) && !/^(?:content-length|host|transfer-encoding)$/i.test(one) : !/[\r\n\0]/.test(one))));
  }), { numRuns });
  const authorization = `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE123/20150830/us-east-1/iam/aws4_request, SignedHeaders=host;x-amz-date, Signature=${'a'.repeat(64)}`;
  fc.assert(fc.property(mutated([authorization]), fc.string({ unit: fc.constantFrom('/', 'a', '%', '2', 'F', '?', '=', '&', '+'), maxLength: 12 }), (bytes, target) => {
    const text = bytes.toString('latin1');
    const claim = readClaim(text);
    if (!claim) return;
    const headers = ['host', 'a.test', 'x-amz-date', `${claim.date}T000000Z`, 'authorization', text];
    const why = signAnew({ method: 'GET', target: `/${target}`, headers, bodyHash: undefined }, claim, { secret: 'the real key', accessKeyId: 'AKIDREAL12345678' });
    assert.ok(why !== undefined || /^AWS4-HMAC-SHA256 Credential=AKIDREAL12345678\//.test(headers[5] ?? ''));
    assert.ok(!headers.join('').includes('the real key') && !headers.join('').includes('\n'));
  }), { numRuns });
  const body = bytesOf('{"a":1}');
  const signature = createHmac('sha256', 'k').update(body).digest('hex');
  fc.assert(fc.property(mutated([`sha256=${signature}`]), mutated([body]), (bytes, changed) => {
    const caller = { address: '192.0.2.1', chain: [], header: () => bytes.toString('latin1'), body: changed };
    const unproven = new HmacCheck(testClock).check({ kind: 'hmac', header: 'x-signature', key: 'k', algorithm: 'sha256', encoding: 'hex', prefix: 'sha256=', timestamp: null } as never, caller);
    assert.equal(unproven === undefined, bytes.toString('latin1').toLowerCase() === `sha256=${signature}` && bytes.toString('latin1').startsWith('sha256=') && changed.equals(body));
  }), { numRuns });
});

test('tokens of callers: one that was changed in what it says is none', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] });
  const token = await new SignJWT({ sub: 'a' }).setProtectedHeader({ alg: 'ES256', kid: 'k' }).setIssuer('i').setAudience('a').setExpirationTime(Math.floor(testClock.now() / 1000) + 3600).sign(privateKey);
  const proof = { kind: 'jwt', keys, issuer: 'i', audience: 'a' } as never;
  const shown = (text: string): Promise<string | undefined> => checkJwt(proof, { address: '192.0.2.1', chain: [], header: () => `Bearer ${text}`, body: Buffer.alloc(0) }, testClock);
  const said = (text: string): string => text.slice(0, text.lastIndexOf('.'));
  assert.equal(await shown(token), undefined);
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  assert.notEqual(await shown(`${none}.${token.split('.')[1] ?? ''}.`), undefined);
  await fc.assert(fc.asyncProperty(mutated([token, `${none}.${token.split('.')[1] ?? ''}.`]), async (bytes) => {
    const text = bytes.toString('latin1');
    if ((await shown(text)) === undefined) assert.equal(said(text), said(token));
  }), { numRuns: numRuns / 8 });
});

test('DNS over TCP: the same questions in the same order however they are cut, and none behind what is refused', async () => {
  const framed = (...packets: readonly string[]): Buffer => Buffer.concat(packets.map((packet) => Buffer.concat([Buffer.from([packet.length >> 8, packet.length & 255]), Buffer.from(packet, 'latin1')])));
  const served = async (pieces: readonly Buffer[]): Promise<unknown> => {
    const asked: string[] = [];
    const out: Buffer[] = [];
    const socket = new Duplex({ read: () => undefined, write: (chunk: Buffer, _encoding, done) => (out.push(chunk), done()) });
    serveDnsStream(Object.assign(socket, { setTimeout: () => socket }) as unknown as Socket, (packet) => (asked.push(packet.toString('latin1')), packet[0] === 0xff ? undefined : packet), 60_000);
    for (const piece of pieces) socket.push(piece);
    socket.push(null);
    await new Promise<void>((done) => socket.once('close', done));
    return [asked, Buffer.concat(out).toString('latin1')];
  };
  await fc.assert(fc.asyncProperty(mutated([framed('one', 'two', 'three'), framed('', 'a'.repeat(300), '\xffno', 'never'), framed('x'), Buffer.from([0x10, 0x01, 1, 2])]), cuts, async (bytes, sizes) => {
    const whole = (await served([bytes])) as [string[], string];
    assert.deepEqual(await served(cut(bytes, sizes)), whole);
    assert.ok(whole[0].every((packet, i) => packet.length <= 4096 && (!packet.startsWith('\xff') || i === whole[0].length - 1)));
  }), { numRuns });
});

test('tokens of a token server: a bearer token of printable characters, or a sentence that has nothing of the answer', () => {
  const answers = ['{"access_token":"at-7f3e-secret-value","token_type":"Bearer","expires_in":3600,"refresh_token":"rt-secret-value"}', '{"access_token":"at-7f3e-secret-value","token_type":"bearer","expires_in":"60"}'];
  fc.assert(fc.property(mutated(answers), (bytes) => {
    try {
      const { value, lastsMs, refreshToken } = readToken(bytes.toString('utf8'), 'tokens.test');
      assert.ok([value, refreshToken ?? value].every((one) => /^[!-~]{6,}$/.test(one)) && (lastsMs === undefined || lastsMs >= 0));
    } catch (error) {
      assert.ok(error instanceof Error && /^tokens\.test answered with(?:out a bearer token| something else than JSON)$/.test(error.message), String(error));
    }
  }), { numRuns });
});
