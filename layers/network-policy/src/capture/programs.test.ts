/** Rules on programs through the real egress and real policies: whatever the door and the protocol, asked once, and only where a rule speaks of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import type { CompiledPolicy } from '@nemoclaw/decide';
import { judgeOf } from '../judge/judge.ts';
import type { Ends } from './programs.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
const hosts = ['prog.test', 'bad.test', 'free.test', 'mail.test', 'late.test'];
const mail = createServer((socket) => socket.on('error', () => undefined).end('220 ready\r\n'));
let upstream: Upstream;
let desk: Desk;
let policy: CompiledPolicy;
let mailPort = 0;
/** What is answered: a path, '' or undefined; an error is thrown; 'never': nothing is answered. */
let who: string | undefined | Error = '';
let asked: Ends[] = [];

function rules(late: string): CompiledPolicy {
  const { port } = upstream;
  const text = `networkPolicy:
  name: t
  egress:
    allow:
      - { domain: prog.test, ports: [${port}, 443], binaries: [/usr/bin/git, /opt/agent/**] }
      - { domain: bad.test, ports: [${port}] }
      - { domain: free.test, ports: [${port}] }
      - { domain: mail.test, ports: [${mailPort}], protocol: tcp, binaries: [/usr/bin/git] }
      - { domain: late.test, ports: [${port}]${late} }
    deny:
      - { domain: bad.test, binaries: [/opt/agent/bad] }
`;
  return compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
}

before(async () => {
  upstream = await openUpstream((_req, res) => res.end('done'));
  await new Promise<void>((done) => mail.listen(0, '127.0.0.1', done));
  mailPort = (mail.address() as AddressInfo).port;
  policy = rules('');
  desk = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [upstream.port, mailPort, 3128], intercepted: hosts, pins: hosts.map((host) => ({ host })),
    programOf: async (ends) => {
      asked.push(ends);
      if (who instanceof Error) throw who;
      return who === 'never' ? new Promise(() => undefined) : who;
    },
  });
});
after(async () => {
  await desk.close();
  await upstream.close();
  mail.close();
});
beforeEach(() => {
  asked = [];
  policy = rules('');
});

const get = (host: string, close = true): string => `GET / HTTP/1.1\r\nHost: ${host}:${upstream.port}\r\n${close ? 'Connection: close\r\n' : ''}\r\n`;
const status = (answer: string): number => Number(answer.split(' ')[1]);
const direct = async (host: string): Promise<number> => status(await say(await desk.tcp(host, upstream.port), get(host), wholeAnswer));

test('a program that the rule names is let through, another is denied by that rule', async () => {
  for (const [program, expected] of [['/usr/bin/git', 200], ['/opt/agent/bin/x', 200], ['/usr/bin/curl', 403], ['/usr/bin/git2', 403], ['/usr/bin/../bin/git', 403]] as const) {
    who = program;
    assert.equal(await direct('prog.test'), expected, program);
  }
  who = '/usr/bin/curl';
  const answer = await say(await desk.tcp('prog.test', upstream.port), get('prog.test'), wholeAnswer);
  assert.match(answer, /"rule":"egress\.allow\[0\]"/);
  assert.match(answer, /other programs only/);
});

test('one that cannot be found out is none that is allowed, and any that is denied', async () => {
  for (const unknown of ['', new Error('openshelld is away')]) {
    who = unknown;
    assert.equal(await direct('prog.test'), 403);
    assert.equal(await direct('bad.test'), 403);
  }
  who = '/usr/bin/git';
  assert.equal(await direct('bad.test'), 200);
  who = '/opt/agent/bad';
  assert.equal(await direct('bad.test'), 403);
  assert.equal(await direct('prog.test'), 200);
});

test('who does not answer in time is not waited for', async () => {
  const slow = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [upstream.port], intercepted: hosts, pins: hosts.map((host) => ({ host })),
    limits: { helloMs: 2000 }, programOf: () => new Promise(() => undefined),
  });
  try {
    let answer = '';
    // Where the request itself comes too late, as on a busy machine, the connection is closed.
    while (answer === '') answer = await say(await slow.tcp('prog.test', upstream.port), get('prog.test'), wholeAnswer);
    assert.equal(status(answer), 403);
  } finally {
    await slow.close();
  }
});

