/** Handshakes that hide the name, or are none: hellos rewritten byte by byte, old versions, other protocols. */
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { once } from 'node:events';
import type { Checks } from '../../harness/checks.ts';
import { encrypt, enter, type World } from './desk.ts';
import { converse } from './http.ts';

/** The first bytes that OpenSSL sends. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const arrived = once(server, 'connection') as Promise<[Socket]>;
  const client = connectTls({ socket: connectTcp((server.address() as AddressInfo).port, '127.0.0.1'), ...options });
  client.on('error', () => undefined);
  const [socket] = await arrived;
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const record = (content: Buffer, type = 22): Buffer => Buffer.concat([Buffer.from([type, 3, 1]), u16(content.length), content]);
const extension = (type: number, body: Buffer): Buffer => Buffer.concat([u16(type), u16(body.length), body]);
const nameOf = (name: string, type = 0): Buffer => Buffer.concat([Buffer.from([type]), u16(name.length), Buffer.from(name, 'latin1')]);
const names = (...all: readonly Buffer[]): Buffer => Buffer.concat([u16(Buffer.concat(all).length), ...all]);

/** The hello with its server name extension replaced, and `more` behind the others. */
function rewrite(hello: Buffer, serverName: readonly Buffer[], more: readonly Buffer[] = []): Buffer {
  const message = hello.subarray(9);
  let at = 34;
  at += 1 + message.readUInt8(at);
  at += 2 + message.readUInt16BE(at);
  at += 1 + message.readUInt8(at);
  const kept: Buffer[] = [];
  for (let i = at + 2; i < message.length; i += 4 + message.readUInt16BE(i + 2)) if (message.readUInt16BE(i) !== 0) kept.push(message.subarray(i, i + 4 + message.readUInt16BE(i + 2)));
  const extensions = Buffer.concat([...serverName.map((body) => extension(0, body)), ...kept, ...more]);
  const whole = Buffer.concat([message.subarray(0, at), u16(extensions.length), extensions]);
  return record(Buffer.concat([Buffer.from([1, whole.length >> 16, (whole.length >> 8) & 255, whole.length & 255]), whole]));
}
const inRecords = (hello: Buffer, size: number): Buffer => Buffer.concat(Array.from({ length: Math.ceil((hello.length - 5) / size) }, (_, i) => record(hello.subarray(5 + i * size, Math.min(hello.length, 5 + (i + 1) * size)))));

