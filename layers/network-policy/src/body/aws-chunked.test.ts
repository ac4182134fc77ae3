/** Uploads to AWS as its SDKs send them: the data is read without its framing, arrives as it was, and nothing hides between the chunks. */
import assert from 'node:assert/strict';
import { crc32, gzipSync } from 'node:zlib';
import { test } from 'node:test';
import { AwsChunkReader, AwsChunkWriter } from './aws-chunked.ts';
import { hashOf, readClaim, signAnew } from '../credentials/sigv4.ts';
import { openBucket } from '../testing/testing-bucket.ts';
import type { Upload } from '../testing/testing-bucket.ts';

/** As botocore 1.43 frames it (AwsChunkedWrapper), with chunks of these lengths. */
function framed(data: Buffer, sizes: readonly number[] = [1 << 20]): Buffer {
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < data.length; i += 1) {
    const piece = data.subarray(at, at + (sizes[i] ?? sizes.at(-1) ?? 1));
    out.push(Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n'));
    at += piece.length;
  }
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(data));
  return Buffer.concat([...out, Buffer.from(`0\r\nx-amz-checksum-crc32:${sum.toString('base64')}\r\n\r\n`)]);
}

const told = { refused: (why: string) => new Error(why), trailer: () => undefined };
const headersFor = (length: number): string[] => ['X-Amz-Decoded-Content-Length', String(length)];
function readIn(bytes: Buffer, pieces: readonly number[], headers: readonly string[] = []): { readonly data: Buffer; readonly reader: AwsChunkReader } {
  const reader = new AwsChunkReader(headers, told);
  const out: Buffer[] = [];
  let at = 0;
  for (const to of [...pieces, bytes.length]) {
    out.push(reader.next(bytes.subarray(at, to)));
    at = to;
  }
  reader.end();
  return { data: Buffer.concat(out), reader };
}

test('the data is the same wherever the pieces end, and as it was after it is framed anew', () => {
  const data = Buffer.from('hello 0\r\n\r\nx-amz-checksum-crc32:AAAA\r\n\r\n, says the data');
  const bytes = framed(data, [1, 9, 16, 3]);
  for (let cut = 0; cut <= bytes.length; cut += 1) assert.deepEqual(readIn(bytes, [cut, Math.min(bytes.length, cut + 3)], headersFor(data.length)).data, data);
  const { reader } = readIn(bytes, []);
  const writer = new AwsChunkWriter(reader);
  const long = Buffer.alloc(200_000, 'long ');
  const again = Buffer.concat([writer.next(long.subarray(0, 5)), writer.next(long.subarray(5, 100_000)), writer.next(long.subarray(100_000)), writer.end()]);
  assert.deepEqual(readIn(again, []).data, long);
  assert.ok(again.subarray(0, 7).equals(Buffer.from('186a0\r\n')), 'no chunk but the last is smaller than S3 takes');
  assert.match(again.toString('latin1'), /\r\n0\r\nx-amz-checksum-crc32:[A-Za-z0-9+/]{6}==\r\n\r\n$/);
  assert.deepEqual(readIn(Buffer.from('0\r\n\r\n'), [], headersFor(0)).data.length, 0);
});

const damaged: readonly (readonly [string, string])[] = [
  ['nothing', ''], ['no end', '5\r\nhello\r\n'], ['no last line', '5\r\nhello\r\n0\r\n'], ['more behind the end', '5\r\nhello\r\n0\r\n\r\nx'], ['too long a chunk', '4\r\nhello\r\n0\r\n\r\n'], ['too short a chunk', '6\r\nhello\r\n0\r\n\r\n'],
  ['line feeds alone', '5\nhello\n0\n\n'], ['an extension', '5;note=4111111111111111\r\nhello\r\n0\r\n\r\n'], ['a signed chunk', `5;chunk-signature=${'0'.repeat(64)}\r\nhello\r\n0\r\n\r\n`], ['a size with a sign', '+5\r\nhello\r\n0\r\n\r\n'],
  ['a size with blanks', '5 \r\nhello\r\n0\r\n\r\n'], ['a size with zeros before it', '005\r\nhello\r\n0\r\n\r\n'], ['a size that is none', '0x5\r\nhello\r\n0\r\n\r\n'], ['a huge size', 'fffffffff\r\nhello\r\n0\r\n\r\n'], ['a line without end', 'a'.repeat(500)],
  ['another field behind the data', '5\r\nhello\r\n0\r\nx-note:4111111111111111\r\n\r\n'], ['two checksums', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-sha1:AAAAAA==\r\n\r\n'], ['a checksum that is a text', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:card no 1\r\n\r\n'],
];

