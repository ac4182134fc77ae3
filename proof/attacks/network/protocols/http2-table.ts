/** HTTP/2, frame by frame: what would be two requests, another one, or none, once it is written as HTTP/1.1 or for another reader of frames. */
import { block, flag, frame, setting, u32, type Fields } from './frames.ts';

export interface FrameRow {
  readonly name: string;
  /** Behind the preface and an empty settings frame; `raw`: instead of them. */
  readonly frames: readonly Buffer[];
  readonly raw?: true;
  /** `ends`: the stream is refused or reset, or the connection ended, and nothing arrives. A number: the status of the first answer. `mixed`: some is fine and some is not; what arrives counts. */
  readonly expect: 'ends' | 'mixed' | number;
  /** What arrives, `GET /ok body`; by default `GET /ok` for a 200. */
  readonly through?: readonly string[];
  /** What may arrive instead, where the fault comes behind a request that was fine. */
  readonly may?: readonly string[];
  /** Streams that are answered or reset, if the connection does not end before; by default one, or as many as arrive. */
  readonly streams?: number;
}

const all = flag.endHeaders | flag.endStream;
const pseudo = (path = '/ok', method = 'GET', authority = 'down.test', scheme = 'https'): Fields => [[':method', method], [':scheme', scheme], [':authority', authority], [':path', path]];
const fields = (more: Fields = [], method = 'GET'): Fields => [...pseudo('/ok', method), ...more];
const request = (head: Fields, id = 1, end = true): Buffer => frame('headers', flag.endHeaders | (end ? flag.endStream : 0), id, block(head));
const post = (more: Fields = [], id = 1): Buffer => request(fields(more, 'POST'), id, false);
const data = (text: string, end = true, id = 1): Buffer => frame('data', end ? flag.endStream : 0, id, text);
const good = request(fields());
const smuggled = 'GET /admin HTTP/1.1\r\nhost: denied.test\r\nx-injected: 1\r\n\r\n';
const blockOf = block(fields([['x-a', 'b']]));

/** Header blocks in pieces. */
const pieces: readonly FrameRow[] = [
  { name: 'a header block in continuations of one byte is one request', frames: [frame('headers', flag.endStream, 1, blockOf.subarray(0, 1)), ...[...blockOf.subarray(1, 6)].map((_, i) => frame('continuation', 0, 1, blockOf.subarray(1 + i, 2 + i))), frame('continuation', flag.endHeaders, 1, blockOf.subarray(6))], expect: 200 },
  { name: 'an empty first block and all in the continuation', frames: [frame('headers', flag.endStream, 1), frame('continuation', flag.endHeaders, 1, blockOf)], expect: 200 },
  { name: 'a ping between a header block and its continuation', frames: [frame('headers', flag.endStream, 1, blockOf), frame('ping', 0, 0, Buffer.alloc(8)), frame('continuation', flag.endHeaders, 1)], expect: 'ends' },
  { name: 'data between a header block and its continuation', frames: [frame('headers', 0, 1, blockOf), data('x'), frame('continuation', flag.endHeaders, 1)], expect: 'ends' },
  { name: 'another request between a header block and its continuation', frames: [frame('headers', flag.endStream, 1, blockOf), request(fields(), 3), frame('continuation', flag.endHeaders, 1)], expect: 'ends' },
  { name: 'an unknown frame between a header block and its continuation', frames: [frame('headers', flag.endStream, 1, blockOf), frame(0x42, 0, 0, 'x'), frame('continuation', flag.endHeaders, 1)], expect: 'ends' },
  { name: 'a continuation behind the end of the headers', frames: [request(fields([], 'POST'), 1, false), frame('continuation', flag.endHeaders, 1, block([['x-injected', '1']]))], expect: 'ends' },
  { name: 'a header block that is whole too early, the rest as data', frames: [frame('headers', flag.endHeaders, 1, blockOf.subarray(0, 10)), data(blockOf.subarray(10).toString('latin1'))], expect: 'ends' },
  { name: 'countless continuations without content', frames: [frame('headers', flag.endStream, 1, blockOf), ...Array.from({ length: 20_000 }, () => frame('continuation', 0, 1))], expect: 'ends' },
  { name: 'padding', frames: [frame('headers', all | flag.padded, 1, Buffer.concat([Buffer.from([9]), blockOf, Buffer.alloc(9)]))], expect: 200 },
  { name: 'padding that is a request', frames: [frame('headers', flag.endHeaders | flag.padded, 1, Buffer.concat([Buffer.from([0]), block(fields([], 'POST'))])), frame('data', flag.endStream | flag.padded, 1, Buffer.concat([Buffer.from([smuggled.length]), Buffer.from(`abc${smuggled}`)]))], expect: 200, through: ['POST /ok abc'] },
  { name: 'more padding than frame', frames: [frame('headers', all | flag.padded, 1, Buffer.concat([Buffer.from([255]), blockOf]))], expect: 'ends' },
  { name: 'data of padding only, and more than there is', frames: [post(), frame('data', flag.endStream | flag.padded, 1, Buffer.from([5, 0, 0]))], expect: 'ends' },
  { name: 'a priority on itself', frames: [frame('headers', all | flag.priority, 1, Buffer.concat([u32(1), Buffer.from([16]), blockOf]))], expect: 'ends' },
  { name: 'a priority that is cut', frames: [frame('headers', all | flag.priority, 1, Buffer.from([0, 0, 0]))], expect: 'ends' },
  { name: 'a priority of four bytes', frames: [frame('priority', 0, 1, u32(0)), good], expect: 'ends' },
  { name: 'a weight, and a dependency on what is not there', frames: [frame('headers', all | flag.priority, 1, Buffer.concat([u32(0x80000063), Buffer.from([255]), blockOf]))], expect: 200 },
];

