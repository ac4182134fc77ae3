/** Ways to name another place at the proxy's own doors: every spelling of an address, of a denied name, of the door itself; and names that lead inside. */
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import type { Checks } from '../../harness/checks.ts';
import { doorPort, enter, firstBytes, ssrfAddresses, type World } from './desk.ts';
import { converse, outcomeOf } from './http.ts';

/** Spellings of this machine, of the cloud's metadata, and of the denied name. */
export const spellings: readonly string[] = [
  '127.0.0.1', '127.1', '127.0.1', '2130706433', '0x7f000001', '0x7f.0.0.1', '0x7f.1', '0177.0.0.1', '017700000001', '0177.0x0.0.1', '127.0.0.01', '0', '0.0.0.0', '[::1]', '[::]', '[0:0:0:0:0:0:0:1]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[::1%25lo]', 'localhost', 'localhost.',
  'LOCALHOST', 'ip6-localhost', '127.0.0.1.', '127.0.0.1.nip.test', '\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1', '127\xe3\x80\x820\xe3\x80\x820\xe3\x80\x821', '\xe2\x93\xab\xe2\x93\xaa', '169.254.169.254', '2852039166', '0xa9fea9fe', '[::ffff:a9fe:a9fe]', '[fd00:ec2::254]', 'metadata.google.internal', '10.0.0.1', '192.168.0.1', '100.100.100.200', '168.63.129.16',
  'denied.test', 'DENIED.TEST', 'denied.test.', '%64enied.test', 'allowed.test@denied.test', 'denied.test#allowed.test', 'denied.test?allowed.test', 'denied.test\\allowed.test', 'allowed.test\0.denied.test', 'denied.test%00.allowed.test', 'allowed.test.denied.test', 'xn--denied-.test', 'secret.wild.test', 'a.secret.wild.test.', 'wild.test', 'proxy.local', '',
];

/** Those that the resolver of this machine takes for an address lead to the denied canary without the proxy. */
async function worksDirectly(check: Checks, world: World): Promise<void> {
  let reached = 0;
  for (const spelling of spellings) {
    const name = spelling.replace(/^\[|\]$/g, '');
    const found = /^[\w.:]+$/.test(name) ? await lookup(name).catch(() => undefined) : undefined;
    if (!found || !/^(127\.|0\.0\.0\.0|::1$|::$|::ffff:127)/.test(found.address)) continue;
    const socket = connect(world.denied.port, found.address);
    reached += await new Promise<number>((done) => socket.once('connect', () => done(1)).once('error', () => done(0)));
    socket.destroy();
  }
  check.that(`${reached} spellings lead to the canary without the proxy`, reached >= 8, reached);
}

/** What an attempt at a door came to: the text of its answer. */
async function knock(world: World, bytes: Buffer, enough: (text: string) => boolean): Promise<string> {
  const socket = await world.desk.tcp('proxy.local', doorPort);
  const text = await firstBytes(socket, bytes, enough);
  socket.destroy();
  return text;
}

