/** gRPC, frame by frame: calls in disguise, messages whose frames lie, and what stands behind them. */
import { deflateSync, gzipSync } from 'node:zlib';
import { block, flag, frame, type Fields } from './frames.ts';

export interface GrpcRow {
  readonly name: string;
  readonly frames: readonly Buffer[];
  /** The call that is whole at the other side: its path and the bytes of its body; none by default. */
  readonly arrives?: string;
}

export const framed = (content: Buffer | string, compressed = 0, length?: number): Buffer => {
  const bytes = Buffer.from(content);
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(length ?? bytes.length, 1);
  return Buffer.concat([head, bytes]);
};
const say = '/demo.Echo/Say';
const head = (path = say, more: Fields = [], method = 'POST', type = 'application/grpc'): Buffer =>
  frame('headers', flag.endHeaders, 1, block([[':method', method], [':scheme', 'http'], [':authority', 'grpc.test:$PORT'], [':path', path], ['content-type', type], ['te', 'trailers'], ...more]));
const data = (bytes: Buffer, end = true): Buffer => frame('data', end ? flag.endStream : 0, 1, bytes);
const call = (bytes: Buffer, more: Fields = []): readonly Buffer[] => [head(say, more), data(bytes)];
/** Where plain HTTP is allowed: calls of gRPC-Web and Connect. */
const web = '/web/Say';
const webCall = (type: string, bytes: Buffer, more: Fields = []): readonly Buffer[] => [head(web, more, 'POST', `application/${type}`), data(bytes)];
const trailers = (fields: Fields): readonly Buffer[] => [head(), data(framed('hello'), false), frame('headers', flag.endHeaders | flag.endStream, 1, block(fields))];
const shown = (...messages: readonly Buffer[]): string => `${say} ${Buffer.concat(messages).toString('hex')}`;
const card = 'card 4111111111111111 .';
const large = Buffer.alloc(24 << 20, 0x61);

const paths: readonly (readonly [string, string])[] = [
  ['another method', '/demo.Echo/Erase'], ['another service', '/demo.Admin/Say'], ['the method in small letters', '/demo.Echo/say'], ['the service in capitals', '/DEMO.ECHO/Say'], ['dot segments', '/demo.Echo/Say/../Erase'], ['dot segments, encoded', '/demo.Echo/%2e%2e/demo.Admin/Say'], ['an encoded slash', '/demo.Admin%2fSay'], ['two slashes', '//demo.Admin/Say'], ['a third part', '/demo.Echo/Say/Erase'], ['one part', '/demo.Echo'], ['a parameter', '/demo.Admin/Say;/demo.Echo/Say'], ['a hash', '/demo.Admin/Say#/demo.Echo/Say'], ['a NUL', '/demo.Echo/Say%00'], ['a line break', '/demo.Echo/Say%0d%0a'], ['no slash', 'demo.Echo/Say'],
];

const broken: readonly (readonly [string, Buffer])[] = [
  ['flag two', framed('hello', 2)], ['flag 255', framed('hello', 255)], ['flag 128, trailers of gRPC-Web', framed('grpc-status: 0', 128)], ['a message that is cut', framed('hello', 0, 10)], ['a message of 4 GiB', framed('hello', 0, 0xffffffff)], ['a head that is cut', Buffer.from([0, 0, 0])], ['a good message and one that is cut', Buffer.concat([framed('hello'), framed('x', 0, 9)])], ['a good message and a request', Buffer.concat([framed('hello'), Buffer.from('GET /admin HTTP/1.1\r\n\r\n')])], ['a message shorter than its bytes', framed('hello', 0, 2)],
  ['a card', framed(card)], ['a card over two messages of a good one', Buffer.concat([framed('hello'), framed(card)])],
];
const compressed: readonly (readonly [string, string, Buffer])[] = [
  ['a card in gzip', 'gzip', framed(gzipSync(card), 1)], ['a card in deflate', 'deflate', framed(deflateSync(card), 1)], ['24 MiB in gzip', 'gzip', framed(gzipSync(large), 1)], ['gzip that is damaged', 'gzip', framed('hello', 1)], ['an encoding that nobody knows', 'snappy', framed('hello', 1)], ['gzip that is said to be deflate', 'deflate', framed(gzipSync(card), 1)],
];