/** Compression of headers (RFC 7541). */
const compression: readonly FrameRow[] = [
  { name: 'index zero', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from([0x80])]))], expect: 'ends' },
  { name: 'an index beyond the table', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from([0xbf + 0x20])]))], expect: 'ends' },
  { name: 'an index that overflows', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('ffffffffffffffffffff7f', 'hex')]))], expect: 'ends' },
  { name: 'a length that overflows', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('00017f' + 'ff'.repeat(10) + '7f', 'hex')]))], expect: 'ends' },
  { name: 'a text longer than its block', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('000178' + '7f61', 'hex')]))], expect: 'ends' },
  { name: 'a table larger than may be', frames: [frame('headers', all, 1, Buffer.concat([Buffer.from('3fffff7f', 'hex'), blockOf]))], expect: 'ends' },
  { name: 'a change of the table in the middle', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from([0x20])]))], expect: 'ends' },
  { name: 'Huffman code with its end inside', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('00017884ffffffff', 'hex')]))], expect: 'ends' },
  { name: 'Huffman code with padding of eight bits', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('00017882' + '1fff', 'hex')]))], expect: 'ends' },
  { name: 'Huffman code padded with zeroes', frames: [frame('headers', all, 1, Buffer.concat([blockOf, Buffer.from('00017881' + '18', 'hex')]))], expect: 'ends' },
  { name: 'a bomb: one long header, kept and named thousands of times', frames: [frame('headers', all, 1, Buffer.concat([block(fields()), block([['x-a', 'a'.repeat(3000)]], 0x40), Buffer.alloc(10_000, 0xbe)]))], expect: 'ends' },
  { name: 'a bomb over two requests', frames: [frame('headers', all, 1, Buffer.concat([block(fields()), block([['x-a', 'a'.repeat(3000)]], 0x40)])), frame('headers', all, 3, Buffer.concat([block(fields()), Buffer.alloc(12_000, 0xbe)]))], expect: 'mixed', through: ['GET /ok'], may: [], streams: 2 },
  { name: 'a header that is never to be kept', frames: [frame('headers', all, 1, Buffer.concat([block(fields()), block([['x-a', 'b']], 0x10)]))], expect: 200 },
];

