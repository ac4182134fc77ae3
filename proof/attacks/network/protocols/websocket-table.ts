/** WebSocket, byte by byte: handshakes that are none, frames that two readers would cut differently, origins that lie. */
import type { Row } from './play.ts';
import type { Origin } from './listeners.ts';

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const handshake = (path = '/ws', more = '', without = ''): string => {
  const lines = [`GET ${path} HTTP/1.1`, 'Host: ws.test', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Key: ${key}`, 'Sec-WebSocket-Version: 13'].filter((line) => without === '' || !line.startsWith(without));
  return `${lines.join('\r\n')}\r\n${more}\r\n`;
};
const opened = 'GET /ws HTTP/1.1';
const bytes = (...all: readonly number[]): string => String.fromCharCode(...all);
const mask = [1, 2, 3, 4] as const;
const masked = (text: string): string => [...text].map((c, i) => String.fromCharCode(c.charCodeAt(0) ^ (mask[i & 3] ?? 0))).join('');
/** `first`: the first byte; the length in the shortest way. */
const frame = (first: number, text: string): string => bytes(first, ...(text.length < 126 ? [0x80 | text.length] : text.length < 65_536 ? [0xfe, text.length >> 8, text.length & 255] : [0xff, 0, 0, 0, 0, (text.length >>> 24) & 255, (text.length >>> 16) & 255, (text.length >>> 8) & 255, text.length & 255]), ...mask) + masked(text);
const text = (content: string): string => frame(0x81, content);
const smuggled = 'GET /admin HTTP/1.1\r\nHost: ws.test\r\nX-Injected: 1\r\n\r\n';
/** A close frame of ours with this code. */
const closedWith = (code: number): RegExp => new RegExp(`\\x88[\\s\\S]${String.fromCharCode(code >> 8).replace(/[\x00-\x1f]/, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}\\x${(code & 255).toString(16).padStart(2, '0')}`);

const got = /\x81\x03got$/;

/** What ends the connection with this code; what came before it arrived, if anything. */
const bad: readonly (readonly [string, number, string, (readonly string[])?])[] = [
  ['an unmasked frame', 1002, `${bytes(0x81, 2)}hi`], ['an unmasked frame behind a good one', 1002, `${text('one')}${bytes(0x81, 2)}hi`, ['text one']], ['an unmasked ping', 1002, bytes(0x89, 0)], ['the first reserved bit', 1002, frame(0xc1, 'hi')], ['the second reserved bit', 1002, frame(0xa1, 'hi')], ['the third reserved bit', 1002, frame(0x91, 'hi')], ['a reserved bit on a ping', 1002, frame(0xc9, '')],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((kind): readonly [string, number, string] => [`kind ${kind}`, 1002, frame(0x80 | kind, 'x')]),
  ['a ping that is cut', 1002, frame(0x09, 'x')], ['a close that is cut', 1002, frame(0x08, '')], ['a ping of 126 bytes', 1002, frame(0x89, 'x'.repeat(126))], ['a close of 126 bytes', 1002, frame(0x88, '\x03\xe8'.padEnd(126, 'x'))], ['a continuation of nothing', 1002, frame(0x80, 'x')], ['a message inside another', 1002, frame(0x01, 'a') + text('b')], ['a length of two bytes that fits in one', 1002, `${bytes(0x81, 0xfe, 0, 2, ...mask)}${masked('hi')}`],
  ['a length of eight bytes that fits in two', 1002, `${bytes(0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, ...mask)}${masked('hi')}`], ['a length beyond 2^63', 1009, bytes(0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, ...mask)], ['a length of 2^40', 1009, bytes(0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, ...mask)], ['fragments that are too much together', 1009, frame(0x02, 'x'.repeat(1000)) + bytes(0x80, 0xff, 0, 0, 0, 0, 0x7f, 255, 255, 255, ...mask)],
  ['bad UTF-8', 1007, text('\xff')], ['UTF-8 of a surrogate', 1007, text('\xed\xa0\x80')], ['overlong UTF-8', 1007, text('\xc0\xaf')], ['UTF-8 that ends in the middle', 1007, text('\xe2\x82')], ['UTF-8 that two fragments spoil', 1007, frame(0x01, '\xe2') + frame(0x80, '\x28')], ['a close of one byte', 1002, frame(0x88, 'x')], ['a close with 1005', 1002, frame(0x88, '\x03\xed')], ['a close with 1006', 1002, frame(0x88, '\x03\xee')], ['a close with 999', 1002, frame(0x88, '\x03\xe7')], ['a close with 2000', 1002, frame(0x88, '\x07\xd0')],
  ['a close with 5000', 1002, frame(0x88, '\x13\x88')], ['a close with a reason that is no UTF-8', 1007, frame(0x88, '\x03\xe8\xff')], ['a request of HTTP instead of frames', 1002, smuggled], ['a request of HTTP behind a frame', 1002, text('one') + smuggled, ['text one']], ['countless empty fragments', 1002, frame(0x01, '') + frame(0x00, '').repeat(2000)],
];

/** No handshake: nothing of it arrives. */
const none: readonly (readonly [string, string])[] = [
  ['no key', handshake('/ws', '', 'Sec-WebSocket-Key')], ['a short key', handshake('/ws', 'Sec-WebSocket-Key: c2hvcnQ=\r\n', 'Sec-WebSocket-Key')], ['a key that is no base64', handshake('/ws', `Sec-WebSocket-Key: ${'!'.repeat(24)}\r\n`, 'Sec-WebSocket-Key')], ['two keys', handshake('/ws', `Sec-WebSocket-Key: ${key}\r\n`)], ['no version', handshake('/ws', '', 'Sec-WebSocket-Version')], ['version 8', handshake('/ws', 'Sec-WebSocket-Version: 8\r\n', 'Sec-WebSocket-Version')], ['two versions', handshake('/ws', 'Sec-WebSocket-Version: 8\r\n')],
  ['another protocol', handshake('/ws', 'Upgrade: h2c\r\n', 'Upgrade')], ['two protocols', handshake('/ws', 'Upgrade: websocket, h2c\r\n', 'Upgrade')], ['a second protocol', handshake('/ws', 'Upgrade: h2c\r\n')], ['h2c with its settings', handshake('/ws', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n', 'Upgrade').replace('Connection: Upgrade', 'Connection: Upgrade, HTTP2-Settings')], ['a POST', handshake().replace('GET', 'POST')], ['HTTP/1.0', handshake().replace('HTTP/1.1', 'HTTP/1.0')], ['a body', handshake('/ws', 'Content-Length: 5\r\n') + 'hello'],
  ['a body in chunks', `${handshake('/ws', 'Transfer-Encoding: chunked\r\n')}5\r\nhello\r\n0\r\n\r\n`], ['a subprotocol twice', handshake('/ws', 'Sec-WebSocket-Protocol: a, a\r\n')], ['a subprotocol that is none', handshake('/ws', 'Sec-WebSocket-Protocol: a b\r\n')], ['another path', handshake('/admin')], ['another path, encoded', handshake('/ws/..%2fadmin')], ['dot segments', handshake('/ws/../admin')], ['another host', handshake().replace('Host: ws.test', 'Host: graph.test')],
  ['no Connection', handshake('/ws', '', 'Connection')], ['Connection names a header', handshake('/ws', 'Connection: Upgrade, Authorization\r\nAuthorization: x\r\n', 'Connection')], ['no WebSocket at all', 'GET /ws HTTP/1.1\r\nHost: ws.test\r\n\r\n'],
];

const server = (first: number, content: string): Buffer => Buffer.from(bytes(first, content.length) + content, 'latin1');
/** By what an origin does: the client is told so and gets nothing of it. */
const liars: Readonly<Record<string, readonly [string, Origin, RegExp, string?]>> = {
  '/from/other-key': ['accepts another key', { instead: () => 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n' }, /^HTTP\/1\.1 502 /],
  '/from/no-key': ['accepts no key', { instead: () => 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n' }, /^HTTP\/1\.1 502 /],
  '/from/extension': ['uses an extension', { instead: (accept) => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n` }, /^HTTP\/1\.1 502 /],
  '/from/protocol': ['chooses what nobody offered', { instead: (accept) => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: x\r\n\r\n` }, /^HTTP\/1\.1 502 /],
  '/from/h2c': ['changes to another protocol', { instead: (accept) => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n` }, /^HTTP\/1\.1 502 /],
  '/from/nothing': ['answers with no HTTP', { instead: () => 'SSH-2.0-x\r\n' }, /^HTTP\/1\.1 502 /],
  '/from/masked': ['masks its frames', { after: Buffer.from(frame(0x81, 'evil'), 'latin1') }, closedWith(1011), 'close 1002'],
  '/from/reserved': ['sets a reserved bit', { after: server(0xc1, 'evil') }, closedWith(1011), 'close 1002'],
  '/from/kind': ['sends an unknown kind', { after: server(0x83, 'evil') }, closedWith(1011), 'close 1002'],
  '/from/utf8': ['sends bad UTF-8', { after: server(0x81, '\xff\xfe') }, closedWith(1011), 'close 1007'],
  '/from/http': ['sends an answer of HTTP behind', { after: Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil') }, closedWith(1011), 'close 1002'],
};
export const origins: Readonly<Record<string, Origin>> = { ...Object.fromEntries(Object.entries(liars).map(([path, [, origin]]) => [path, origin])), '/from/plain': { instead: () => 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok' } };

export const websocket: readonly Row[] = [
  { name: 'control: a message', say: [handshake(), text('hello')], told: got, hears: [opened, 'text hello', 'close 1001'] },
  { name: 'control: a handshake and a message in one piece', say: [handshake() + text('hello')], told: got, hears: [opened, 'text hello', 'close 1001'] },
  { name: 'a message in fragments, with a ping between them, goes on in one', say: [handshake(), frame(0x01, 'hel') + frame(0x89, 'p') + frame(0x00, '') + frame(0x80, 'lo') + text('end')], told: /got[\s\S]*got/, hears: [opened, 'ping p', 'text hello', 'text end', 'close 1001'] },
  { name: 'an extension that is offered is not offered on', say: [handshake('/ws', 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n'), text('hello')], told: /^(?![\s\S]*extensions)[\s\S]*101 [\s\S]*got/i, hears: [opened, 'text hello', 'close 1001'] },
  { name: 'what stands behind a close is not read', say: [handshake(), frame(0x88, '\x03\xe8bye') + text('late') + smuggled], told: 'closed', hears: [opened, 'close 1000'] },
  ...bad.map(([name, code, what, before = []]): Row => ({ name: `frames, ${name}: ended with ${code}`, say: [handshake(), what], told: closedWith(code), hears: [opened, ...before, 'close 1001'] })),
  ...none.map(([name, what]): Row => ({ name: `handshake, ${name}: refused`, say: [what + text('hello') + smuggled], told: /^HTTP\/1\.1 (?:4|501)/, hears: [] })),
  ...Object.entries(liars).map(([path, [name, , told, end]]): Row => ({ name: `an origin that ${name}`, say: [handshake(path)], told, hears: [`GET ${path} HTTP/1.1`, ...(end === undefined ? [] : [end])] })),
  { name: 'behind a handshake that was not taken, a request is none (an upgrade that only seems to be one)', say: [handshake('/from/plain') + smuggled, smuggled], told: 'closed', hears: ['GET /from/plain HTTP/1.1'] },
];
