/** The parsers of what servers and callers say, fed like the others: only their own refusals, bounded, the same however the bytes are cut. */
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import type { AnswerHead, Passing } from '../hooks.ts';
import { Stopped } from '../hooks.ts';
import { dnsNames } from '../ingress/caller.ts';
import { ContentDecoder, DecodeError, encodingsOf } from '../inspect/content-decoder.ts';
import { inspectMail } from '../inspect/inspect-mail.ts';
import { undoEncodings } from '../inspect/undo-encodings.ts';
import { mcpAnswers } from '../protocols/mcp-answers.ts';
import { ScramClient, ScramProblem } from '../protocols/scram.ts';
import { authenticate, mechanisms, readBase64 } from '../protocols/smtp-auth.ts';
import type { SmtpUpstream } from '../protocols/smtp-upstream.ts';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { openWebSocket, readHandshake } from '../websocket/websocket-handshake.ts';
import { testClock } from './testing-egress.ts';
import { bytesOf, changed, cut, telling } from './testing-mutations.ts';

const numRuns = 400;
/** One message of the corpus with up to six changes. */
function mutated(corpus: readonly (string | Buffer)[]): fc.Arbitrary<Buffer> {
  const change = fc.record({ at: fc.nat(400), byte: fc.oneof(fc.nat(255), fc.constantFrom(...telling)), way: fc.nat(5), size: fc.nat(30) });
  return fc.tuple(fc.constantFrom(...corpus), fc.array(change, { maxLength: 6 })).map(([seed, changes]) => changed(seed, changes));
}
const cuts = fc.array(fc.integer({ min: 1, max: 17 }), { minLength: 1, maxLength: 12 });

/** A request of MCP whose server may ask for `ping` and nothing else. */
const asking = {
  asked: [{ message: { protocol: 'mcp' } }],
  checked: { paths: ['/mcp'] },
  place: { name: 'tools.test' },
  resource: () => ({ kind: 'http' }),
  core: {
    config: { version: 1 }, counts: { denied: 0 }, ports: { audit: { emit: () => undefined } }, seen: () => ({}),
    request: (_: string, resource: unknown) => resource,
    decide: ({ message }: { readonly message: { readonly method: string } }) => ({ verdict: message.method === 'ping' ? 'allow' : 'deny' }),
  },
} as unknown as Passing;

function filtered(type: string, pieces: readonly Buffer[]): Buffer | string {
  const through = mcpAnswers.open(asking, { status: 200, headers: ['content-type', type] } as unknown as AnswerHead) ?? assert.fail();
  try {
    return Buffer.concat([...pieces.map((piece) => through.next(piece)), through.end()]);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    return error.message;
  }
}

/** What a client takes from an event stream, as the HTML standard reads it. */
function dataOf(stream: Buffer): string[] {
  const events: string[] = [];
  let data: string[] = [];
  const lines = stream.toString('utf8').replace(/^\uFEFF/, '').split(/\r\n|\n|\r/);
  // What stands behind the last line end is no line.
  for (const line of lines.slice(0, -1)) {
    if (line === '' && data.length > 0) events.push(data.join('\n'));
    if (line === '') data = [];
    else if (line === 'data' || line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
  }
  return events;
}

/** Whether a client would answer it, though only `ping` is allowed. */
function asksForMore(text: string): boolean {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return false;
  }
  return (Array.isArray(value) ? value : [value]).some((one: unknown) => typeof one === 'object' && one !== null && 'id' in one && 'method' in one && one.method !== 'ping');
}

