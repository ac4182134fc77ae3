/** Runs alone in a network and mount namespace of its own, where public addresses and private ones are all on `lo`: what names lead to that change their mind. Prints one JSON statement a line. */
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@nemoclaw/contract';
import { testClock } from '../../../layers/network-policy/src/testing/testing-egress.ts';
import { doors, enter, openPolicyDesk } from './desk.ts';
import { converse } from './http.ts';

const port = 8088;
const open = '93.184.215.14';
const open6 = '2606:2800:21f:cb07::1';
const inner = '10.9.8.7';
const run = (command: string, ...args: readonly string[]): void => {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.stderr}`);
};

type Answer = { readonly a?: readonly string[]; readonly aaaa?: readonly string[]; readonly cname?: string };
/** Of each name, the answers to one look-up after the other; the last stays. */
const scripts: Readonly<Record<string, readonly Answer[]>> = {
  'steady.test': [{ a: [open] }],
  'flip.test': [{ a: [open] }, { a: [inner] }],
  'flop.test': [{ a: [inner] }, { a: [open] }],
  'loop.test': [{ a: [open] }, { a: ['127.0.0.1'] }],
  'mixed.test': [{ a: [inner, open, '127.0.0.1'] }],
  'shut.test': [{ a: ['93.184.215.15', inner] }],
  'six.test': [{ a: [open], aaaa: ['::1', '::ffff:10.9.8.7', 'fd00::1'] }],
  'mapped.test': [{ aaaa: ['::ffff:10.9.8.7'] }],
  'mappedloop.test': [{ aaaa: ['::ffff:127.0.0.1'] }],
  'onlysix.test': [{ aaaa: [open6] }, { aaaa: ['::1'] }],
  'chain.test': [{ cname: 'one.chain.test' }], 'one.chain.test': [{ cname: 'two.chain.test' }], 'two.chain.test': [{ a: [open] }, { a: [inner] }],
  'alias.test': [{ cname: 'inside.corp' }], 'inside.corp': [{ a: [inner] }],
  'zero.test': [{ a: ['0.0.0.0'] }],
  'meta.test': [{ a: [open] }, { a: ['169.254.169.254'] }],
  'raw.test': [{ a: [open] }, { a: [inner] }],
};
const asked = new Map<string, number>();
/** A and AAAA of one look-up count once: it goes on when A is asked for. */
function answerOf(name: string, type: number): Answer {
  const all = scripts[name] ?? [];
  const count = asked.get(name) ?? 0;
  const turn = type === 1 ? count : Math.max(0, count - 1);
  if (type === 1) asked.set(name, count + 1);
  return all[Math.min(turn, all.length - 1)] ?? {};
}

const wire = (name: string): Buffer => Buffer.concat([...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])]);
const bytes4 = (address: string): Buffer => Buffer.from(address.split('.').map(Number));
function bytes6(address: string): Buffer {
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => `${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}`);
  const [head = '', tail = ''] = plain.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  const words = plain.includes('::') ? [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right] : left;
  return Buffer.concat(words.map((word) => Buffer.from(word.padStart(4, '0'), 'hex')));
}
/** Every record lives for no time at all. */
const record = (name: string, type: number, data: Buffer): Buffer => Buffer.concat([wire(name), Buffer.from([0, type, 0, 1, 0, 0, 0, 0, data.length >> 8, data.length & 255]), data]);

/** The answer of a resolver: an alias with all that lies behind it. */
function reply(question: Buffer): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (; (question[at] ?? 0) > 0; at += 1 + (question[at] ?? 0)) labels.push(question.toString('latin1', at + 1, at + 1 + (question[at] ?? 0)));
  const type = question.readUInt16BE(at + 1);
  const records: Buffer[] = [];
  let name = labels.join('.').toLowerCase();
  for (let hops = 0; hops < 5; hops += 1) {
    const { a = [], aaaa = [], cname } = answerOf(name, type);
    if (cname === undefined) {
      for (const address of type === 1 ? a : type === 28 ? aaaa : []) records.push(record(name, type, type === 1 ? bytes4(address) : bytes6(address)));
      break;
    }
    records.push(record(name, 5, wire(cname)));
    name = cname;
  }
  return Buffer.concat([question.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, records.length, 0, 0, 0, 0]), question.subarray(12, at + 5), ...records]);
}

/** Answers each request once, and closes. */
async function listen(host: string, heard: string[], label: string): Promise<Server> {
  const server = createServer((socket: Socket) => {
    heard.push(`${label} connected`);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.includes('\r\n\r\n')) return;
      heard.push(`${label} ${chunk.toString('latin1').split(' ')[1]}`);
      socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${label.length}\r\n\r\n${label}`);
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  return server;
}

const say = (statement: string, holds: boolean, detail: unknown = ''): void => console.log(JSON.stringify({ statement, holds, detail }));

