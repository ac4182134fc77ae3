/** The same cases through every door: captured, CONNECT, absolute-form and SOCKS5 are decided alike and leave the same record. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { readGreeting, readRequest } from './socks5.ts';
import { readAbsolute, readAuthority } from './target.ts';

type DoorKind = 'captured' | 'connect' | 'absolute' | 'socks' | 'socks-address';

interface Case {
  readonly title: string;
  readonly host: string;
  /** 'web' and 'mail' stand for the ports of the two servers. */
  readonly port: 'web' | 'mail' | number;
  readonly tls?: boolean;
  /** What is sent; $AUTHORITY stands for host and port, $TARGET for the path, as the door wants it. */
  readonly bytes: string;
  readonly serverName?: string;
  /** Doors that the case does not exist for. */
  readonly not?: readonly DoorKind[];
  /** Status or first words, and rule. */
  readonly expect: string;
}

const get = 'GET $TARGET/v1 HTTP/1.1\r\nHost: $AUTHORITY\r\nConnection: close\r\n\r\n';
const cases: readonly Case[] = [
  { title: 'allowed', host: 'ok.test', port: 'web', bytes: get, expect: '200 ' },
  { title: 'a method that is not allowed', host: 'ok.test', port: 'web', bytes: get.replace('GET', 'DELETE'), expect: '403 rules[1]' },
  { title: 'a path that is not allowed', host: 'ok.test', port: 'web', bytes: get.replace('/v1', '/admin'), expect: '403 rules[1]' },
  { title: 'dot segments', host: 'ok.test', port: 'web', bytes: get.replace('/v1', '/v1/%2e%2e/admin'), expect: '400 proxy.target' },
  { title: 'a Host that is another', host: 'ok.test', port: 'web', bytes: get.replace('$AUTHORITY', 'evil.test'), expect: '421 proxy.misdirected' },
  { title: 'two Hosts', host: 'ok.test', port: 'web', bytes: get.replace('Connection', 'Host: ok.test\r\nConnection'), expect: '400 proxy.duplicate-header' },
  { title: 'a header with another host', host: 'ok.test', port: 'web', bytes: get.replace('Connection', 'X-Forwarded-Host: evil.test\r\nConnection'), expect: '421 proxy.host-override' },
  { title: 'a method override', host: 'ok.test', port: 'web', bytes: get.replace('Connection', 'X-HTTP-Method-Override: DELETE\r\nConnection'), expect: '400 proxy.method-override' },
  { title: 'length and chunks', host: 'ok.test', port: 'web', bytes: get.replace('GET', 'POST').replace('Connection: close', 'Content-Length: 5\r\nTransfer-Encoding: chunked') + '0\r\n\r\n', expect: '400 proxy.malformed' },
  { title: 'CONNECT to elsewhere on the connection', host: 'ok.test', port: 'web', bytes: 'CONNECT evil.test:80 HTTP/1.1\r\nHost: evil.test\r\n\r\n', not: ['absolute'], expect: '405 proxy.method' },
  { title: 'a port that no rule opens', host: 'ok.test', port: 80, bytes: get, expect: '403 default' },
  { title: 'a name that is denied', host: 'evil.test', port: 'web', bytes: get, expect: 'denied rules[3]' },
  { title: 'a name that no rule knows', host: 'other.test', port: 'web', bytes: get, expect: 'denied default' },
  { title: 'the model', host: 'inference.local', port: 80, bytes: get, expect: '200 ' },
  { title: 'TLS, allowed', host: 'safe.test', port: 'web', tls: true, bytes: get, not: ['absolute'], expect: '502 ' },
  { title: 'TLS, a method that is not allowed', host: 'safe.test', port: 'web', tls: true, bytes: get.replace('GET', 'DELETE'), not: ['absolute'], expect: '403 default' },
  { title: 'TLS for another name', host: 'safe.test', port: 'web', tls: true, serverName: 'ok.test', bytes: get, not: ['absolute'], expect: 'alert proxy.server-name' },
  { title: 'TLS without a name', host: 'safe.test', port: 'web', tls: true, serverName: '', bytes: get, not: ['absolute'], expect: 'alert proxy.server-name' },
  { title: 'TLS, Host that is another', host: 'safe.test', port: 'web', tls: true, bytes: get.replace('$AUTHORITY', 'ok.test'), not: ['absolute'], expect: '421 proxy.misdirected' },
  { title: 'TLS, CONNECT inside', host: 'safe.test', port: 'web', tls: true, bytes: 'CONNECT evil.test:80 HTTP/1.1\r\nHost: evil.test\r\n\r\n', not: ['absolute'], expect: '405 proxy.method' },
  { title: 'a raw port, the server speaks first', host: 'mail.test', port: 'mail', bytes: 'EHLO me\r\n', not: ['absolute'], expect: '220 ' },
  { title: 'neither HTTP nor TLS', host: 'ok.test', port: 'web', bytes: '\0\0\0\0', not: ['absolute'], expect: 'closed proxy.protocol' },
  { title: 'an address', host: '10.0.0.1', port: 'web', bytes: get, expect: 'denied default' },
  { title: 'a private upstream', host: 'inside.test', port: 'web', bytes: get, expect: '403 network.addresses' },
  { title: 'asks a person', host: 'ask.test', port: 'web', bytes: get, expect: '200 ' },
];