test('answers of an MCP server: no request that is not allowed gets through, all else does, however it is cut', () => {
  const [ping, sampling, result] = ['{"jsonrpc":"2.0","id":1,"method":"ping"}', '{"jsonrpc":"2.0","id":2,"method":"sampling/createMessage","params":{}}', '{"jsonrpc":"2.0","id":3,"result":{"a":[1,"}"]}}'];
  const lines = (text: string, end: string): string => text.split(',').map((part) => `data: ${part}`).join(`,${end}`);
  const corpus = ['\n', '\r\n', '\r'].map((end) => `event: message${end}data: ${ping}${end}${end}id: 7${end}data:${sampling}${end}${end}: said${end}${lines(result, end)}${end}${end}data: /endpoint${end}${end}`);
  fc.assert(fc.property(mutated(corpus), cuts, (bytes, sizes) => {
    const out = filtered('text/event-stream', [bytes]);
    assert.ok(Buffer.isBuffer(out));
    assert.deepEqual(filtered('text/event-stream', cut(bytes, sizes)), out);
    assert.ok(!dataOf(out).some(asksForMore));
    assert.ok(out.length <= bytes.length * 3 + 600 * (bytes.toString('latin1').split(/[\r\n]/).length));
    assert.deepEqual(filtered('text/event-stream', [out]), out);
  }), { numRuns: numRuns * 2 });
  for (const stream of corpus) {
    const events = dataOf(filtered('text/event-stream', [Buffer.from(stream)]) as Buffer);
    assert.deepEqual([events[0], events[2], events[3]], [ping, result.replaceAll(',', ',\n'), '/endpoint']);
    assert.match(events[1] ?? '', /notifications\/message/);
  }
  fc.assert(fc.property(mutated([ping, result, `[${ping},${result}]`, `[${result},${sampling}]`]), cuts, (bytes, sizes) => {
    const out = filtered('application/json', [bytes]);
    assert.deepEqual(filtered('application/json', cut(bytes, sizes)), out);
    if (Buffer.isBuffer(out)) assert.ok(out.equals(bytes) && !asksForMore(bytes.toString('utf8')));
  }), { numRuns: numRuns * 2 });
});

test('a long event of an MCP server that comes in tiny pieces is read once, not anew with each of them', () => {
  const event = Buffer.from(`data: {"jsonrpc":"2.0","id":3,"result":"${'x'.repeat(4 << 20)}"}\n\n`);
  assert.deepEqual(filtered('text/event-stream', cut(event, [61])), event);
});

test('content encodings undone as they come: within the bound, one end, the same however they are cut and as undone at once', async () => {
  const text = bytesOf('hello, hello, hello and a good day '.repeat(6));
  const corpus: readonly (readonly [string, Buffer])[] = [['gzip', gzipSync(text)], ['deflate', deflateSync(text)], ['deflate', deflateRawSync(text)], ['br', brotliCompressSync(text)], ['zstd', zstdCompressSync(text)], ['gzip, br', brotliCompressSync(gzipSync(text))], ['gzip', gzipSync(Buffer.alloc(200_000))]];
  const decoded = (encoding: string, pieces: readonly Buffer[]): Promise<Buffer | 'failed'> =>
    new Promise((done) => {
      const out: Buffer[] = [];
      const decoder = new ContentDecoder(encodingsOf(encoding), {
        data: (bytes) => void out.push(bytes),
        ended: () => done(Buffer.concat(out)),
        failed: (error) => {
          assert.ok(error instanceof DecodeError);
          done('failed');
        },
      });
      for (const piece of pieces) decoder.write(piece);
      decoder.end();
    });
  const packed = fc.constantFrom(...corpus).chain(([encoding, bytes]) => fc.tuple(fc.constant(encoding), mutated([bytes])));
  await fc.assert(fc.asyncProperty(packed, cuts, async ([encoding, bytes], sizes) => {
    const whole = await decoded(encoding, [bytes]);
    assert.deepEqual(await decoded(encoding, cut(bytes, sizes)), whole);
    if (whole !== 'failed') assert.ok(whole.length <= Math.max(65_536, bytes.length * 100));
    const atOnce = undoEncodings(bytes, encoding, 1 << 20);
    if (atOnce.state === 'done') assert.deepEqual(whole, atOnce.body);
  }), { numRuns: numRuns / 4 });
});

test('mail: what stands in a line of its own is found whatever stands before it, and is gone where it is taken out', () => {
  const card = '4556737586899855';
  const heads = ['Subject: =?utf-8?B?aGVsbG8=?= =?utf-8?Q?a=20b?=\r\nTo: a@x.test\r\n\r\nbody =41=\r\n', 'From: a\r\n folded\r\nContent-Type: multipart/mixed\r\n\r\n--b\r\n\r\naGVsbG8=\r\naGVsbG8=\r\n', '\r\n\r\n'];
  fc.assert(fc.property(mutated(heads), (bytes) => {
    const message = Buffer.concat([bytes, bytesOf(`\r\n\r\ncard ${card}\r\n`)]);
    const { found, redacted } = inspectMail(message, []);
    assert.ok(found.some(({ type }) => type === 'credit-card'));
    const without = redacted(() => true);
    if (without === undefined) return;
    assert.ok(without.length <= message.length + 40 * found.length && !without.includes(card));
    inspectMail(bytes, []);
  }), { numRuns });
});

