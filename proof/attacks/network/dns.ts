/** Questions to the resolver as a channel: whatever is asked, nobody outside is asked, and only allowed names have addresses. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Checks } from '../../harness/checks.ts';
import { questionFor } from '../../../layers/network-policy/src/testing/testing-egress.ts';
import { enter, firstBytes, type World } from './desk.ts';

/** The answers to all packets, and that the resolver still answers behind them. */
async function ask(socket: Socket, port: number, packet: Buffer): Promise<Buffer | undefined> {
  const last = questionFor('allowed.test', 1, 0xfffe);
  let answer: Buffer | undefined;
  const done = new Promise<void>((resolve) => {
    const take = (bytes: Buffer): void => {
      if (bytes.length >= 2 && bytes.readUInt16BE(0) === 0xfffe) {
        socket.off('message', take);
        resolve();
      } else answer = bytes;
    };
    socket.on('message', take);
  });
  socket.send(packet, port, '127.0.0.1');
  socket.send(last, port, '127.0.0.1');
  await done;
  return answer;
}

const types: readonly (readonly [string, number])[] = [['NS', 2], ['CNAME', 5], ['SOA', 6], ['NULL', 10], ['MX', 15], ['TXT', 16], ['AAAA', 28], ['SRV', 33], ['NAPTR', 35], ['DS', 43], ['RRSIG', 46], ['DNSKEY', 48], ['TLSA', 52], ['SVCB', 64], ['HTTPS', 65], ['IXFR', 251], ['AXFR', 252], ['CAA', 257], ['TA', 32_768]];
const names: readonly string[] = [
  'denied.test', 'c2VjcmV0.denied.test', 'c2VjcmV0.allowed.test', 'a.b.c.d.e.f.allowed.test', 'allowed.test.denied.test', 'xallowed.test', 'test', '', 'localhost', '127.0.0.1', '1.0.0.127.in-addr.arpa', 'secret.wild.test', 'wild.test', 'metadata.google.internal', 'xn--llowed-4ve.test', '\xd0\xb0llowed.test', 'allowed\0.test', 'al lowed.test', 'use-application-dns.net', 'wpad', '_acme-challenge.allowed.test',
];

export async function dnsCases(check: Checks, world: World): Promise<void> {
  const port = world.desk.egress.bound().dns;
  const socket = createSocket('udp4');
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done));
  const heard = world.denied.accepted();
  const asked = world.asked();
  const good = questionFor('allowed.test');
  const answers = (reply: Buffer | undefined): number => reply?.readUInt16BE(6) ?? 0;
  const code = (reply: Buffer | undefined): number => (reply?.[3] ?? 0) & 15;
  try {
    const control = await ask(socket, port, good);
    check.that('control: an allowed name has an address, of ours', answers(control) === 1 && /^198\.1[89]\./.test([...(control ?? Buffer.alloc(0)).subarray(-4)].join('.')));
    for (const name of names) {
      const question = questionFor(name);
      const reply = await ask(socket, port, name === '' ? Buffer.concat([question.subarray(0, 12), question.subarray(13)]) : question);
      check.that(`the name ${JSON.stringify(name)}: no address`, answers(reply) === 0 && code(reply) !== 0 || reply === undefined, reply?.toString('hex'));
    }
    for (const [name, type] of types) {
      const reply = await ask(socket, port, questionFor('allowed.test', type));
      check.that(`${name} of an allowed name: no record`, answers(reply) === 0, reply?.toString('hex'));
    }
    const flags = (value: number): Buffer => Buffer.concat([good.subarray(0, 2), Buffer.from([value >> 8, value & 255]), good.subarray(4)]);
    const counts = (...all: readonly number[]): Buffer => Buffer.concat([good.subarray(0, 4), ...all.map((value) => Buffer.from([0, value])), good.subarray(12)]);
    const label = (bytes: readonly number[]): Buffer => Buffer.concat([good.subarray(0, 12), Buffer.from(bytes), Buffer.from([0, 1, 0, 1])]);
    const damaged: readonly (readonly [string, Buffer])[] = [
      ['an answer', flags(0x8180)], ['an update', flags(0x2800)], ['a notification', flags(0x2000)], ['a status', flags(0x1000)], ['no question', counts(0, 0, 0, 0)], ['two questions', Buffer.concat([counts(2, 0, 0, 0), questionFor('denied.test').subarray(12)])], ['an answer inside', counts(1, 1, 0, 0)], ['an authority inside', counts(1, 0, 1, 0)],
      ['class CHAOS', Buffer.concat([good.subarray(0, -2), Buffer.from([0, 3])])], ['class ANY', Buffer.concat([good.subarray(0, -2), Buffer.from([0, 255])])], ['a pointer to itself', label([0xc0, 12])], ['a pointer behind', label([0xc0, 0xff])], ['a label of 64 bytes', label([64, ...Buffer.alloc(64, 97), 0])], ['a name of 300 bytes', label([...Array.from({ length: 6 }, () => [50, ...Buffer.alloc(50, 97)]).flat(), 0])],
      ['a label that runs past the end', label([50, 97])], ['a dot inside a label', label([12, ...Buffer.from('allowed.test'), 0])], ['a name cut off', good.subarray(0, 20)], ['a byte', Buffer.from([0])], ['bytes behind the question', Buffer.concat([good, Buffer.from('c2VjcmV0')])], ['a packet of 5000 bytes', Buffer.concat([good, Buffer.alloc(5000)])],
      ['an unknown version of EDNS', Buffer.concat([counts(1, 0, 0, 1), Buffer.from([0, 0, 41, 4, 208, 0, 7, 0, 0, 0, 0])])], ['two OPT records', Buffer.concat([counts(1, 0, 0, 2), Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]), Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])])], ['a record that is no OPT', Buffer.concat([counts(1, 0, 0, 1), Buffer.from([0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0])])],
    ];
    for (const [name, packet] of damaged) {
      const reply = await ask(socket, port, packet);
      check.that(`${name}: no record`, answers(reply) === 0, reply?.toString('hex'));
    }
    for (const resolver of ['127.200.8.8', '127.200.1.1']) {
      const tcp = await world.desk.tcp(resolver, 80);
      const text = await firstBytes(tcp, Buffer.concat([Buffer.from([0, good.length]), good]), () => true);
      tcp.destroy();
      check.that(`a question over TCP to ${resolver.replace('127.200', '10.x')} that is no port of names: closed`, text === '', text);
    }
    const long = await enter(world.desk, 'captured', `${'a'.repeat(60)}.${'b'.repeat(60)}.wild.test`, world.plain.port);
    check.that('data in labels under a wildcard gets an address of ours', long !== undefined);
    long?.destroy();
  } finally {
    socket.close();
    await once(socket, 'close').catch(() => undefined);
  }
  check.that('for all these questions nobody outside was asked, nothing was connected to', world.asked() === asked && world.denied.accepted() === heard, { asked: world.asked() - asked });
}
