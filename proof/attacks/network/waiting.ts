/** A client that waits until its connection could be taken for one whose server speaks first, and a server that does speak first: what can be read is read, or gets nowhere. */
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Checks } from '../../harness/checks.ts';
import { until } from '../../harness/instance.ts';
import { listenOn, type OpenListener } from '../../harness/listener.ts';
import { fine, openCanary } from './canary.ts';
import { doors, enter, firstBytes, openPolicyDesk } from './desk.ts';
import { converse } from './http.ts';

const form = 'card=4111111111111111&ssn=078-05-1120';
const customer = 'CUST-48-20931-XQ';
const post = (body: string, line = 'POST /x'): Buffer => Buffer.from(`${line} HTTP/1.1\r\nHost: open.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
const hello = Buffer.from('16030100050100000100', 'hex');

interface Mute extends OpenListener {
  readonly heard: () => string;
}
/** Says `banner`, if any, and ends whoever says anything, unless `answer` is what it says then. */
async function open(banner = '', answer?: string): Promise<Mute> {
  let heard = '';
  const listener = await listenOn('127.0.0.1', (socket) => {
    if (banner !== '') socket.write(Buffer.from(banner, 'latin1'));
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      if (answer === undefined) socket.destroy();
      else socket.write(answer);
    });
  });
  return { ...listener, heard: () => heard };
}

const greetings: readonly (readonly [string, string, string])[] = [['MySQL', 'J\0\0\0\n8.0.36\0\x01\0\0\0', '\x20\0\0\x01\x85\xa6\xff\x01'], ['SSH', 'SSH-2.0-OpenSSH_9.6\r\n', 'SSH-2.0-client\r\n'], ['mail', '220 ready\r\n', 'EHLO me\r\n'], ['NATS', 'INFO {}\r\n', 'CONNECT {"verbose":false}\r\n']];

export async function waiting(check: Checks): Promise<void> {
  check.section('the way out: clients that wait, and servers that speak first');
  const [web, crm] = [await open(), await openCanary()];
  crm.answer = () => fine(JSON.stringify({ customer_no: customer }), 'content-type: application/json\r\n');
  const servers = await Promise.all(greetings.map(([, banner]) => open(banner, 'heard')));
  const ports = [web, crm, ...servers].map(({ port }) => port);
  const desk = await openPolicyDesk({
    network: `networkPolicy:
  name: waiting
  egress:
    allow:
      - { domain: crm.test, ports: [${crm.port}] }
      - { domain: open.test, ports: [${[web, ...servers].map(({ port }) => port).join(', ')}] }
  inspection: { tlsDecrypt: true, scanForPII: true, actions: { tainted: block } }
  labels: [{ domain: crm.test, level: confidential }]
`,
    pins: [{ host: 'open.test' }, { host: 'crm.test' }], ports, intercepted: ['open.test', 'crm.test'],
  });
  const way = async (door: (typeof doors)[number], host: string, port: number): Promise<Socket> => {
    const socket = await enter(desk, door, host, port);
    if (!socket) throw new Error('no way in');
    return socket;
  };
  const answered = async (socket: Socket, bytes: Buffer, enough: (text: string) => boolean): Promise<string> => {
    const text = firstBytes(socket, bytes, enough);
    socket.resume();
    return text;
  };
  const secured = async (socket: Socket): Promise<Socket> => {
    const tls = connectTls({ socket, servername: 'open.test', ca: desk.rootPem });
    await once(tls, 'secureConnect');
    return tls.on('error', () => undefined);
  };
  try {
    const told = await converse(await way('captured', 'crm.test', crm.port), Buffer.from('GET /c HTTP/1.1\r\nHost: crm.test\r\n\r\n'), 1);
    check.that('control: a labelled host tells its value', told.includes(customer), told);
    const rows: readonly (readonly [string, boolean, Buffer, number, RegExp])[] = [
      ['a card in TLS', true, post(form), 0, /inspection\.actions\.credit-card/], ['a card in plain HTTP', false, post(form), 0, /inspection\.actions\.credit-card/], ['a tainted value in TLS', true, post(`no=${customer}`), 0, /inspection\.actions\.tainted/], ['a tainted value in plain HTTP', false, post(`no=${customer}`), 0, /inspection\.actions\.tainted/],
      ['a card, the method cut before the wait', false, post(form), 2, /inspection\.actions\.credit-card/], ['a card, the target cut before the wait', false, post(form, 'REPORT /abc'), 9, /inspection\.actions\.credit-card/], ['a card behind empty lines', false, Buffer.concat([Buffer.from('\r\n\r\n'), post(form)]), 2, /HTTP\/1\.1 4/], ['a card by a method that is none', false, post(form, 'FOO /x'), 3, /HTTP\/1\.1 4/],
    ];
    for (const [name, tls, bytes, early, expected] of rows) {
      const wrong: unknown[] = [];
      for (const door of doors) {
        const before = web.accepted();
        const socket = await way(door, 'open.test', web.port);
        if (early > 0) socket.write(bytes.subarray(0, early));
        // The proxy has found the client silent when it opens the other side.
        await until('the other side is opened', () => (web.accepted() > before ? true : undefined));
        const text = await (tls ? secured(socket) : Promise.resolve(socket)).then((ready) => converse(ready, bytes.subarray(early), 1), (error: Error) => error.message);
        if (!expected.test(text) || web.heard() !== '') wrong.push({ door, text: text.slice(0, 300), heard: web.heard().slice(0, 100) });
      }
      check.that(`${name}, after a wait: refused, nothing arrives`, wrong.length === 0, wrong);
    }
    for (const [index, [name, banner, words]] of greetings.entries()) {
      const server = servers[index];
      if (!server) continue;
      const wrong: unknown[] = [];
      for (const door of doors) {
        const greeted = async (): Promise<Socket> => {
          const socket = await way(door, 'open.test', server.port);
          await answered(socket, Buffer.alloc(0), (text) => text.length >= banner.length);
          return socket;
        };
        for (const bytes of [hello, post(form), Buffer.from('FOO /x HTTP/1.1\r\n')]) {
          const before = server.heard();
          const text = await answered(await greeted(), bytes, (answer) => answer !== '');
          if (text !== '' || server.heard() !== before) wrong.push({ door, text, bytes: bytes.toString('latin1', 0, 20) });
        }
        const from = server.heard().length;
        const socket = await greeted();
        const text = await answered(socket, Buffer.from(words, 'latin1'), (answer) => answer === 'heard');
        socket.destroy();
        if (text !== 'heard' || server.heard().slice(from) !== words) wrong.push({ door, text, heard: server.heard().slice(from) });
      }
      check.that(`a server that speaks first as ${name} does: its client is passed on, TLS and HTTP are not`, wrong.length === 0, wrong);
    }
  } finally {
    await desk.close();
    await Promise.all([web, crm, ...servers].map((one) => one.close()));
  }
}