const folder = mkdtempSync(join(tmpdir(), 'nc-rebind-'));
const resolver = createSocket('udp4');
const servers: Server[] = [];
try {
  run('ip', 'link', 'set', 'lo', 'up');
  for (const address of [`${open}/32`, `${inner}/32`, '169.254.169.254/32', `${open6}/128`]) run('ip', 'addr', 'add', address, 'dev', 'lo');
  writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\noptions timeout:30 attempts:1\n');
  run('mount', '--make-rprivate', '/');
  run('mount', '--bind', join(folder, 'resolv.conf'), '/etc/resolv.conf');
  resolver.on('message', (question, from) => resolver.send(reply(question), from.port, from.address));
  await new Promise<void>((done) => resolver.bind(53, '127.0.0.1', done));
  const inside: string[] = [];
  const outside: string[] = [];
  for (const host of [inner, '127.0.0.1', '::1', '169.254.169.254']) servers.push(await listen(host, inside, 'inside'));
  for (const host of [open, open6]) servers.push(await listen(host, outside, 'outside'));
  let later = 0;
  // Slower than the machine's, so that no wait of a busy machine makes a name be looked up anew.
  const clock: Clock = { now: () => testClock.now(), monotonic: () => testClock.monotonic() / 20 + later };
  const names = Object.keys(scripts).filter((name) => !/chain\..*chain|^(?:one|two)\.|\.corp$/.test(name));
  const desk = await openPolicyDesk({
    network: `networkPolicy:\n  name: rebinding\n  egress:\n    allow:\n${names.map((name) => `      - { domain: ${name}, ports: [${port}], ${name === 'raw.test' ? 'protocol: tcp' : 'methods: [GET]'} }\n`).join('')}  inspection: { scanForPII: false }\n`,
    pins: [], ports: [port], intercepted: [], more: { clock, resolveUpstream: async (host) => (await lookup(host, { all: true, order: 'ipv4first' })).map(({ address }) => address) },
  });
  let door = 0;
  /** What came back: `outside`, `inside`, the rule of a refusal, or whatever else. */
  const ask = async (name: string, path = '/'): Promise<string> => {
    const by = doors[(door += 1) % doors.length] ?? 'captured';
    const socket = await enter(desk, by, name, port);
    const text = socket ? await converse(socket, Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`), 1, false, 60_000) : 'no way in';
    return /"rule":"([^"]+)"/.exec(text)?.[1] ?? text.split('\r\n\r\n')[1] ?? text;
  };
  try {
    const direct = await lookup('alias.test', { all: true });
    say('control: this machine’s resolver follows the script, also to a private address', direct[0]?.address === inner, direct);
    asked.clear();
    say('control: a name that stays where it is is served', (await ask('steady.test')) === 'outside');
    for (const name of ['flip.test', 'loop.test', 'meta.test', 'chain.test', 'onlysix.test']) {
      const first = await ask(name, '/1');
      const pinned = [await ask(name, '/2'), await ask(name, '/3'), await ask(name, '/4')];
      later += 31_000;
      const after = [await ask(name, '/5'), await ask(name, '/6')];
      say(`${name}: public first, then private (time to live zero): served where it was checked, and refused when it changed its mind`, first === 'outside' && pinned.every((one) => one === 'outside') && after.every((one) => one === 'network.addresses'), { first, pinned, after });
    }
    for (const name of ['mixed.test', 'six.test']) {
      const answers = [await ask(name), await ask(name), await ask(name)];
      say(`${name}: of public and private addresses in one answer only the public is used`, answers.every((one) => one === 'outside'), answers);
    }
    const shut = await ask('shut.test');
    say('a public address that nobody answers at is not replaced by the private one beside it', shut !== 'inside' && shut !== 'outside', shut);
    for (const name of ['mapped.test', 'mappedloop.test', 'alias.test', 'zero.test']) {
      const answers = [await ask(name), await ask(name)];
      say(`${name}: refused`, answers.every((one) => one === 'network.addresses'), answers);
    }
    const flop = [await ask('flop.test')];
    later += 31_000;
    flop.push(await ask('flop.test'));
    say('flop.test: private first, then public: refused, then served', flop[0] === 'network.addresses' && flop[1] === 'outside', flop);
    const raw = await ask('raw.test');
    later += 31_000;
    const before = inside.length;
    const socket = await enter(desk, 'captured', 'raw.test', port);
    const text = socket ? await converse(socket, Buffer.from('GET / HTTP/1.1\r\nHost: raw.test\r\n\r\n'), 1, false, 60_000) : '';
    say('raw.test: a connection that is passed on unread follows no name inside either', raw === 'outside' && !text.includes('inside') && inside.length === before, { raw, text });
    const updated = await ask('steady.test');
    desk.egress.update(desk.config);
    say('a policy that changes has names looked up anew, and they are checked anew', updated === 'outside' && (await ask('flip.test')) === 'network.addresses' && (await ask('steady.test')) === 'outside');
    say('nothing inside was connected to', inside.length === 0, inside);
    say('what was allowed arrived outside', outside.filter((one) => !one.endsWith('connected')).length >= 25, outside.length);
  } finally {
    await desk.close();
  }
} finally {
  resolver.close();
  for (const server of servers) server.close();
  spawnSync('umount', ['/etc/resolv.conf']);
  rmSync(folder, { recursive: true, force: true });
}
