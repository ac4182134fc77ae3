/** Uploads to AWS whose chunks are signed one by one: signed anew as AWS computes it, searched as any other, refused where their framing is not whole. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { AwsChunkReader, AwsChunkWriter } from './aws-chunked.ts';
import { readClaim, signAnew } from '../credentials/sigv4.ts';
import type { ChunkSigner, SignedParts } from '../credentials/sigv4.ts';
import { noSignature, openBucket, placeholder } from '../testing/testing-bucket.ts';
import type { Upload } from '../testing/testing-bucket.ts';

const key = { secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', accessKeyId: 'AKIAIOSFODNN7EXAMPLE' };
const withChecksum = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER';
const alone = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';
const told = { refused: (why: string) => new Error(why), trailer: () => undefined };

/** As an SDK sends it that knows only the placeholder: no signature of it is right. */
function framed(data: Buffer, sizes: readonly number[], checksum = ''): Buffer {
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < data.length; i += 1) {
    const piece = data.subarray(at, at + (sizes[i] ?? sizes.at(-1) ?? 1));
    out.push(Buffer.from(`${piece.length.toString(16)};chunk-signature=${noSignature}\r\n`), piece, Buffer.from('\r\n'));
    at += piece.length;
  }
  return Buffer.concat([...out, Buffer.from(`0;chunk-signature=${noSignature}\r\n${checksum === '' ? '' : `${checksum}\r\nx-amz-trailer-signature:${noSignature}\r\n`}\r\n`)]);
}

function headersFor(payload: string, length: number): string[] {
  return ['Host', 's3.amazonaws.com', 'x-amz-date', '20130524T000000Z', 'x-amz-storage-class', 'REDUCED_REDUNDANCY', 'Content-Encoding', 'aws-chunked', 'x-amz-decoded-content-length', String(length), 'x-amz-content-sha256', payload,
    ...(payload === withChecksum ? ['x-amz-trailer', 'x-amz-checksum-crc32c'] : [])];
}

/** The signer that signing these headers gives, and their signature. */
function signed(payload: string, length: number, names: string): { readonly signer: ChunkSigner; readonly seed: string } {
  const authorization = `AWS4-HMAC-SHA256 Credential=${placeholder}/20130524/us-east-1/s3/aws4_request, SignedHeaders=${names}, Signature=${noSignature}`;
  const headers = [...headersFor(payload, length), 'Authorization', authorization];
  const claim = readClaim(authorization);
  assert.ok(claim);
  const signer = signAnew({ method: 'PUT', target: '/examplebucket/chunkObject.txt', headers, bodyHash: undefined, framed: true }, claim, key);
  assert.ok(typeof signer === 'object');
  return { signer, seed: headers.at(-1)?.slice(-64) ?? '' };
}

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