const hidden = framed(gzipSync(card), 1);
const around: readonly (readonly [string, readonly Buffer[]])[] = [
  ['gRPC, compressed by nothing', call(hidden)], ['gRPC, compressed by identity', call(hidden, [['grpc-encoding', 'identity']])],
  ['gRPC-Web, compressed by nothing', webCall('grpc-web+proto', hidden)], ['gRPC-Web in gzip', webCall('grpc-web', hidden, [['grpc-encoding', 'gzip']])],
  ['gRPC-Web in base64', webCall('grpc-web-text', Buffer.from(framed(card).toString('base64')))], ['gRPC-Web in base64 and gzip', webCall('grpc-web-text+proto', Buffer.from(hidden.toString('base64')), [['grpc-encoding', 'gzip']])],
  ['Connect', webCall('connect+json', framed(card))], ['Connect in gzip', webCall('connect+proto', hidden, [['connect-content-encoding', 'gzip']])], ['Connect, compressed by nothing', webCall('connect+json', hidden)],
  ['Connect of a codec with a name of its own', webCall('connect+my_codec', hidden, [['connect-content-encoding', 'gzip']])], ['Connect in gzip, all of it in gzip again', webCall('connect+proto', gzipSync(hidden), [['connect-content-encoding', 'gzip'], ['content-encoding', 'gzip']])],
  ['one message of Connect in gzip', webCall('json', gzipSync(JSON.stringify({ note: card })), [['content-encoding', 'gzip']])],
];

export const grpc: readonly GrpcRow[] = [
  { name: 'control: a call', frames: call(framed('hello')), arrives: shown(framed('hello')) },
  { name: 'control: two messages, in frames of one byte', frames: [head(), ...[...Buffer.concat([framed('a'), framed('b')])].map((byte) => data(Buffer.from([byte]), false)), data(Buffer.alloc(0))], arrives: shown(framed('a'), framed('b')) },
  { name: 'control: nothing said', frames: call(framed('')), arrives: shown(framed('')) },
  { name: 'control: in gzip', frames: call(framed(gzipSync('hello'), 1), [['grpc-encoding', 'gzip']]), arrives: shown(framed(gzipSync('hello'), 1)) },
  { name: 'control: Connect in gzip', frames: webCall('connect+proto', framed(gzipSync('hello'), 1), [['connect-content-encoding', 'gzip']]), arrives: `${web} ${framed(gzipSync('hello'), 1).toString('hex')}` },
  ...around.map(([name, frames]): GrpcRow => ({ name: `a card in ${name}`, frames })),
  ...paths.map(([name, path]): GrpcRow => ({ name: `path, ${name}`, frames: [head(path), data(framed('hello'))] })),
  ...broken.map(([name, bytes]): GrpcRow => ({ name, frames: call(bytes) })),
  ...compressed.map(([name, encoding, bytes]): GrpcRow => ({ name, frames: call(bytes, [['grpc-encoding', encoding]]) })),
  ...(['GET', 'PUT', 'OPTIONS', 'DELETE'] as const).map((method): GrpcRow => ({ name: `by ${method}`, frames: [head(say, [], method), data(framed('hello'))] })),
  ...(['text/plain', 'application/json', 'application/grpcx', 'multipart/form-data; boundary=b'] as const).map((type): GrpcRow => ({ name: `said to be ${type}`, frames: [head(say, [], 'POST', type), data(framed('hello'))] })),
  { name: 'two content types', frames: call(framed('hello'), [['content-type', 'text/plain']]) },
  { name: 'another length than its bytes', frames: call(framed('hello'), [['content-length', '3']]) },
  { name: 'another path in a header', frames: call(framed('hello'), [['x-original-url', '/demo.Echo/Erase']]) },
  { name: 'trailers that say a path', frames: trailers([[':path', '/demo.Echo/Erase']]) },
  { name: 'trailers that are cut', frames: [head(), data(framed('hello'), false), frame('headers', flag.endStream, 1, block([['x', 'y']])), frame('ping', 0, 0, Buffer.alloc(8))] },
];