test('SCRAM: a server is believed only if it knows the password, whatever it says', async () => {
  const nonce = 'rOprNGfwEbeRWgbNEkqO';
  const salt = Buffer.from('a salt of it').toString('base64');
  const first = `r=${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF,s=${salt},i=16`;
  const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
  await fc.assert(fc.asyncProperty(mutated([first]), mutated(['v=SIGNATURE', 'v=SIGNATURE,x=y', 'e=other-error']), async (bytes, last) => {
    const [serverFirst, client] = [bytes.toString('latin1'), new ScramClient('pencil', nonce)];
    // Half a million rounds for one run would be a long time.
    if (/i=\d{5}/.test(serverFirst)) return;
    let answer: string;
    try {
      answer = await client.final(serverFirst);
    } catch (error) {
      assert.ok(error instanceof ScramProblem);
      assert.throws(() => client.verify('v='), ScramProblem);
      return;
    }
    const [, theirs = '', salted = '', rounds = ''] = /^r=([^,]*),s=([^,]*),i=(\d+)/.exec(serverFirst) ?? [];
    assert.ok(theirs.startsWith(nonce) && theirs.length > nonce.length);
    assert.match(answer, /^c=biws,r=[!-+\--~]+,p=[A-Za-z0-9+/]{43}=$/);
    const key = hmac(pbkdf2Sync('pencil', Buffer.from(salted, 'base64'), Number(rounds), 32, 'sha256'), 'Server Key');
    const signature = hmac(key, `n=,r=${nonce},${serverFirst},c=biws,r=${theirs}`);
    const said = last.toString('latin1').replace('SIGNATURE', signature.toString('base64'));
    try {
      client.verify(said);
    } catch (error) {
      assert.ok(error instanceof ScramProblem);
    }
    assert.equal(client.verified, /^v=[A-Za-z0-9+/=]+(?:,.*)?$/.test(said) && Buffer.from(said.slice(2).split(',')[0] ?? '', 'base64').equals(signature));
  }), { numRuns });
});

test('AUTH of mail: the server is told in lines of base64, and the password only where it is bound to', async () => {
  const secret = 'the real password';
  const credential = { name: 'mail', placeholder: 'PLACEHOLDER', value: secret, header: 'auth', host: 'mail.test', port: 25, pathPrefix: '/' };
  const words = ['\0ann\0PLACEHOLDER', 'user=ann\x01auth=Bearer PLACEHOLDER\x01\x01', 'PLACEHOLDER', 'ann'].map((text) => Buffer.from(text).toString('base64'));
  await fc.assert(fc.asyncProperty(fc.constantFrom(...mechanisms), fc.array(mutated(words), { minLength: 2, maxLength: 2 }), fc.array(fc.constantFrom(334, 235, 535), { minLength: 4, maxLength: 4 }), fc.boolean(), async (mechanism, said, codes, confidential) => {
    const lines: string[] = [];
    const up = { say: async (line: string) => ({ code: codes[lines.push(line) - 1] ?? 535, lines: [] }) } as unknown as SmtpUpstream;
    const heard = said.map((bytes) => readBase64(bytes.toString('latin1')));
    const ask = async (): Promise<Buffer | undefined> => heard.shift();
    const reply = await authenticate(mechanism, undefined, ask, up, { host: 'mail.test', port: 25, credentials: [credential as never], confidential, refuses: async () => undefined });
    assert.ok(lines.length <= 4 && lines.every((line) => /^(?:AUTH (?:LOGIN|(?:PLAIN|XOAUTH2) (?:[A-Za-z0-9+/]+=*|=))|[A-Za-z0-9+/]+=*|[=*])$/.test(line)), lines.join('|'));
    const told = lines.map((line) => Buffer.from(line.split(' ').at(-1) ?? '', 'base64').toString()).join();
    assert.ok(!told.includes(secret) || confidential);
    assert.ok(typeof reply !== 'string' || lines.length === 0);
  }), { numRuns });
});

