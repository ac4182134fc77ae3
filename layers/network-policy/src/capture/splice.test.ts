/** Raw TCP by name: each side's end is passed on by itself. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { test } from 'node:test';
import { openDesk } from '../testing/testing-egress.ts';

async function read(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString('latin1'); });
  await once(socket, 'end');
  return text;
}

/** A desk at which raw TCP of `raw.test` goes to this server. */
async function deskTo(server: Server, verdict: 'allow' | 'escalate', limits: { readonly heldRequests?: number } = {}): Promise<{ readonly desk: Awaited<ReturnType<typeof openDesk>>; readonly port: number } & AsyncDisposable> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const desk = await openDesk({ rules: [{ host: 'raw.test', verdict }], pins: [{ host: 'raw.test' }], ports: [port], limits });
  desk.policy.raw = [port];
  return {
    desk, port,
    [Symbol.asyncDispose]: async () => {
      await desk.close();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

test('a client that has said all still gets the answer, and a server that has said all still hears the rest', async () => {
  let heard: Promise<string> | undefined;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      if (first.toString().startsWith('early')) {
        heard = read(socket);
        socket.end('done');
      } else socket.once('end', () => socket.end('answer after the end'));
      socket.resume();
    });
  });
  await using between = await deskTo(server, 'allow');
  const { desk, port } = between;
  const first = await desk.tcp('raw.test', port);
  first.end('question');
  assert.equal(await read(first), 'answer after the end');
  const second = await desk.tcp('raw.test', port);
  second.allowHalfOpen = true;
  second.write('early\n');
  assert.equal(await read(second), 'done');
  second.end('the rest');
  assert.equal(await heard, 'the rest');
});

test('a side that breaks off breaks the other off too: half of something never ends like all of it', async () => {
  const told: string[] = [];
  const server = createServer((socket) => {
    socket.on('end', () => told.push('in order'));
    socket.on('error', (error: NodeJS.ErrnoException) => told.push(error.code ?? ''));
    socket.once('data', (first: Buffer) => {
      if (first.toString().startsWith('down')) socket.write('half', () => setTimeout(() => socket.resetAndDestroy(), 50));
      else socket.write('go on');
    });
  });
  await using between = await deskTo(server, 'allow');
  const { desk, port } = between;
  const down = await desk.tcp('raw.test', port);
  const failed = new Promise<string>((resolve) => {
    down.once('end', () => resolve('in order'));
    down.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
  down.resume().write('down\n');
  assert.equal(await failed, 'ECONNRESET');
  const up = await desk.tcp('raw.test', port);
  up.write('up\n');
  await once(up, 'data');
  up.resetAndDestroy();
  while (told.length === 0) await new Promise((next) => setTimeout(next, 5));
  assert.deepEqual(told, ['ECONNRESET']);
});

test('connections that a person is asked about wait within the number that a sandbox may have waiting', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('answer'));
  });
  await using between = await deskTo(server, 'escalate', { heldRequests: 1 });
  const { desk, port } = between;
  const first = await desk.tcp('raw.test', port);
  first.write('question\n');
  await desk.approver.until(1);
  const second = await desk.tcp('raw.test', port);
  second.on('error', () => undefined);
  second.write('question\n');
  if (!second.destroyed) await once(second.resume(), 'close');
  assert.equal(desk.approver.asked.length, 1);
  assert.ok(desk.audit.events.some((event) => event.verdict === 'deny' && event.message.includes('too many requests wait for approval already')));
  const answered = read(first);
  desk.approver.answer({ verdict: 'allow', approvalId: 'a', by: 'ann' });
  assert.equal(await answered, 'answer');
});

test('a question is withdrawn when its client closes its side, a connection that was approved before is carried whole all the same', async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    void read(socket).then((text) => socket.end(`heard ${text}`));
  });
  await using between = await deskTo(server, 'escalate');
  const { desk, port } = between;
  const gone = await desk.tcp('raw.test', port);
  gone.write('question');
  await desk.approver.until(1);
  gone.end();
  await once(gone.resume(), 'close');
  assert.deepEqual([desk.approver.withdrawn, desk.approver.reasons.includes('policy')], [[desk.approver.asked[0]?.holdId], false]);
  assert.ok(desk.audit.events.some((event) => event.verdict === 'deny' && event.message.includes('closed its side of the connection while a person was asked')));
  const key = desk.approver.asked[0]?.key ?? '';
  desk.approver.grants.add(key);
  const again = await desk.tcp('raw.test', port);
  again.end('question');
  assert.equal(await read(again), 'heard question');
  const waits = await desk.tcp('raw.test', port);
  waits.write('one ');
  await desk.approver.until(2);
  waits.write('two ');
  desk.approver.answer({ verdict: 'allow', approvalId: 'a', by: 'ann' });
  waits.end('three');
  assert.equal(await read(waits), 'heard one two three');
});

test('what passed unread ends where it is to be read from now on, and nothing more of it leaves', async () => {
  let heard = '';
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => { heard += chunk.toString(); });
    socket.write('hello');
  });
  await using between = await deskTo(server, 'allow');
  const { desk, port } = between;
  const client = await desk.tcp('raw.test', port);
  client.on('error', () => undefined);
  const hears = async (text: string): Promise<void> => {
    while (heard !== text) await new Promise((next) => setTimeout(next, 5));
  };
  client.write('one\n');
  await hears('one\n');
  desk.policy.rules = [{ host: 'other.test', verdict: 'allow' }, ...desk.policy.rules];
  desk.egress.update(desk.config);
  client.write('two\n');
  await hears('one\ntwo\n');
  desk.policy.raw = [];
  desk.egress.update(desk.config);
  client.write('three\n');
  if (!client.destroyed) await once(client.resume(), 'close');
  assert.equal(heard, 'one\ntwo\n');
  assert.ok(desk.audit.events.some(({ verdict, message }) => verdict === 'deny' && message.includes('ended by the new policy')));
});

test('a connection that is being made when the policy begins to ask about it asks nobody, and ends', async () => {
  let lookedUp: ((addresses: readonly string[]) => void) | undefined;
  const desk = await openDesk({ rules: [{ host: 'raw.test', verdict: 'allow' }], ports: [7], resolveUpstream: () => new Promise((resolve) => { lookedUp = resolve; }) });
  desk.policy.raw = [7];
  try {
    const client = await desk.tcp('raw.test', 7);
    client.write('hello');
    while (lookedUp === undefined) await new Promise((next) => setTimeout(next, 5));
    const closed = once(client.resume(), 'close');
    desk.policy.rules = [{ host: 'raw.test', verdict: 'escalate', id: 'egress.escalate[0]' }];
    desk.egress.update(desk.config);
    await closed;
    assert.deepEqual(desk.approver.asked, []);
    assert.ok(desk.audit.events.some(({ decision, message }) => decision?.rules[0]?.id === 'egress.escalate[0]' && message.includes('ended by the new policy')));
  } finally {
    lookedUp?.([]);
    await desk.close();
  }
});
