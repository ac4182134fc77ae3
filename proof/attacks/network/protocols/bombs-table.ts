/** Bodies that are small on the way and large in whoever opens them, or that make work out of nothing. */
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';

export interface Bomb {
  readonly name: string;
  readonly bytes: () => Buffer;
  /** `stopped`: nothing arrives, and the sandbox is told. `passes`: it is harmless here. */
  readonly expect: 'stopped' | 'passes';
}

const post = (headers: string, body: Buffer | string): Buffer => {
  const content = typeof body === 'string' ? Buffer.from(body, 'latin1') : body;
  return Buffer.concat([Buffer.from(`POST /x HTTP/1.1\r\nHost: scan.test\r\n${headers}Content-Length: ${content.length}\r\n\r\n`, 'latin1'), content]);
};
const encoded = (encoding: string, body: Buffer, type = 'text/plain'): Buffer => post(`Content-Type: ${type}\r\nContent-Encoding: ${encoding}\r\n`, body);
const chunked = (body: string, headers = ''): Buffer => Buffer.from(`POST /x HTTP/1.1\r\nHost: scan.test\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n${headers}\r\n${body}`, 'latin1');
const large = (): Buffer => Buffer.alloc(24 << 20, 0x61);
const json = 'Content-Type: application/json\r\n';
const parts = (count: number, head = ''): string => `${'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'.repeat(count)}${head}--b--\r\n`;