export async function doorCases(check: Checks, world: World): Promise<void> {
  await worksDirectly(check, world);
  const { denied, desk } = world;
  const heard = denied.accepted();
  const head = (text: string): boolean => text.includes('\r\n\r\n');
  for (const spelling of spellings) {
    const shown = JSON.stringify(spelling);
    const place = `${spelling}:${denied.port}`;
    const [tunnel, absolute] = [
      await knock(world, Buffer.from(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n\r\n`, 'latin1'), head),
      await knock(world, Buffer.from(`GET http://${place}/ HTTP/1.1\r\nHost: ${place}\r\n\r\n`, 'latin1'), head),
    ];
    const name = Buffer.from(spelling.replace(/^\[|\]$/g, ''), 'latin1');
    const socks = await knock(world, Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, name.length]), name, Buffer.from([denied.port >> 8, denied.port & 255])]), (text) => text.length >= 4);
    const says = { tunnel: tunnel.slice(0, 60), absolute: absolute.slice(0, 60), socks: [...Buffer.from(socks, 'latin1')] };
    check.that(`${shown} by CONNECT, full URL and SOCKS5: refused`, !/^HTTP\/1\.1 2/.test(tunnel) && !/^HTTP\/1\.1 2/.test(absolute) && socks.charCodeAt(3) !== 0 && denied.accepted() === heard, says);
  }
  const raw: readonly (readonly [string, string])[] = [
    ['CONNECT with another Host', 'CONNECT allowed.test:$PORT HTTP/1.1\r\nHost: denied.test:$DENIED\r\n\r\n'], ['CONNECT with two Hosts', 'CONNECT allowed.test:$PORT HTTP/1.1\r\nHost: allowed.test:$PORT\r\nHost: denied.test\r\n\r\n'], ['CONNECT to the allowed name on another port', 'CONNECT allowed.test:$DENIED HTTP/1.1\r\nHost: allowed.test:$DENIED\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test:$DENIED\r\n\r\n'],
    ['CONNECT without a port', 'CONNECT allowed.test HTTP/1.1\r\nHost: allowed.test\r\n\r\n'], ['CONNECT with a full URL', 'CONNECT http://allowed.test:$PORT/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n'], ['CONNECT with a port that wraps', 'CONNECT allowed.test:65616 HTTP/1.1\r\nHost: allowed.test\r\n\r\n'],
    ['CONNECT behind a refused CONNECT', 'CONNECT denied.test:$DENIED HTTP/1.1\r\nHost: denied.test:$DENIED\r\n\r\nCONNECT denied.test:$DENIED HTTP/1.1\r\nHost: denied.test:$DENIED\r\n\r\n'], ['a line break in the target', 'CONNECT allowed.test:$PORT\r\nX: HTTP/1.1\r\n\r\n'],
    ['SOCKS4', '\x04\x01\0\x50\x7f\0\0\x01\0'], ['SOCKS4a', '\x04\x01\0\x50\0\0\0\x01\0denied.test\0'], ['SOCKS5 with a password only', '\x05\x01\x02'], ['SOCKS5 BIND', '\x05\x01\0\x05\x02\0\x01\x7f\0\0\x01\0\x50'], ['SOCKS5 UDP', '\x05\x01\0\x05\x03\0\x01\x7f\0\0\x01\0\x50'], ['SOCKS5 to an address', '\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01\0\x50'],
    ['SOCKS5 to a mapped address', `\x05\x01\0\x05\x01\0\x04${'\0'.repeat(10)}\xff\xff\x7f\0\0\x01\0\x50`], ['SOCKS5 to an unknown kind', '\x05\x01\0\x05\x01\0\x09\x7f\0\0\x01\0\x50'], ['the PROXY protocol', 'PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: denied.test\r\n\r\n'], ['the PROXY protocol, second version', '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x50'],
  ];
  for (const [what, bytes] of raw) {
    const from = world.plain.accepted();
    const text = await knock(world, Buffer.from(world.fill(bytes), 'latin1'), (answer) => (answer.startsWith('HTTP') ? !answer.startsWith('HTTP/1.1 200 Connection') ? head(answer) : /\r\n\r\n.*\r\n\r\n/s.test(answer) : answer.length >= 4));
    check.that(`${what}: refused`, (!text.startsWith('HTTP/1.1 2') || /\r\n\r\nHTTP\/1\.1 4/.test(text)) && !text.startsWith('\x05\0\x05\0') && denied.accepted() === heard && world.plain.accepted() === from, text.slice(0, 200));
  }
  for (const [name, addresses] of [...ssrfAddresses, ['inner.test', ['127.0.0.1']] as const]) {
    const socket = await enter(desk, 'captured', name, denied.port);
    const text = socket ? await converse(socket, Buffer.from(`GET / HTTP/1.1\r\nHost: ${name}:${denied.port}\r\n\r\n`), 1) : '';
    check.that(`an allowed name that leads to ${addresses.join()}: refused`, outcomeOf(text) !== 'canonical' && denied.accepted() === heard, text.slice(0, 200));
  }
  const from = world.plain.requests.length;
  world.plain.answer = () => `HTTP/1.1 302 Found\r\nlocation: http://denied.test:${denied.port}/\r\ncontent-length: 0\r\n\r\n`;
  const socket = await enter(desk, 'captured', 'allowed.test', world.plain.port);
  const text = socket ? await converse(socket, Buffer.from('GET /ok HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), 1) : '';
  check.that('an answer that leads elsewhere is passed back, and not followed', text.startsWith('HTTP/1.1 302') && world.plain.requests.length === from + 1 && denied.accepted() === heard, text);
}