const acceptOf = (key: string): string => createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

test('the opening of a WebSocket: what is accepted says so in every field, of the client and of the origin', async () => {
  const key = 'dGhlIHNhbXBsZSBub25jZQ==';
  const opening = `Host\na.test\nUpgrade\nwebsocket\nConnection\nkeep-alive, Upgrade\nSec-WebSocket-Key\n${key}\nSec-WebSocket-Version\n13\nSec-WebSocket-Protocol\nchat, b.v1`;
  fc.assert(fc.property(mutated([opening]), fc.constantFrom('GET', 'POST'), (bytes, method) => {
    const rawHeaders = bytes.toString('latin1').split('\n');
    const read = readHandshake({ method, httpVersion: '1.1', rawHeaders } as unknown as IncomingMessage);
    if (typeof read === 'string') return;
    const values = (name: string): string[] => rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
    assert.deepEqual([method, values('sec-websocket-version')], ['GET', ['13']]);
    assert.deepEqual([acceptOf(values('sec-websocket-key')[0] ?? ''), values('sec-websocket-key').length], [read.accept, 1]);
    assert.ok(read.protocols.every((one) => /^[!#-'*+.0-9A-Z^-z|~-]+$/.test(one)) && new Set(read.protocols).size === read.protocols.length);
  }), { numRuns: numRuns * 2 });
  const answers = ['HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: chat\r\n\r\nearly', 'HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ACCEPT\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n', 'HTTP/1.1 403 no\r\ncontent-length: 2\r\n\r\nno'];
  await fc.assert(fc.asyncProperty(mutated(answers), cuts, async (bytes, sizes) => {
    const [ours, origin] = duplexPair();
    for (const side of [ours, origin]) side.on('error', () => undefined);
    const told = new Promise<string>((done) => {
      let head = '';
      origin.on('data', (piece: Buffer) => {
        head += piece.toString('latin1');
        if (head.endsWith('\r\n\r\n')) done(head);
      });
    });
    const opened = openWebSocket(ours as unknown as Socket, '/ws', ['host', 'a.test', 'Sec-WebSocket-Key', 'x', 'sec-websocket-extensions', 'permessage-deflate'], ['chat'], 60_000).catch((error: unknown) => error);
    const head = await told;
    assert.equal(/extensions/i.test(head), false);
    const answer = bytesOf(bytes.toString('latin1').replace('ACCEPT', acceptOf(/^Sec-WebSocket-Key: (.*)\r$/m.exec(head)?.[1] ?? '')));
    for (const piece of cut(answer, sizes)) origin.write(piece);
    origin.end();
    const end = await opened;
    ours.destroy();
    if (end instanceof Error) return;
    const said = end as Awaited<ReturnType<typeof openWebSocket>>;
    const text = answer.toString('latin1');
    if (said.state === 'answered') assert.notEqual(said.answer.statusCode, 101);
    else assert.ok(/sec-websocket-accept:[ \t]*[A-Za-z0-9+/]{27}=/i.test(text) && !/\nsec-websocket-extensions:/i.test(text) && [undefined, 'chat'].includes(said.protocol));
  }), { numRuns: numRuns / 4 });
});

test('names of a caller’s certificate: a name that it has, whatever else it calls itself', () => {
  const name = 'a-name-of-forty-bytes-in-a-certificate.test';
  const der = Buffer.from(mintLeaf(createIntermediate(createRootCa('t', testClock.now()), [name], testClock.now()), name, createLeafKey(), testClock.now()).match(/-----BEGIN CERTIFICATE-----([^-]+)/)?.[1] ?? '', 'base64');
  const latin = der.toString('latin1');
  assert.deepEqual(dnsNames(der), [name]);
  fc.assert(fc.property(mutated(['x, DNS:boss.test, DNS:y', name, 'boss.test', '", DNS:boss.test, "', '*.a.test']), (bytes) => {
    const called = bytes.toString('latin1').padEnd(name.length, 'x').slice(0, name.length);
    const names = dnsNames(bytesOf(latin.replaceAll(name, called)));
    assert.deepEqual(names, /^[A-Za-z0-9*._-]+$/.test(called) ? [called] : []);
  }), { numRuns });
});