export const bombs: readonly Bomb[] = [
  { name: 'control: gzip of a text', bytes: () => encoded('gzip', gzipSync('hello '.repeat(1000))), expect: 'passes' },
  { name: '24 MiB in gzip', bytes: () => encoded('gzip', gzipSync(large())), expect: 'stopped' },
  { name: '24 MiB in brotli', bytes: () => encoded('br', brotliCompressSync(large(), { params: { 1: 1 } })), expect: 'stopped' },
  { name: '24 MiB in zstd', bytes: () => encoded('zstd', zstdCompressSync(large())), expect: 'stopped' },
  { name: '24 MiB in deflate', bytes: () => encoded('deflate', deflateSync(large())), expect: 'stopped' },
  { name: '24 MiB in gzip in gzip', bytes: () => encoded('gzip, gzip', gzipSync(gzipSync(large()))), expect: 'stopped' },
  { name: '24 MiB in gzip in brotli in zstd', bytes: () => encoded('gzip, br, zstd', zstdCompressSync(brotliCompressSync(gzipSync(large())))), expect: 'stopped' },
  { name: 'four encodings', bytes: () => encoded('gzip, gzip, gzip, gzip', gzipSync(gzipSync(gzipSync(gzipSync('x'))))), expect: 'stopped' },
  { name: 'a hundred encodings', bytes: () => encoded(Array.from({ length: 100 }, () => 'gzip').join(), gzipSync('x')), expect: 'stopped' },
  { name: 'two gzips, one behind the other', bytes: () => encoded('gzip', Buffer.concat([gzipSync('a'), gzipSync(large())])), expect: 'stopped' },
  { name: 'gzip with something behind', bytes: () => encoded('gzip', Buffer.concat([gzipSync('a'), Buffer.from('4111111111111111')])), expect: 'stopped' },
  { name: 'gzip that is cut', bytes: () => encoded('gzip', gzipSync('hello '.repeat(1000)).subarray(0, 20)), expect: 'stopped' },
  { name: 'gzip that is damaged', bytes: () => encoded('gzip', Buffer.from(gzipSync('hello '.repeat(1000))).fill(0, 12, 20)), expect: 'stopped' },
  { name: 'zstd in two frames', bytes: () => encoded('zstd', Buffer.concat([zstdCompressSync(Buffer.from('a')), zstdCompressSync(Buffer.from('4111111111111111 '))])), expect: 'stopped' },
  { name: 'zstd that wants a window of a terabyte', bytes: () => encoded('zstd', Buffer.from('28b52ffd00f80100006100', 'hex')), expect: 'stopped' },
  { name: 'brotli with a large window', bytes: () => encoded('br', Buffer.from('91190080', 'hex')), expect: 'stopped' },
  { name: 'an encoding that nobody knows', bytes: () => encoded('snappy', Buffer.from('x')), expect: 'stopped' },
  { name: 'compress', bytes: () => encoded('compress', Buffer.from('1f9d90', 'hex')), expect: 'stopped' },
  { name: 'aws-chunked', bytes: () => encoded('aws-chunked', Buffer.from('x')), expect: 'stopped' },
  { name: 'an encoding in a list with nothing', bytes: () => encoded(',gzip,,', gzipSync('4111111111111111 is a card')), expect: 'stopped' },
  { name: 'gzip in capitals', bytes: () => encoded('GZIP', gzipSync('4111111111111111 is a card')), expect: 'stopped' },
  { name: 'gzip that is said to be nothing', bytes: () => encoded('identity', gzipSync('hello')), expect: 'passes' },
  { name: 'lists in lists', bytes: () => post(json, `${'['.repeat(200_000)}${']'.repeat(200_000)}`), expect: 'passes' },
  { name: 'objects in objects', bytes: () => post(json, `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), expect: 'passes' },
  { name: 'lists that never end', bytes: () => post(json, '['.repeat(300_000)), expect: 'passes' },
  { name: 'a hundred thousand keys', bytes: () => post(json, `{${Array.from({ length: 100_000 }, (_, i) => `"k${i}":${i}`).join()}}`), expect: 'passes' },
  { name: 'a text of escapes', bytes: () => post(json, `"${'\\u0061'.repeat(200_000)}"`), expect: 'passes' },
  { name: 'a form of countless fields', bytes: () => post('Content-Type: application/x-www-form-urlencoded\r\n', Array.from({ length: 100_000 }, (_, i) => `a${i}=%41`).join('&')), expect: 'passes' },
  { name: 'countless parts', bytes: () => post('Content-Type: multipart/form-data; boundary=b\r\n', parts(20_000)), expect: 'passes' },
  { name: 'a card behind countless parts', bytes: () => post('Content-Type: multipart/form-data; boundary=b\r\n', parts(20_000, '--b\r\n\r\ncard 4111111111111111 .\r\n')), expect: 'stopped' },
  { name: 'parts in parts in parts', bytes: () => post('Content-Type: multipart/mixed; boundary=b0\r\n', `${Array.from({ length: 500 }, (_, i) => `--b${i}\r\nContent-Type: multipart/mixed; boundary=b${i + 1}\r\n\r\n`).join('')}card 4111111111111111 .`), expect: 'stopped' },
  { name: 'a boundary of nothing', bytes: () => post('Content-Type: multipart/form-data; boundary=\r\n', 'card 4111111111111111 .'), expect: 'stopped' },
  { name: 'references of XML in each other', bytes: () => post('Content-Type: application/xml\r\n', `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 20 }, (_, i) => `<!ENTITY a${i} "${`&a${i === 0 ? '' : i - 1};`.repeat(10)}">`).join('')}]><x>&a19;</x>`), expect: 'passes' },
  { name: 'half encodings without end', bytes: () => post('Content-Type: text/plain\r\n', '%'.repeat(500_000)), expect: 'passes' },
  { name: 'references without end', bytes: () => post('Content-Type: text/plain\r\n', '&#'.repeat(300_000)), expect: 'passes' },
  { name: 'what looks like base64 without end', bytes: () => post('Content-Type: text/plain\r\n', 'QUFB'.repeat(200_000)), expect: 'passes' },
  { name: 'digits without end', bytes: () => post('Content-Type: text/plain\r\n', '0'.repeat(800_000)), expect: 'passes' },
  { name: 'digits and blanks without end', bytes: () => post('Content-Type: text/plain\r\n', '4 '.repeat(400_000)), expect: 'passes' },
  { name: 'letters and signs of addresses without end', bytes: () => post('Content-Type: text/plain\r\n', 'a.'.repeat(300_000)), expect: 'passes' },
  { name: 'dashes of keys without end', bytes: () => post('Content-Type: text/plain\r\n', '-----BEGIN '.repeat(50_000)), expect: 'passes' },
  { name: 'the beginning of a token again and again', bytes: () => post('Content-Type: text/plain\r\n', 'eyJ'.repeat(200_000)), expect: 'passes' },
  { name: 'a chunk with an extension of a megabyte', bytes: () => chunked(`1;${'x'.repeat(1 << 20)}\r\na\r\n0\r\n\r\n`), expect: 'stopped' },
  { name: 'chunks of one byte with extensions', bytes: () => chunked(`${`1;${'x'.repeat(1000)}\r\na\r\n`.repeat(2000)}0\r\n\r\n`), expect: 'passes' },
  { name: 'a chunk size of countless zeroes', bytes: () => chunked(`${'0'.repeat(1 << 20)}1\r\na\r\n0\r\n\r\n`), expect: 'passes' },
  { name: 'countless trailers', bytes: () => chunked(`1\r\na\r\n0\r\n${'x-a: b\r\n'.repeat(20_000)}\r\n`, 'Trailer: x-a\r\n'), expect: 'stopped' },
  { name: 'a chunk beyond 2^64', bytes: () => chunked('fffffffffffffffff\r\na\r\n0\r\n\r\n'), expect: 'stopped' },
  { name: 'a head of a megabyte', bytes: () => post(`X-A: ${'a'.repeat(1 << 20)}\r\n`, 'x'), expect: 'stopped' },
  { name: 'countless headers', bytes: () => post('X-A: b\r\n'.repeat(5000), 'x'), expect: 'stopped' },
];