describe('every door decides alike', () => {
  let desk: Desk;
  let web: Upstream;
  const mail = createServer((socket) => socket.end('220 mail.test ready\r\n'));
  const seen: string[] = [];
  let ports: Record<'web' | 'mail', number>;

  before(async () => {
    web = await openUpstream((req, res) => {
      seen.push(`${req.method} ${req.headers.host} ${req.url}`);
      res.end('ok');
    });
    await new Promise<void>((done) => mail.listen(0, '127.0.0.1', done));
    ports = { web: web.port, mail: (mail.address() as AddressInfo).port };
    desk = await openDesk({
      rules: [
        { host: 'ok.test', verdict: 'allow', methods: ['GET', 'POST'], path: '/v1', port: ports.web }, { host: 'ok.test', verdict: 'deny', port: ports.web },
        { host: 'safe.test', verdict: 'allow', methods: ['GET'] }, { host: 'evil.test', verdict: 'deny' }, { host: 'mail.test', verdict: 'allow', port: ports.mail },
        { host: 'inside.test', verdict: 'allow' }, { host: 'ask.test', verdict: 'escalate', methods: ['GET'] },
      ],
      pins: ['ok.test', 'safe.test', 'mail.test', 'ask.test'].map((host) => ({ host })), ports: [ports.web, ports.mail, 3128],
      intercepted: ['ok.test', 'safe.test'], resolveUpstream: async (host) => (host === 'inside.test' ? ['10.0.0.7'] : []),
      local: new Map([['inference.local', (_req, res) => void res.end('model')]]),
    });
    desk.policy.raw = [ports.mail];
  });
  after(async () => {
    await desk.close();
    await web.close();
    mail.close();
  });

  /** A socket to the place through the door; undefined where the door itself says no. */
  async function enter(door: DoorKind, host: string, port: number): Promise<Socket | undefined> {
    if (door === 'captured') return !/^[\d.]+$/.test(host) && (await desk.resolve(host)) === undefined ? undefined : desk.tcp(host === '10.0.0.1' ? '127.200.0.1' : host, port);
    const socket = await desk.tcp('proxy.local', 3128);
    if (door === 'absolute') return socket;
    if (door === 'connect') {
      const { text, rest } = await answerOf(socket, `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`, (bytes) => bytes.indexOf('\r\n\r\n') + 4);
      socket.unshift(rest);
      if (!text.startsWith('HTTP/1.1 200 ')) socket.destroy();
      return text.startsWith('HTTP/1.1 200 ') ? socket : undefined;
    }
    const known = door !== 'socks-address' ? undefined : /^[\d.]+$/.test(host) ? host : await desk.resolve(host);
    const bytes = known === undefined ? Buffer.concat([Buffer.from([3, host.length]), Buffer.from(host)]) : Buffer.from([1, ...known.split('.').map(Number)]);
    const { text, rest } = await answerOf(socket, Buffer.concat([Buffer.from([5, 2, 0, 2, 5, 1, 0]), bytes, Buffer.from([port >> 8, port & 255])]), () => 12);
    socket.unshift(rest);
    if (text.charCodeAt(3) !== 0) socket.destroy();
    return text.charCodeAt(3) === 0 ? socket : undefined;
  }

  async function go(one: Case, door: DoorKind): Promise<{ readonly got: string; readonly record: string; readonly arrived: readonly string[] }> {
    const port = typeof one.port === 'number' ? one.port : ports[one.port];
    const authority = port === 80 ? one.host : `${one.host}:${port}`;
    const text = one.bytes.replaceAll('$AUTHORITY', authority).replaceAll('$TARGET', door === 'absolute' ? `http://${authority}` : '');
    desk.audit.events.length = 0;
    seen.length = 0;
    const held = desk.approver.asked.length;
    if (one.host === 'ask.test') void desk.approver.until(held + 1).then(() => desk.approver.answer({ verdict: 'allow', approvalId: 'a', by: 'ann' }));
    let answer = 'denied';
    const socket = await enter(door, one.host, port);
    if (socket && one.tls) answer = await overTls(socket, one.serverName ?? one.host, desk.rootPem, text);
    else if (socket) answer = await say(socket, text, wholeAnswer);
    const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? (answer === '' ? 'closed' : answer.slice(0, 3) === '220' ? '220' : answer);
    // A name or address that is not allowed is refused as a question, a connection or a request, whichever the door sees first.
    const denial = desk.audit.events.find((event) => event.verdict === 'deny');
    const rule = denial?.decision?.rules[0]?.id ?? '';
    const early = status === 'denied' || (status === '403' && (one.host === '10.0.0.1' || rule === 'rules[3]' || one.host === 'other.test'));
    const last = desk.audit.events.findLast((event) => event.verdict !== undefined);
    return { got: `${early ? 'denied' : status} ${rule}`, record: early ? `deny ${rule}` : `${last?.verdict} ${last?.decision?.rules[0]?.id} ${last?.message.replace(/^connection to \S+:/, 'connection:')}`, arrived: [...seen] };
  }

  for (const one of cases) {
    test(one.title, async () => {
      const captured = await go(one, 'captured');
      assert.equal(captured.got, one.expect);
      for (const door of ['connect', 'absolute', 'socks', 'socks-address'] as const) if (!one.not?.includes(door)) assert.deepEqual(await go(one, door), captured, door);
    });
  }

  test('one connection with absolute forms for several hosts: each is decided for itself', async () => {
    const socket = await desk.tcp('proxy.local', 3128);
    const ask = (host: string, path: string, more = ''): string => `GET http://${host}:${ports.web}${path} HTTP/1.1\r\nHost: ${host}:${ports.web}\r\n${more}\r\n`;
    seen.length = 0;
    const text = await say(socket, ask('ok.test', '/v1') + ask('evil.test', '/v1') + ask('ok.test', '/v1/b', 'Connection: close\r\n'), (so) => (so.match(/HTTP\/1\.1 /g) ?? []).length === 3 && so.endsWith('0\r\n\r\n'));
    assert.deepEqual([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status), ['200', '403', '200']);
    assert.deepEqual(seen, [`GET ok.test:${ports.web} /v1`, `GET ok.test:${ports.web} /v1/b`]);
  });

  test('the door: no way to itself, to odd targets, or past a Host of its own', async () => {
    for (const [bytes, expected] of [
      ['CONNECT proxy.local:3128 HTTP/1.1\r\nHost: proxy.local:3128\r\n\r\n', /^HTTP\/1\.1 403 .*proxy\.door/s],
      ['CONNECT ok.test HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT ok.test.:443 HTTP/1.1\r\nHost: ok.test.\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT 2130706433:80 HTTP/1.1\r\nHost: 2130706433\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT ok.test:443\r\nX: HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT ok.test:0 HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT user@ok.test:80 HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT ok.test:443 HTTP/1.1\r\nHost: evil.test\r\n\r\n', /^HTTP\/1\.1 400 .*proxy\.misdirected/s],
      ['CONNECT ok.test:443 HTTP/1.1\r\nHost: ok.test:443\r\nHost: evil.test\r\n\r\n', /^HTTP\/1\.1 400 /],
      ['CONNECT [::ffff:10.0.0.1]:80 HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 403 /],
      ['CONNECT 198.18.99.99:80 HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 403 .*proxy\.unknown-address/s],
      ['GET http://proxy.local:3128/ HTTP/1.1\r\nHost: proxy.local:3128\r\n\r\n', /^HTTP\/1\.1 200 .*socks5h/s],
      ['GET / HTTP/1.1\r\nHost: proxy.local:3128\r\n\r\n', /^HTTP\/1\.1 200 .*socks5h/s],
      ['GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 421 /],
      ['GET https://ok.test/v1 HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 400 .*scheme/s],
      ['GET ftp://ok.test/v1 HTTP/1.1\r\nHost: ok.test\r\n\r\n', /^HTTP\/1\.1 (400|421) /],
      ['\x04\x01\0\x50\x0a\0\0\x01\0', /^$/],
      ['\x16\x03\x01\0\x05hello', /^$/],
    ] as const) assert.match(await say(await desk.tcp('proxy.local', 3128), bytes, wholeAnswer), expected, JSON.stringify(bytes));
  });

  test('SOCKS5: nothing but CONNECT without a password', async () => {
    const name = (host: string): Buffer => Buffer.concat([Buffer.from([3, host.length]), Buffer.from(host, 'latin1'), Buffer.from([0, 80])]);
    for (const [what, bytes, reply] of [
      ['a password', Buffer.from([5, 1, 2]), [5, 0xff]],
      ['BIND', Buffer.concat([Buffer.from([5, 1, 0, 5, 2, 0]), name('ok.test')]), [5, 0, 5, 7]],
      ['UDP ASSOCIATE', Buffer.concat([Buffer.from([5, 1, 0, 5, 3, 0]), name('ok.test')]), [5, 0, 5, 7]],
      ['an unknown kind of address', Buffer.from([5, 1, 0, 5, 1, 0, 9, 1, 1, 1, 1, 0, 80]), [5, 0, 5, 8]],
      ['a denied name', Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0]), name('evil.test')]), [5, 0, 5, 2]],
      ['metadata', Buffer.from([5, 1, 0, 5, 1, 0, 1, 169, 254, 169, 254, 0, 80]), [5, 0, 5, 2]],
      ['metadata, mapped', Buffer.from([5, 1, 0, 5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 169, 254, 169, 254, 0, 80]), [5, 0, 5, 2]],
      ['an address spelled as one number', Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0]), name('2852039166')]), [5, 0, 5, 1]],
      ['a name with a NUL', Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0]), name('ok.test\0.evil.test')]), [5, 0, 5, 1]],
      ['the door', Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0]), name('proxy.local')]), [5, 0, 5, 2]],
    ] as const) assert.deepEqual([...Buffer.from(await say(await desk.tcp('proxy.local', 3128), bytes), 'latin1')].slice(0, reply.length), reply, what);
  });

  test('CONNECT to a denied name is answered with the rule, and with the event that is on record', async () => {
    desk.audit.events.length = 0;
    const text = await say(await desk.tcp('proxy.local', 3128), 'CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n', wholeAnswer);
    const body = JSON.parse(text.slice(text.indexOf('\r\n\r\n'))) as Record<string, unknown>;
    assert.match(text, /^HTTP\/1\.1 403 Forbidden\r\n[^]*x-nemoclaw-rule: rules\[3\]\r\n/);
    assert.deepEqual([body['rule'], body['reason']], ['rules[3]', 'the test policy says deny']);
    assert.deepEqual(desk.audit.events.map((event) => [event.verdict, event.correlation]), [['deny', body['eventId']]]);
  });

  test('who is told no more than no finds rule and reason on the page of the door', async () => {
    assert.equal(await desk.resolve('page.test'), undefined);
    const tunnel = await say(await desk.tcp('proxy.local', 3128), 'CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n', wholeAnswer);
    const eventId = /x-nemoclaw-event: (\S+)/.exec(tunnel)?.[1] ?? '';
    await say(await desk.tcp('ok.test', ports.web), 'DELETE /v1/a?word=not-for-the-page HTTP/1.1\r\nHost: ok.test\r\nConnection: close\r\n\r\n', wholeAnswer);
    const page = async (accept: string, port: number): Promise<string> => say(await desk.tcp('proxy.local', port), `GET / HTTP/1.1\r\nHost: proxy.local${port === 80 ? '' : `:${port}`}\r\nAccept: ${accept}\r\n\r\n`, wholeAnswer);
    const text = await page('*/*', 80);
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*Denied lately:[^]* {2}the name page\.test\n {4}why {3}the test policy says deny\n {4}rule {2}default\n {4}next {2}ask the operator\n/);
    const { denied } = JSON.parse((await page('application/json', 3128)).split('\r\n\r\n')[1] ?? '') as { denied: readonly Readonly<Record<string, string>>[] };
    assert.deepEqual(denied.slice(-2).map(({ what, rule }) => `${what} ${rule}`), ['evil.test:443 rules[3]', `DELETE ok.test:${ports.web}/v1/a rules[1]`]);
    assert.equal(denied.at(-2)?.['eventId'], eventId);
    assert.ok(!text.includes('not-for-the-page') && denied.length <= 32);
  });

  test('a WebSocket opens through every door, or is denied at each', async () => {
    for (const [host, expected] of [['ok.test', /^HTTP\/1\.1 (101|200|50\d) /], ['other.test', /^HTTP\/1\.1 403 /]] as const) {
      for (const door of ['connect', 'absolute'] as const) {
        const socket = await enter(door, host, ports.web);
        if (!socket) {
          assert.equal(host, 'other.test');
          continue;
        }
        const target = door === 'absolute' ? `http://${host}:${ports.web}` : '';
        const text = await say(socket, `GET ${target}/v1/ws HTTP/1.1\r\nHost: ${host}:${ports.web}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n`, (so) => so.includes('\r\n\r\n'));
        assert.match(text, expected, `${door} ${host}`);
      }
    }
  });

  test('a browser is shown a page, a program JSON, inside the tunnel as anywhere', async () => {
    for (const [accept, type, words] of [['text/html,application/xhtml+xml', 'text/html', '<h1>'], ['*/*', 'application/json', '"rule":"default"'], ['application/json, text/html', 'application/json', '"rule"']] as const) {
      const socket = await enter('connect', 'safe.test', ports.web);
      assert.ok(socket);
      const text = await overTls(socket, 'safe.test', desk.rootPem, `DELETE /<script> HTTP/1.1\r\nHost: safe.test:${ports.web}\r\nAccept: ${accept}\r\n\r\n`.replace('<script>', ''));
      assert.match(text, /^HTTP\/1\.1 403 /);
      assert.ok(text.includes(`content-type: ${type}`) && text.includes(words), text);
    }
  });

  test('targets and SOCKS messages in pieces and at random never throw, and are whole only where every byte is there', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      readGreeting(Buffer.from(bytes));
      readRequest(Buffer.from(bytes));
      const text = Buffer.from(bytes).toString('latin1');
      readAuthority(text);
      readAbsolute(`http://${text}`);
    }), { numRuns: 2000, seed: 17 });
    const request = Buffer.from([5, 1, 0, 3, 7, ...Buffer.from('ok.test'), 1, 187]);
    for (let end = 0; end < request.length; end += 1) assert.equal(readRequest(request.subarray(0, end)).state, 'more');
    assert.deepEqual(readRequest(request), { state: 'whole', take: request.length, value: { name: 'ok.test', port: 443 } });
    for (const text of ['', ':80', 'a:', 'a:65536', '[::1', '::1:80', '[1.2.3.4]:80', '[a]:80', 'a..b:80', '-a.b:80', 'ä.test:80', '0x7f.1:80', '127.1:80', 'a:80:80', '[fe80::1%25lo]:80']) assert.equal(readAuthority(text), undefined, text);
    assert.deepEqual(readAuthority('[::FFFF:1.2.3.4]:80'), { name: '1.2.3.4', port: 80 });
    assert.deepEqual(readAuthority('[2001:DB8::0:1]:80'), { name: '2001:db8::1', port: 80 });
  });
});

