/** A client that waits before it speaks is read all the same; protocols whose server speaks first pass as ever. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import { openDesk } from '../testing/testing-egress.ts';
import type { Desk, DeskOptions } from '../testing/testing-egress.ts';

interface Raw {
  readonly desk: Desk;
  /** Bytes that the server got, over all connections. */
  readonly heard: () => string;
  /** A connection on which the client has said `first`, and which the server has taken. */
  readonly waiting: (first?: string) => Promise<Socket>;
  readonly rules: () => readonly (string | undefined)[];
}

/** `banner`: what the server says first. It answers every piece with `heard`. */
async function withRaw(options: Partial<DeskOptions> & { readonly banner?: string }, use: (raw: Raw) => Promise<void>): Promise<void> {
  let heard = '';
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (options.banner !== undefined) socket.write(options.banner);
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1');
      socket.write('heard');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const desk = await openDesk({ rules: [{ host: 'raw.test', verdict: 'allow' }], pins: [{ host: 'raw.test' }], ports: [port], intercepted: ['raw.test'], ...options });
  desk.policy.raw = [port];
  try {
    await use({
      desk, heard: () => heard, rules: () => desk.audit.events.map((event) => event.decision?.rules[0]?.id),
      waiting: async (first = '') => {
        const taken = once(server, 'connection');
        const socket = await desk.tcp('raw.test', port);
        if (first !== '') socket.write(first);
        await taken;
        return socket;
      },
    });
  } finally {
    await desk.close();
    const closed = once(server, 'close');
    server.close();
    await closed;
  }
}

/** What comes until it matches, or until the end. */
async function until(socket: Socket, pattern: RegExp): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (pattern.test(text)) break;
  }
  return text;
}
const closed = async (socket: Socket): Promise<void> => {
  if (!socket.closed) await once(socket.resume(), 'close');
};
const request = 'FOO /x HTTP/1.1\r\nHost: raw.test\r\n\r\n';

test('plain HTTP that begins after a wait is read, also in pieces, and the server gets nothing of it', async () => {
  await withRaw({}, async ({ waiting, heard }) => {
    const whole = await waiting();
    whole.allowHalfOpen = true;
    whole.end(request);
    assert.match(await until(whole, /\r\n\r\n/), /^HTTP\/1\.1 400 /);
    const pieces = await waiting('F');
    pieces.write(request.slice(1));
    assert.match(await until(pieces, /\r\n\r\n/), /^HTTP\/1\.1 400 /);
    assert.equal(heard(), '');
  });
});

test('TLS that begins after a wait is opened as ever', async () => {
  await withRaw({}, async ({ desk, waiting, heard }) => {
    const tls = connectTls({ socket: await waiting(), servername: 'raw.test', ca: desk.rootPem });
    await once(tls, 'secureConnect');
    tls.write('GET /x HTTP/1.1\r\nHost: other.test\r\n\r\n');
    assert.match(await until(tls, /\r\n\r\n/), /^HTTP\/1\.1 4/);
    assert.equal(heard(), '');
  });
});

test('where the server speaks first, or the client says something else, both are passed on', async () => {
  await withRaw({ banner: '220 ready\r\n' }, async ({ waiting, heard, desk }) => {
    const client = await waiting();
    assert.equal(await until(client, /\n/), '220 ready\r\n');
    client.write('EHLO me\r\n');
    assert.equal(await until(client, /heard/), 'heard');
    client.write('GET / HTTP/1.1\r\n\r\n');
    await until(client, /heard/);
    assert.equal(heard(), 'EHLO me\r\nGET / HTTP/1.1\r\n\r\n');
    assert.equal(desk.audit.events.filter((event) => event.message.includes('passed through unread')).length, 1);
    client.destroy();
  });
  await withRaw({}, async ({ waiting, heard }) => {
    const client = await waiting();
    client.write('\x10\x02');
    assert.equal(await until(client, /heard/), 'heard');
    assert.equal(heard(), '\x10\x02');
    client.destroy();
    const half = await waiting('question without an');
    half.write(' end\r\n');
    assert.equal(await until(half, /heard/), 'heard');
    half.destroy();
  });
});

test('TLS or HTTP behind a server that spoke first is refused, and the server gets nothing', async () => {
  await withRaw({ banner: '220 ready\r\n' }, async ({ waiting, heard, rules }) => {
    for (const words of ['\x16\x03\x01\0\x05\x01\0\0\x01\0', request, 'POST ']) {
      const client = await waiting();
      await until(client, /\n/);
      client.write(Buffer.from(words, 'latin1'));
      await closed(client);
    }
    assert.equal(heard(), '');
    assert.equal(rules().filter((id) => id === 'proxy.protocol').length, 3);
  });
});

test('the beginning of a request that does not go on is refused, and is not passed on', async () => {
  await withRaw({ limits: { helloMs: 400 } }, async ({ waiting, heard, rules }) => {
    const client = await waiting('FOO /x');
    await closed(client);
    assert.deepEqual([heard(), rules().at(-1)], ['', 'proxy.head-late']);
  });
});

test('a person is not asked on about a connection whose client turns out to speak HTTP', async () => {
  await withRaw({ rules: [{ host: 'raw.test', verdict: 'escalate' }] }, async ({ desk, heard }) => {
    const [port = 0] = desk.policy.raw;
    const client = await desk.tcp('raw.test', port);
    await desk.approver.until(1);
    client.write(request);
    assert.match(await until(client, /\r\n\r\n/), /^HTTP\/1\.1 400 /);
    assert.deepEqual([desk.approver.withdrawn.length, heard()], [1, '']);
    const other = await desk.tcp('raw.test', port);
    await desk.approver.until(2);
    other.write('\x10\x02');
    desk.approver.answer({ verdict: 'allow', approvalId: 'a', by: 'ann' });
    assert.equal(await until(other, /heard/), 'heard');
    other.destroy();
  });
});