/** Frames about the connection. */
const connection: readonly FrameRow[] = [
  { name: 'settings of five bytes', frames: [frame('settings', 0, 0, Buffer.alloc(5)), good], expect: 'ends' },
  { name: 'settings on a stream', frames: [frame('settings', 0, 1), good], expect: 'ends' },
  { name: 'an acknowledgement with content', frames: [frame('settings', flag.ack, 0, setting(1, 1)), good], expect: 'ends' },
  { name: 'a push setting of two', frames: [frame('settings', 0, 0, setting(2, 2)), good], expect: 'ends' },
  { name: 'a window beyond 2^31', frames: [frame('settings', 0, 0, setting(4, 0x80000000)), good], expect: 'ends' },
  { name: 'a frame size below the least', frames: [frame('settings', 0, 0, setting(5, 100)), good], expect: 'ends' },
  { name: 'a frame size beyond the most', frames: [frame('settings', 0, 0, setting(5, 0x1000000)), good], expect: 'ends' },
  { name: 'a table of 4 GiB is not filled', frames: [frame('settings', 0, 0, setting(1, 0xffffffff)), good], expect: 200 },
  { name: 'unknown settings', frames: [frame('settings', 0, 0, Buffer.concat([setting(0x99, 1), setting(8, 1)])), good], expect: 200 },
  { name: 'more settings than are taken', frames: [frame('settings', 0, 0, Buffer.concat(Array.from({ length: 1000 }, (_, i) => setting(0x100 + i, 1)))), good], expect: 'ends' },
  { name: 'a ping of seven bytes', frames: [frame('ping', 0, 0, Buffer.alloc(7)), good], expect: 'ends' },
  { name: 'a ping on a stream', frames: [frame('ping', 0, 1, Buffer.alloc(8)), good], expect: 'ends' },
  { name: 'a window update of three bytes', frames: [frame('window', 0, 0, Buffer.alloc(3)), good], expect: 'ends' },
  { name: 'a window that overflows', frames: [frame('window', 0, 0, u32(0x7fffffff)), good], expect: 'ends' },
  { name: 'a reset of nothing', frames: [frame('reset', 0, 0, u32(8)), good], expect: 'ends' },
  { name: 'a reset of a stream that never was', frames: [frame('reset', 0, 7, u32(8)), good], expect: 'ends' },
  { name: 'a reset of five bytes', frames: [post(), frame('reset', 0, 1, Buffer.alloc(5))], expect: 'ends' },
  { name: 'goodbye on a stream', frames: [frame('goaway', 0, 1, Buffer.alloc(8)), good], expect: 'ends' },
  { name: 'unknown frames are passed over', frames: [frame(0x42, 255, 0, smuggled), frame(0x0a, 0, 0, 'x'), frame(0x0c, 0, 0, Buffer.alloc(4)), frame(0x10, 0, 0, Buffer.concat([u32(1), Buffer.from('u=1')])), good], expect: 200 },
  { name: 'a push', frames: [frame('push', flag.endHeaders, 1, Buffer.concat([u32(2), blockOf]))], expect: 'ends' },
  { name: 'a frame of 2^24 bytes', frames: [Buffer.concat([Buffer.from('ffffff' + '01' + '05' + '00000001', 'hex'), Buffer.alloc(20_000)])], expect: 'ends' },
  { name: 'a request before the preface', frames: [Buffer.from('GET /ok HTTP/1.1\r\nHost: denied.test\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')], raw: true, expect: 'ends' },
  { name: 'a preface that is spelled otherwise', frames: [Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'), frame('settings', 0, 0), good], raw: true, expect: 'ends' },
  { name: 'a preface of HTTP/2.1', frames: [Buffer.from('PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n'), frame('settings', 0, 0), good], raw: true, expect: 'ends' },
  { name: 'a preface without settings', frames: [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), good], raw: true, expect: 'ends' },
  { name: 'two prefaces', frames: [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), good], expect: 'ends' },
];

