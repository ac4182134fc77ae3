/** Answers whose head, encoding or first bytes say something else than they are, and answers that cost more than they are: over real sockets. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { brotliCompressSync, constants, createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib';
import { openDesk, openUpstream } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ContentDecoder } from './content-decoder.ts';
import { encode } from './requests.ts';
import { undoEncodings } from './undo-encodings.ts';

const card = '4111 1111 1111 1111';
const png = Buffer.concat([Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'), Buffer.from(` ${card} `)]);

let desk: Desk;
let upstream: Upstream;
let asked: IncomingHttpHeaders = {};
let answer: (res: ServerResponse) => void = (res) => void res.end('fine');

before(async () => {
  upstream = await openUpstream((req, res) => {
    asked = req.headers;
    res.on('error', () => undefined);
    answer(res);
  });
  desk = await openDesk({ rules: [{ host: 'api.test', verdict: 'allow' }], pins: [{ host: 'api.test' }], ports: [upstream.port], limits: { bufferedBytes: 256 * 1024 } });
});
after(async () => {
  await desk.close();
  await upstream.close();
});
beforeEach(() => {
  Object.assign(desk.policy, { inspection: { scanForPII: true, responses: { actions: { 'credit-card': 'block', 'us-ssn': 'escalate' } } }, terms: () => undefined });
});

async function open(headers: Readonly<Record<string, string>> = {}): Promise<IncomingMessage> {
  const socket = await desk.tcp('api.test', upstream.port);
  const req = request({ path: '/x', headers: { host: `api.test:${upstream.port}`, connection: 'close', ...headers }, createConnection: () => socket });
  req.on('error', () => undefined);
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  res.on('error', () => undefined);
  return res;
}

interface Got {
  readonly status: number;
  readonly rule: unknown;
  readonly body: Buffer;
  readonly whole: boolean;
}

async function get(headers?: Readonly<Record<string, string>>): Promise<Got> {
  const res = await open(headers);
  const parts: Buffer[] = [];
  res.on('data', (chunk: Buffer) => parts.push(chunk));
  await new Promise<void>((done) => res.once('close', done));
  return { status: res.statusCode ?? 0, rule: res.headers['x-nemoclaw-rule'], body: Buffer.concat(parts), whole: res.complete };
}
const said = (status: number, fields: readonly string[], body: Buffer | string): void => {
  answer = (res) => void res.writeHead(status, [...fields]).end(body);
};
const blocked = [403, 'inspection.responses.actions.credit-card'];
const unread = [502, 'proxy.answer-encoding'];

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((next) => setTimeout(next, 5));
}

test('two lines of a field are one list to readers: an encoding in the second is undone, and of two types neither counts', async () => {
  said(200, ['content-type', 'application/json', 'content-encoding', 'identity', 'content-encoding', 'gzip'], gzipSync(`{"pan":"${card}"}`));
  const encoded = await get();
  assert.deepEqual([encoded.status, encoded.rule], blocked);
  said(200, ['content-type', 'image/png', 'content-type', 'application/json'], JSON.stringify({ pan: Buffer.from(`it is ${card}, no other`).toString('base64') }));
  const typed = await get();
  assert.deepEqual([typed.status, typed.rule], blocked, 'read as a document, also in base64');
});

test('text that is called a picture or an archive is searched; what is one passes byte for byte, and so does a document of its own format', async () => {
  for (const type of ['image/png', 'application/zip', 'application/gzip', 'video/mp4']) {
    said(200, ['content-type', type], `customer,pan\nroe,${card}\n`);
    const { status, rule, body } = await get();
    assert.ok(!body.includes('4111') && status === 403 && rule === blocked[1], `${type} ${status}`);
  }
  for (const bytes of [png, Buffer.from(`%PDF-1.4\n${card}`)]) {
    said(200, ['content-type', bytes === png ? 'image/png' : 'application/pdf'], bytes);
    const { status, body, whole } = await get();
    assert.deepEqual([status, whole, body.equals(bytes)], [200, true, true]);
  }
  said(206, ['content-type', 'image/png', 'content-encoding', 'gzip', 'content-range', 'bytes 0-9/10'], card);
  assert.deepEqual([(await get()).status], [502], 'a part of something encoded');
  said(205, ['content-type', 'application/octet-stream'], card);
  assert.ok(!(await get()).body.includes('4111'));
});

test('an answer in a character encoding that is not searched is not delivered, nor one that encodes its messages unasked', async () => {
  said(200, ['content-type', 'application/json'], '{}');
  await get({ 'accept-charset': 'ibm037', 'connect-accept-encoding': 'gzip', 'request-range': 'bytes=0-9' });
  assert.deepEqual([asked['accept-charset'], asked['connect-accept-encoding'], asked['request-range']], [undefined, undefined, undefined]);
  for (const type of ['text/plain; charset=IBM037', 'application/json;charset="utf-32"', "text/plain; charset='utf-7'", 'text/event-stream; charset=utf-16', 'application/grpc-web-text']) {
    said(200, ['content-type', type], card);
    const { status, rule } = await get();
    assert.deepEqual([status, rule], unread, type);
  }
  for (const name of ['grpc-encoding', 'connect-content-encoding']) {
    said(200, ['content-type', 'application/connect+json', name, 'gzip'], gzipSync(card));
    const { status, rule } = await get();
    assert.deepEqual([status, rule], unread, name);
  }
  for (const type of ['text/plain; charset=UTF-8', 'text/html;charset=iso-8859-1', 'text/plain; charset=shift_jis', 'text/plain; charset=utf-16le', 'text/plain; charset=']) {
    said(200, ['content-type', type], Buffer.from('nothing in here', type.includes('16') ? 'utf16le' : 'utf8'));
    assert.equal((await get()).status, 200, type);
    said(200, ['content-type', type], Buffer.from(`pan ${card}.`, type.includes('16') ? 'utf16le' : 'utf8'));
    assert.equal((await get()).status, 403, type);
  }
});

test('where too much is held already, an answer is searched as it passes; not where its rule wants none uninspected', async () => {
  const body = Buffer.alloc(400 * 1024, 'harmless text, line by line\n');
  said(200, ['content-type', 'text/plain', 'content-length', String(body.length)], body);
  assert.ok((await get()).body.equals(body));
  Object.assign(desk.policy, { terms: () => ({ rule: { id: 'egress.allow[0]' }, onOversize: 'deny', monitor: false }) });
  const { status, rule } = await get();
  assert.deepEqual([status, rule], [502, 'inspection.maxBody']);
  assert.equal(desk.egress.stats().buffered, 0);
});

test('an approved answer that cannot be put on record is a denial, not a failure of the other side', async () => {
  said(200, ['content-type', 'application/json'], '{"ssn":"536-22-8145"}');
  const mark = desk.audit.events.length;
  const count = desk.approver.asked.length;
  desk.audit.broken = true;
  try {
    const reply = get();
    await desk.approver.until(count + 1);
    desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'uid:0' });
    const { status, rule, body } = await reply;
    assert.deepEqual([status, rule, body.includes('8145')], [502, 'inspection.responses', false]);
    assert.ok(desk.audit.events.slice(mark).some(({ verdict, message }) => verdict === 'deny' && message.includes('could not be inspected')));
  } finally {
    desk.audit.broken = false;
  }
});

/** What a decoder says of bytes: what they decode to, or why not. */
async function decoded(names: readonly string[], bytes: Buffer): Promise<string> {
  const out: Buffer[] = [];
  const said_ = await new Promise<string>((done) => {
    const decoder = new ContentDecoder(names, { data: (chunk) => void out.push(chunk), ended: () => done(''), failed: (error) => done(error.message) });
    decoder.write(bytes);
    decoder.end();
  });
  return said_ === '' ? Buffer.concat(out).toString('latin1') : said_;
}