test('framing that is damaged, or in which something could stand that nobody looks at, is refused; so is a length that is not the data’s', () => {
  assert.equal(readIn(Buffer.from('5\r\nhello\r\n0\r\n\r\n'), [], headersFor(5)).data.toString(), 'hello');
  for (const [name, text] of damaged) assert.throws(() => readIn(Buffer.from(text), []), name);
  for (const length of ['4', '6', '5, 5', '', '05']) assert.throws(() => readIn(Buffer.from('5\r\nhello\r\n0\r\n\r\n'), [], ['x-amz-decoded-content-length', length]), /not the length/);
});

const suite = { secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', accessKeyId: 'AKIDEXAMPLE' };

test('through the proxy: S3 gets the upload and a signature as it computes it, however large; what must not leave is found across chunks', { timeout: 60_000 }, async () => {
  await using bucket = await openBucket(suite);
  const { seen } = bucket;
  /** The trailer that boto3 1.43 names for `put_object`, over a body that it does not know the length of in advance. */
  const put = (body: Buffer, length: number, how: Upload = {}): Promise<string> => bucket.put(body, length, { sized: false, more: ['x-amz-trailer', 'x-amz-checksum-crc32'], signs: ['transfer-encoding', 'x-amz-trailer'], ...how });
  const small = Buffer.from('an object that is kept');
  const large = Buffer.alloc(3 << 20, 'rows of an export, none of them of anybody\n');
  for (const [data, how] of [[small, {}], [small, { sized: true }], [small, { type: 'text/plain' }], [small, { type: 'text/plain', sized: true }], [large, {}], [large, { sized: true }], [Buffer.alloc(0), {}]] as const) {
    assert.match(await put(framed(data), data.length, how), /^HTTP\/1\.1 200[^]*stored/, JSON.stringify(how));
    const got = seen.pop();
    assert.ok(got);
    assert.ok(readIn(got.body, [], got.headers).data.equals(data), 'the object is the one that was sent');
    const at = (name: string): string => got.headers[got.headers.findIndex((one) => one.toLowerCase() === name) + 1] ?? '';
    assert.equal(at('content-encoding'), 'aws-chunked');
    const authorization = at('authorization');
    const claim = readClaim(authorization);
    assert.ok(claim?.accessKeyId === suite.accessKeyId && claim.signedHeaders.includes('x-amz-trailer') && claim.signedHeaders.includes('x-amz-decoded-content-length'));
    const again = got.headers.map((one) => (one === authorization ? authorization.replace(/[0-9a-f]{64}$/, '0'.repeat(64)) : one));
    assert.equal(signAnew({ method: 'PUT', target: got.target, headers: again, bodyHash: hashOf(Buffer.from('another')) }, claim, suite), undefined);
    assert.ok(again.includes(authorization), 'what AWS would compute, over the literal in place of a hash');
  }

  const card = Buffer.from('the card is 4111 1111 1111 1111 of somebody');
  const secret = Buffer.from(`the key is ${suite.secret} of somebody`);
  const zipped = gzipSync('{"card":"4111 1111 1111 1111"}');
  for (const how of [{}, { sized: true }, { type: 'text/plain' }, { type: 'application/json', sized: true }] as const) {
    for (const sizes of [[1 << 20], [20, 5], [1]]) {
      assert.match(await put(framed(card, sizes), card.length, how), /^(?:HTTP\/1\.1 403[^]*inspection\.|$)/, `card ${JSON.stringify(how)} ${sizes}`);
      assert.match(await put(framed(secret, sizes), secret.length, how), /^(?:HTTP\/1\.1 403[^]*inspection\.|$)/, `secret ${JSON.stringify(how)} ${sizes}`);
    }
  }
  for (const encoding of ['gzip,aws-chunked', 'aws-chunked, gzip']) {
    const fine = gzipSync('an object that is kept');
    assert.match(await put(framed(zipped, [7]), zipped.length, { encoding }), /^HTTP\/1\.1 403[^]*inspection\./);
    assert.match(await put(framed(fine), fine.length, { encoding }), /^HTTP\/1\.1 200/);
    assert.ok(seen.pop()?.body.equals(framed(fine)));
  }
  assert.match(await put(framed(framed(small)), small.length, { encoding: 'aws-chunked,aws-chunked' }), /^HTTP\/1\.1 403[^]*proxy\.body-encoding/);
  for (const type of ['text/plain', 'application/octet-stream']) {
    for (const [name, text] of damaged.slice(1)) assert.doesNotMatch(await put(Buffer.from(text), 5, { type, sized: true }), /^HTTP\/1\.1 200/, name);
    assert.match(await put(framed(small), 5, { type, sized: true }), /^HTTP\/1\.1 403[^]*proxy\.body-encoding/, 'another length');
  }
  assert.match(await put(framed(small), small.length, { payload: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER' }), /^HTTP\/1\.1 403[^]*proxy\.body-encoding/, 'signatures are named, and there are none');
  assert.deepEqual(seen.map(({ body }) => body.toString('latin1', 0, 60)), [], 'nothing of what was refused arrived whole');
});