/** Streams. */
const streams: readonly FrameRow[] = [
  { name: 'stream zero', frames: [request(fields(), 0)], expect: 'ends' },
  { name: 'an even stream', frames: [request(fields(), 2)], expect: 'ends' },
  { name: 'the largest stream', frames: [request(fields(), 0x7fffffff)], expect: 200 },
  { name: 'a reserved bit in the number of the stream', frames: [request(fields(), 0x80000001)], expect: 200 },
  { name: 'data on stream zero', frames: [data('x', true, 0)], expect: 'ends' },
  { name: 'data on a stream that never was', frames: [data(smuggled, true, 9)], expect: 'ends' },
  { name: 'data behind the end', frames: [request(fields()), data(smuggled)], expect: 'mixed', through: ['GET /ok'], may: [], streams: 2 },
  { name: 'trailers that say a path', frames: [post(), data('abc', false), frame('headers', all, 1, block([[':path', '/admin']]))], expect: 'ends' },
  { name: 'trailers that do not end the stream', frames: [post(), data('abc', false), frame('headers', flag.endHeaders, 1, block([['x-a', 'b']])), data(smuggled)], expect: 'ends' },
  { name: 'trailers that frame, route and log in are left out', frames: [post(), data('abc', false), frame('headers', all, 1, block([['content-length', '0'], ['host', 'denied.test'], ['transfer-encoding', 'chunked'], ['authorization', 'x'], ['trailer', 'x']]))], expect: 'ends' },
  { name: 'a body in frames of one byte, between empty ones', frames: [post(), ...[...'abc'].flatMap((c) => [data('', false), data(c, false)]), data('')], expect: 200, through: ['POST /ok abc'] },
  { name: 'a body that is a request stays a body', frames: [post(), data(`0\r\n\r\n${smuggled}`)], expect: 200, through: [`POST /ok 0\r\n\r\n${smuggled}`] },
];