export async function tlsCases(check: Checks, world: World): Promise<void> {
  const { desk, secure, denied } = world;
  const heard = denied.accepted();
  const good = await helloOf({ servername: 'allowed.test', ALPNProtocols: ['http/1.1'] });
  const other = await helloOf({ servername: 'denied.test' });
  const nobody = await helloOf({});
  const old = (minVersion: 'TLSv1' | 'TLSv1.1'): Promise<Buffer> => helloOf({ servername: 'allowed.test', minVersion, maxVersion: minVersion, ciphers: 'DEFAULT@SECLEVEL=0' });
  const swap = (from: string, to: string): Buffer => rewrite(good, [names(nameOf(to))]).length > 0 && from.length === to.length ? Buffer.from(good.toString('latin1').replace(from, to), 'latin1') : rewrite(good, [names(nameOf(to))]);
  const rows: readonly (readonly [string, Buffer, boolean])[] = [
    ['control: the hello as it is', good, true], ['control: a hello in records of seven bytes', inRecords(good, 7), true], ['control: a hello in records of one byte', inRecords(good, 1), true], ['the name in capitals', swap('allowed.test', 'ALLOWED.TEST'), true], ['an encrypted hello beside the outer one', rewrite(good, [names(nameOf('allowed.test'))], [extension(0xfe0d, Buffer.alloc(64))]), true],
    ['another name', other, false], ['another name in records of one byte', inRecords(other, 1), false], ['no name', nobody, false], ['a name with a dot behind', rewrite(good, [names(nameOf('allowed.test.'))]), false], ['a name with a NUL', rewrite(good, [names(nameOf('allowed.test\0.denied.test'))]), false], ['an address for a name', rewrite(good, [names(nameOf('127.0.0.1'))]), false],
    ['two names in one extension', rewrite(good, [names(nameOf('allowed.test'), nameOf('denied.test'))]), false], ['two names, the denied first', rewrite(good, [names(nameOf('denied.test'), nameOf('allowed.test'))]), false], ['two extensions', rewrite(good, [names(nameOf('allowed.test')), names(nameOf('denied.test'))]), false], ['a name of an unknown kind', rewrite(good, [names(nameOf('allowed.test', 1))]), false],
    ['an empty name', rewrite(good, [names(nameOf(''))]), false], ['an empty list', rewrite(good, [names()]), false], ['a list longer than its extension', rewrite(good, [Buffer.concat([u16(99), nameOf('allowed.test')])]), false], ['a name in Unicode', rewrite(good, [names(nameOf('\xd0\xb0llowed.test'))]), false], ['a name of 300 letters', rewrite(good, [names(nameOf('a'.repeat(300)))]), false],
    ['a wildcard for a name', rewrite(good, [names(nameOf('*.test'))]), false], ['TLS 1.0', await old('TLSv1'), false], ['TLS 1.1', await old('TLSv1.1'), false], ['only an unknown protocol', await helloOf({ servername: 'allowed.test', ALPNProtocols: ['spdy/3'] }), false], ['SSL 2', Buffer.from('802e0100020015000000100100800200800300800400800500800600400700c0', 'hex'), false],
    ['an empty record first', Buffer.concat([record(Buffer.alloc(0)), good]), false], ['an alert first', Buffer.concat([record(Buffer.from([1, 0]), 21), good]), false], ['another message first', Buffer.concat([record(Buffer.from([2, 0, 0, 0])), good]), false], ['a hello of a megabyte', record(Buffer.concat([Buffer.from([1, 0x0f, 0xff, 0xff]), Buffer.alloc(16_000)])), false], ['a hello that never ends', good.subarray(0, good.length - 1), false],
    ['a record longer than may be', Buffer.concat([Buffer.from([22, 3, 1, 0xff, 0xff]), good.subarray(5)]), false], ['two hellos', Buffer.concat([other, good]), false],
  ];
  for (const [name, bytes, may] of rows) {
    const from = secure.requests.length;
    const raw = await enter(desk, 'captured', 'allowed.test', secure.port);
    if (!raw) throw new Error('no way in');
    let first = Buffer.alloc(0);
    raw.on('data', (chunk: Buffer) => { first = Buffer.concat([first, chunk]); });
    raw.write(bytes);
    const deadline = setTimeout(() => raw.destroy(), 10_000);
    await new Promise<void>((done) => {
      raw.on('data', () => done());
      raw.once('close', () => done());
    });
    clearTimeout(deadline);
    raw.destroy();
    // A server that takes the hello answers with a handshake record whose first message is its own hello.
    check.that(`${name}: ${may ? 'answered' : 'no handshake'}`, (first[0] === 22 && first[5] === 2) === may && secure.requests.length === from && denied.accepted() === heard, first.subarray(0, 16).toString('hex'));
  }
  const pinned = async (servername: string): Promise<boolean> => {
    const raw = await enter(desk, 'captured', 'pinned.test', secure.port);
    if (!raw) return false;
    const tls = connectTls({ socket: raw, servername, rejectUnauthorized: false });
    const through = await new Promise<boolean>((done) => tls.once('secureConnect', () => done(true)).once('error', () => done(false)).once('close', () => done(false)));
    tls.destroy();
    return through;
  };
  check.that('control: a name that is passed on unread', await pinned('pinned.test'));
  const connections = secure.accepted();
  for (const name of ['denied.test', 'allowed.test', '']) check.that(`passed on unread, with ${name === '' ? 'no name' : `the name ${name}`}: not connected`, !(await pinned(name)) && secure.accepted() === connections);
  const from = secure.requests.length;
  const raw = await enter(desk, 'captured', 'allowed.test', secure.port);
  if (!raw) throw new Error('no way in');
  const tls = connectTls({ socket: raw, servername: 'allowed.test', ca: desk.rootPem, maxVersion: 'TLSv1.2' });
  await once(tls, 'secureConnect');
  tls.on('error', () => undefined);
  const gone = new Promise<boolean>((done) => tls.once('close', () => done(true)));
  for (let i = 0; i < 6; i += 1) tls.renegotiate({}, () => undefined);
  const cut = await Promise.race([gone, converse(tls, Buffer.from('GET /ok HTTP/1.1\r\nHost: denied.test\r\n\r\n'), 1).then((text) => !text.startsWith('HTTP/1.1 200'))]);
  check.that('renegotiated again and again, then another host: nothing arrives', cut && secure.requests.length === from);
  const plain = await enter(desk, 'captured', 'allowed.test', secure.port);
  const text = plain ? await converse(plain, Buffer.from('GET /ok HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), 1) : '';
  check.that('a plain request to the port of TLS does not arrive as one', !text.startsWith('HTTP/1.1 200') && secure.requests.length === from, text);
  const again = await enter(desk, 'captured', 'allowed.test', secure.port);
  const inner = again ? await encrypt(desk, again, 'allowed.test') : undefined;
  const nested = inner ? await converse(inner, good, 1) : '';
  check.that('TLS inside TLS: refused', !nested.startsWith('HTTP/1.1 200') && secure.requests.length === from, nested);
}