/** Sends `bytes` and reads at least `size(so far)` of the answer (0: not known yet); what came after it, too. */
async function answerOf(socket: Socket, bytes: string | Buffer, size: (text: string) => number): Promise<{ text: string; rest: Buffer }> {
  socket.write(bytes);
  let got: Buffer = Buffer.alloc(0);
  while (!socket.destroyed && !socket.readableEnded) {
    const next: unknown = socket.read();
    if (Buffer.isBuffer(next)) got = Buffer.concat([got, next]);
    const text = got.toString('latin1');
    const enough = size(text);
    if (enough > 3 && got.length >= enough) return { text: text.slice(0, enough), rest: got.subarray(enough) };
    if (!Buffer.isBuffer(next)) await Promise.race([once(socket, 'readable'), once(socket, 'close')]);
  }
  return { text: got.toString('latin1').padEnd(12, '?'), rest: Buffer.alloc(0) };
}

async function overTls(socket: Socket, serverName: string, ca: string, text: string): Promise<string> {
  const tls = connectTls({ socket, ca, ...(serverName === '' ? {} : { servername: serverName }), checkServerIdentity: () => undefined });
  const outcome = await Promise.race([once(tls, 'secureConnect').then(() => 'secure'), once(tls, 'error').then(() => 'alert'), once(tls, 'close').then(() => 'alert')]).catch(() => 'alert');
  tls.on('error', () => undefined);
  return outcome === 'secure' ? say(tls, text, wholeAnswer) : 'alert';
}