/** What the fields say. */
const said: readonly (readonly [string, readonly Buffer[], 'ends' | number, (readonly string[])?])[] = [
  ['a body that is shorter than its length', [post([['content-length', '5']]), data('abc')], 'ends'], ['a body that is longer than its length', [post([['content-length', '2']]), data(`ab${smuggled}`)], 'ends'], ['a length and no body', [request(fields([['content-length', '5']], 'POST'))], 'ends'], ['a length of a GET', [request(fields([['content-length', '5']]))], 'ends'], ['two lengths that are equal', [post([['content-length', '3'], ['content-length', '3']]), data('abc')], 'ends'], ['a length in a list', [post([['content-length', '3, 3']]), data('abc')], 'ends'],
  ['a length with a blank', [post([['content-length', ' 3']]), data('abc')], 'ends'], ['a length below zero', [post([['content-length', '-1']]), data('abc')], 'ends'], ['a length in hexadecimal', [post([['content-length', '0x3']]), data('abc')], 'ends'], ['a length with an underscore', [post([['content_length', '3']]), data('abc')], 400], ['a transfer encoding with an underscore', [post([['transfer_encoding', 'chunked']]), data('abc')], 400], ['a fitting length', [post([['content-length', '3']]), data('abc')], 200, ['POST /ok abc']],
  ['the authority in capitals', [request(pseudo('/ok', 'GET', 'DOWN.TEST'))], 200], ['the authority with its port', [request(pseudo('/ok', 'GET', 'down.test:$PORT'))], 200], ['the authority with another port', [request(pseudo('/ok', 'GET', 'down.test:1'))], 421], ['the authority with a dot behind', [request(pseudo('/ok', 'GET', 'down.test.'))], 421], ['an empty authority', [request(pseudo('/ok', 'GET', ''))], 'ends'], ['an authority with a blank', [request(pseudo('/ok', 'GET', 'down.test denied.test'))], 'ends'], ['an authority in a list', [request(pseudo('/ok', 'GET', 'down.test,denied.test'))], 'ends'], ['an authority with a slash', [request(pseudo('/ok', 'GET', 'down.test/admin'))], 'ends'],
  ['an authority with a NUL, encoded', [request(pseudo('/ok', 'GET', 'down.test%00'))], 'ends'], ['an authority in brackets', [request(pseudo('/ok', 'GET', '[::1]'))], 'ends'], ['another allowed host on this connection', [request(pseudo('/ok', 'GET', 'plain.test'))], 421], ['a denied host on this connection', [request(pseudo('/ok', 'GET', 'denied.test'))], 421], ['a host beside an equal authority', [request(fields([['host', 'down.test']]))], 200], ['a host only', [request([[':method', 'GET'], [':scheme', 'https'], [':path', '/ok'], ['host', 'down.test']])], 200], ['a host beside another authority', [request(fields([['host', 'denied.test']]))], 'ends'],
  ['the scheme in capitals', [request(pseudo('/ok', 'GET', 'down.test', 'HTTPS'))], 'ends'], ['another scheme', [request(pseudo('/ok', 'GET', 'down.test', 'http'))], 'ends'], ['a scheme that is a URL', [request(pseudo('/ok', 'GET', 'down.test', 'https://denied.test/?'))], 'ends'], ['no scheme', [request([[':method', 'GET'], [':authority', 'down.test'], [':path', '/ok']])], 'ends'], ['two methods', [request([[':method', 'GET'], ...pseudo('/ok', 'POST')])], 'ends'], ['two schemes', [request([[':scheme', 'https'], ...pseudo()])], 'ends'], ['an empty method', [request(pseudo('/ok', ''))], 'ends'], ['a method that is not allowed', [request(pseudo('/ok', 'DELETE'))], 403], ['TRACE', [request(pseudo('/ok', 'TRACE'))], 405],
  ['CONNECT to another place', [request([[':method', 'CONNECT'], [':authority', 'denied.test:443']], 1, false), data(smuggled, false)], 'ends'], ['a status in a request', [request([...pseudo(), [':status', '200']])], 'ends'], ['a protocol in a request', [request([...pseudo(), [':protocol', 'websocket']])], 'ends'], ['a denied path', [request(pseudo('/admin'))], 403], ['a denied path, a letter encoded', [request(pseudo('/%61dmin'))], 403], ['a denied path, two slashes', [request(pseudo('//admin'))], 403], ['dot segments', [request(pseudo('/x/../admin'))], 400], ['an encoded line break', [request(pseudo('/ok%0d%0ax'))], 400], ['a hash', [request(pseudo('/ok#/admin'))], 'ends'], ['an asterisk', [request(pseudo('*', 'OPTIONS'))], 'ends'], ['a full URL for a path', [request(pseudo('https://denied.test/'))], 'ends'],
  ['a path that begins with a question mark', [request(pseudo('?/admin'))], 'ends'], ['a tab in the path', [request(pseudo('/ok\t/admin'))], 'ends'], ['a byte above 127 in the path', [request(pseudo('/ok\xff'))], 'ends'], ['a connection header', [request(fields([['connection', 'x-a']]))], 'ends'], ['an upgrade to h2c', [request(fields([['upgrade', 'h2c'], ['http2-settings', 'AAMAAABk']]))], 'ends'], ['a proxy’s login is dropped', [request(fields([['proxy-authorization', 'Basic eDp5']]))], 200], ['te: trailers', [request(fields([['te', 'trailers']]))], 200], ['te: gzip', [request(fields([['te', 'gzip']]))], 'ends'], ['cookies in crumbs are one', [request(fields([['cookie', 'a=1'], ['cookie', 'b=2']]))], 200],
  ['two logins', [request(fields([['authorization', 'a'], ['authorization', 'b']]))], 400], ['two content types', [post([['content-type', 'a/b'], ['content-type', 'c/d']]), data('x')], 400], ['another path in a header', [request(fields([['x-rewrite-url', '/admin']]))], 400], ['another host in a header', [request(fields([['x-forwarded-host', 'denied.test']]))], 421], ['another host of RFC 7239', [request(fields([['forwarded', 'host=denied.test']]))], 421], ['another method in a header', [request(fields([['x-http-method-override', 'DELETE']], 'POST'))], 400], ['another method in the query', [request(pseudo('/ok?_method=DELETE', 'POST'))], 400],
];

export const http2: readonly FrameRow[] = [
  { name: 'control: a request', frames: [good], expect: 200 },
  { name: 'control: a body', frames: [post(), data('abc')], expect: 200, through: ['POST /ok abc'] },
  { name: 'an allowed request, a denied one and an allowed one', frames: [request(pseudo('/1')), request(pseudo('/admin'), 3), request(pseudo('/2'), 5)], expect: 'mixed', through: ['GET /1', 'GET /2'], streams: 3 },
  ...pieces, ...compression, ...connection, ...streams,
  ...said.map(([name, frames, expect, through]): FrameRow => ({ name, frames, expect, ...(through ? { through } : {}) })),
];