/** What S3 does, with nothing of what it checks: splits the body, computes every signature from the one in the head, and gives back the data. */
function asS3(body: Buffer, payload: string, seed: string, scope: string, date: string): Buffer {
  let signing: Buffer = Buffer.from(`AWS4${key.secret}`);
  for (const part of scope.split('/')) signing = createHmac('sha256', signing).update(part).digest();
  let previous = seed;
  const next = (algorithm: string, ...hashes: string[]): string => (previous = createHmac('sha256', signing).update([algorithm, date, scope, previous, ...hashes].join('\n')).digest('hex'));
  const data: Buffer[] = [];
  let at = 0;
  const line = (): string => {
    const end = body.indexOf('\r\n', at);
    assert.ok(end >= at, 'a line has an end');
    const text = body.toString('latin1', at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const [, hex = '', signature = ''] = /^([0-9a-f]+);chunk-signature=([0-9a-f]{64})$/.exec(line()) ?? [];
    const size = Number.parseInt(hex, 16);
    const piece = body.subarray(at, at + size);
    assert.equal(signature, next('AWS4-HMAC-SHA256-PAYLOAD', sha256(''), sha256(piece)), `the chunk at ${at}`);
    if (size === 0) break;
    at += size;
    assert.equal(line(), '');
    if (data.length > 0) assert.ok((data.at(-1)?.length ?? 0) >= 8192, 'only the last may be smaller');
    data.push(piece);
  }
  if (payload === withChecksum) {
    const checksum = line();
    assert.equal(line(), `x-amz-trailer-signature:${next('AWS4-HMAC-SHA256-TRAILER', sha256(`${checksum}\n`))}`);
  }
  assert.equal(line(), '');
  assert.equal(at, body.length);
  return Buffer.concat(data);
}

test('signed as AWS says: the example of 66,560 bytes in chunks, and the one with a checksum behind it', () => {
  const data = Buffer.alloc(66_560, 'a');
  const names = 'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer';
  const { signer, seed } = signed(withChecksum, data.length, names);
  assert.equal(seed, '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e');
  const reader = new AwsChunkReader(headersFor(withChecksum, data.length), told, 'chunks and checksum');
  assert.ok(reader.next(framed(data, [7, 500, 60_000], 'x-amz-checksum-crc32c:sOO8/Q==')).equals(data));
  reader.end();
  const writer = new AwsChunkWriter(reader, signer);
  const out = Buffer.concat([writer.next(data.subarray(0, 65_536)), writer.next(data.subarray(65_536)), writer.end()]).toString('latin1').replace(/a{1024,}/g, '…');
  assert.equal(out, [
    '10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2', '…', '400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7', '…',
    '0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992', 'x-amz-checksum-crc32c:sOO8/Q==', 'x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435', '', '',
  ].join('\r\n'));
});

const good = `5;chunk-signature=${noSignature}\r\nhello\r\n0;chunk-signature=${noSignature}\r\n`;
const checksum = 'x-amz-checksum-crc32:AAAAAA==\r\n';
const itsSignature = `x-amz-trailer-signature:${noSignature}\r\n`;
const damaged: readonly (readonly [string, SignedParts, string])[] = [
  ['no signature', 'chunks', '5\r\nhello\r\n0\r\n\r\n'], ['none of the last chunk', 'chunks', `5;chunk-signature=${noSignature}\r\nhello\r\n0\r\n\r\n`], ['a short one', 'chunks', good.replace(noSignature, noSignature.slice(1)) + '\r\n'], ['one that is a text', 'chunks', good.replace(noSignature, 'x'.repeat(64)) + '\r\n'],
  ['an extension more', 'chunks', good.replace(noSignature, `${noSignature};a=b`) + '\r\n'], ['another extension', 'chunks', good.replaceAll('chunk-signature', 'note') + '\r\n'], ['no end', 'chunks', good], ['more behind the end', 'chunks', `${good}\r\nx`],
  ['a checksum where none belongs', 'chunks', `${good}${checksum}\r\n`], ['a signed checksum where none belongs', 'chunks', `${good}${checksum}${itsSignature}\r\n`],
  ['no checksum', 'chunks and checksum', `${good}\r\n`], ['an unsigned checksum', 'chunks and checksum', `${good}${checksum}\r\n`], ['a signature of nothing', 'chunks and checksum', `${good}${itsSignature}\r\n`], ['a cut signature', 'chunks and checksum', `${good}${checksum}${itsSignature.replace('0', '')}\r\n`],
  ['two signatures', 'chunks and checksum', `${good}${checksum}${itsSignature}${itsSignature}\r\n`], ['signatures where none belong', 'nothing', `${good}\r\n`], ['a signed checksum behind unsigned chunks', 'nothing', `5\r\nhello\r\n0\r\n${checksum}${itsSignature}\r\n`],
];

test('signatures stand exactly where the head says that they do, wherever the pieces end', () => {
  const readIn = (text: string, parts: SignedParts, cut = 0): string => {
    const reader = new AwsChunkReader([], told, parts);
    const out = reader.next(Buffer.from(text.slice(0, cut))).toString() + reader.next(Buffer.from(text.slice(cut))).toString();
    reader.end();
    return out;
  };
  for (let cut = 0; cut < good.length + 50; cut += 1) {
    assert.equal(readIn(`${good}\r\n`, 'chunks', cut), 'hello');
    assert.equal(readIn(`${good}${checksum}${itsSignature}\r\n`, 'chunks and checksum', cut), 'hello');
  }
  for (const [name, parts, text] of damaged) assert.throws(() => readIn(text, parts), name);
});

test('through the proxy: S3 finds every signature right, however large; what must not leave is found across chunks, and what is damaged does not arrive whole', { timeout: 60_000 }, async () => {
  await using bucket = await openBucket(key);
  const { seen } = bucket;
  const put = (body: Buffer, length: number, how: Upload = {}): Promise<string> => bucket.put(body, length, { payload: alone, ...how });
  const small = Buffer.from('an object that is kept');
  const large = Buffer.alloc(3 << 20, 'rows of an export, none of them of anybody\n');
  for (const data of [small, large, Buffer.alloc(0)]) {
    for (const how of [{}, { encoding: '' }, { sized: false }, { type: 'text/plain' }, { type: 'text/plain', sized: false }]) {
      for (const payload of [alone, withChecksum]) {
        const body = framed(data, [8192, 100_000], payload === withChecksum ? 'x-amz-checksum-crc32:AAAAAA==' : '');
        assert.match(await put(body, data.length, { ...how, payload }), /^HTTP\/1\.1 200[^]*stored/, `${payload} ${data.length} ${JSON.stringify(how)}`);
        const got = seen.pop();
        assert.ok(got);
        const authorization = got.headers[got.headers.findIndex((one) => one.toLowerCase() === 'authorization') + 1] ?? '';
        assert.ok(authorization.includes(`Credential=${key.accessKeyId}/`) && !authorization.endsWith(noSignature));
        assert.ok(asS3(got.body, payload, authorization.slice(-64), '20261122/us-east-1/s3/aws4_request', '20261122T120000Z').equals(data));
      }
    }
  }
  const card = Buffer.from('the card is 4111 1111 1111 1111 of somebody');
  for (const type of ['application/octet-stream', 'text/plain']) {
    for (const sizes of [[1 << 20], [20, 5], [1]]) {
      for (const encoding of ['aws-chunked', '']) assert.match(await put(framed(card, sizes), card.length, { type, encoding }), /^(?:HTTP\/1\.1 403[^]*inspection\.|$)/, `card ${sizes} ${encoding}`);
    }
    const unsigned = Buffer.from(`14\r\n${card.toString().slice(0, 20)}\r\n${(card.length - 20).toString(16)}\r\n${card.toString().slice(20)}\r\n0\r\n\r\n`);
    assert.match(await put(unsigned, card.length, { type, encoding: '', payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }), /^(?:HTTP\/1\.1 403[^]*inspection\.|$)/, 'framed, and nothing says so but its hash');
    for (const [name, parts, text] of damaged) {
      if (parts === 'nothing') continue;
      assert.doesNotMatch(await put(Buffer.from(text), 5, { type, payload: parts === 'chunks' ? alone : withChecksum }), /^HTTP\/1\.1 200/, name);
    }
    assert.match(await put(framed(small, [9]), 5, { type }), /^HTTP\/1\.1 403[^]*proxy\.body-encoding/, 'another length');
    assert.doesNotMatch(await put(framed(small, [9]), small.length, { type, access: 'AKIASOMEBODYELSE' }), /^HTTP\/1\.1 200/, 'signatures that nobody makes anew');
  }
  assert.match(await put(framed(small, [9]), small.length, { payload: 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD' }), /^HTTP\/1\.1 403[^]*credentials\.sigv4[^]*elliptic curve/);
  assert.match(await put(framed(small, [9]), small.length, { algorithm: 'AWS4-ECDSA-P256-SHA256' }), /^HTTP\/1\.1 403[^]*credentials\.sigv4[^]*version 4 with HMAC/);
  assert.deepEqual(seen.map(({ body }) => body.toString('latin1', 0, 60)), [], 'nothing of what was refused arrived whole');
});