test('where this host does not see programs and the policy is content with that, the rule is for all', async () => {
  who = undefined;
  assert.equal(await direct('prog.test'), 403, 'not content');
  desk.egress.update({ ...desk.config, bestEffort: true });
  try {
    assert.equal(await direct('prog.test'), 200);
    who = '/usr/bin/curl';
    assert.equal(await direct('prog.test'), 403, 'what is seen counts');
  } finally {
    desk.egress.update(desk.config);
  }
});

test('is asked once for each connection, with its ends, and never for a host without such a rule', async () => {
  who = '/usr/bin/git';
  assert.equal(await direct('free.test'), 200);
  assert.deepEqual(asked, []);
  const socket = await desk.tcp('prog.test', upstream.port);
  const ends = { source: socket.localAddress, sourcePort: socket.localPort, destination: socket.remoteAddress };
  for (let i = 0; i < 3; i += 1) await again(socket, 'prog.test');
  socket.destroy();
  const told: readonly Ends[] = asked;
  assert.equal(told.length, 1);
  assert.deepEqual(told.map(({ source, sourcePort, destination }) => ({ source, sourcePort, destination })), [ends]);
});

/** One more allowed request on a connection that stays open. */
async function again(socket: Socket, host: string): Promise<void> {
  socket.write(get(host, false));
  let heard = '';
  while (!heard.includes('done')) heard += String(((await once(socket, 'data')) as [Buffer])[0]);
  assert.match(heard, /^HTTP\/1\.1 200 /);
}

async function throughConnect(host: string, port: number): Promise<Socket> {
  const socket = await desk.tcp('proxy.local', 3128);
  socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString('latin1'), /^HTTP\/1\.1 200 /);
  return socket;
}
async function throughSocks(host: string, port: number): Promise<Socket> {
  const socket = await desk.tcp('proxy.local', 3128);
  let got = Buffer.alloc(0);
  socket.write(Buffer.concat([Buffer.from([5, 1, 0, 5, 1, 0, 3, host.length]), Buffer.from(host), Buffer.from([port >> 8, port & 255])]));
  while (got.length < 12) got = Buffer.concat([got, ((await once(socket, 'data')) as [Buffer])[0]]);
  assert.equal(got[3], 0);
  return socket;
}

test('every door decides alike', async () => {
  for (const [program, expected] of [['/usr/bin/git', 200], ['/usr/bin/curl', 403], ['', 403]] as const) {
    who = program;
    assert.equal(status(await say(await throughConnect('prog.test', upstream.port), get('prog.test'), wholeAnswer)), expected, `CONNECT ${program}`);
    assert.equal(status(await say(await throughSocks('prog.test', upstream.port), get('prog.test'), wholeAnswer)), expected, `SOCKS ${program}`);
    const absolute = get('prog.test').replace('GET /', `GET http://prog.test:${upstream.port}/`);
    assert.equal(status(await say(await desk.tcp('proxy.local', 3128), absolute, wholeAnswer)), expected, `absolute ${program}`);
  }
});

test('so do TLS, HTTP/2 and raw connections', async () => {
  for (const program of ['/usr/bin/git', '/usr/bin/curl', '']) {
    who = program;
    const good = program === '/usr/bin/git';
    const answer = await say(await desk.tls('prog.test', 443), get('prog.test').replace(`:${upstream.port}`, ''), wholeAnswer);
    // Nobody listens behind 443: what is let through fails there.
    assert.equal(status(answer), good ? 502 : 403, program);
    const tls = await desk.tls('prog.test', 443, { ALPNProtocols: ['h2'] });
    const session = connectHttp2('https://prog.test', { createConnection: () => tls });
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/' });
    const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
    assert.equal(head[':status'], good ? 502 : 403, program);
    session.destroy();
    const raw = await desk.tcp('mail.test', mailPort);
    let heard = '';
    for await (const part of raw) heard += String(part);
    assert.equal(heard, good ? '220 ready\r\n' : '', program);
  }
});

test('a policy that begins to speak of programs closes idle connections to that host, and whoever comes again is asked about', async () => {
  who = '/usr/bin/curl';
  const [idle, other] = [await desk.tcp('late.test', upstream.port), await desk.tcp('free.test', upstream.port)];
  for (const [socket, host] of [[idle, 'late.test'], [other, 'free.test']] as const) await again(socket, host);
  assert.deepEqual(asked, []);
  const closed = once(idle, 'close');
  policy = rules(', binaries: [/usr/bin/git]');
  desk.egress.update(desk.config);
  await closed;
  await again(other, 'free.test');
  other.destroy();
  assert.equal(await direct('late.test'), 403);
  assert.equal(asked.length, 1);
});