test('a decoder has bounds at every step: what the next one swallows, and windows that no reader of HTTP needs', async () => {
  // Stored blocks without content (RFC 1951, 3.2.4): 20 MB that are decoded to nothing.
  const blocks = Buffer.alloc(20_000_000, Buffer.from('000000ffff', 'hex'));
  const nothing = Buffer.concat([Buffer.from('1f8b0800000000000003', 'hex'), blocks, Buffer.from('010000ffff0000000000000000', 'hex')]);
  assert.equal(await decoded(['gzip'], nothing), '');
  assert.match(await decoded(['gzip', 'gzip'], gzipSync(nothing)), /more than 100 times/);
  const packer = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 27 } });
  const parts: Buffer[] = [];
  packer.on('data', (chunk: Buffer) => void parts.push(chunk));
  const packed = once(packer, 'end');
  packer.write('short');
  packer.end(' text');
  await packed;
  assert.match(await decoded(['zstd'], Buffer.concat(parts)), /cannot be undone/);
  assert.equal(await decoded(['zstd'], zstdCompressSync('short')), 'short');
  assert.equal(await decoded(['br', 'gzip'], gzipSync(brotliCompressSync('short'))), 'short');
});

test('what is encoded anew on its way is not encoded so well that everybody waits for it', () => {
  const text = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `${(i * 2654435761) % 9973} line`).join('\n'));
  const packed = encode(text, 'br');
  assert.ok(packed && undoEncodings(packed, 'br', 1 << 24).state === 'done');
  assert.notDeepEqual(packed, brotliCompressSync(text));
});

test('decoders of one sandbox keep so much memory together and no more, and give it back', async () => {
  // Not a picture that anybody searches; decoded because searching it is meant to find that out. Every sixtieth byte cannot be compressed away.
  const one = Buffer.alloc(300_000);
  let seed = 7;
  for (let i = 0; i < one.length; i += 60) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    one[i] = seed >>> 24;
  }
  const packed = encode(one, 'br') ?? Buffer.alloc(0);
  const held: ServerResponse[] = [];
  answer = (res) => {
    held.push(res);
    res.writeHead(200, { 'content-type': 'image/png', 'content-encoding': 'br' });
    res.write(packed.subarray(0, packed.length - 16));
  };
  const all: { readonly res: IncomingMessage; bytes: number; over: boolean }[] = [];
  for (let i = 0; i < 18; i += 1) {
    const res = await open({ 'accept-encoding': 'br' });
    const state = { res, bytes: 0, over: false };
    all.push(state);
    res.on('data', (chunk: Buffer) => { state.bytes += chunk.length; });
    res.once('close', () => { state.over = true; });
    await until(() => state.over || state.bytes > 280_000);
    held[i]?.write(packed.subarray(packed.length - 16, packed.length - 8));
    await until(() => state.over || desk.egress.stats().decoding > (i + 1) * 280_000);
    if (state.over) break;
  }
  await until(() => all.some(({ over }) => over));
  // 2 MiB for all of them here.
  assert.ok(all.length > 5 && all.length < 12, `some are fine: ${all.length}`);
  for (const { res } of all) res.socket.resetAndDestroy();
  await until(() => desk.egress.stats().decoding === 0);
});
