/** What comes in countless small pieces costs no more than its bytes: told by the bytes that are copied, not by time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { collectBody } from '../body/outgoing-body.ts';
import { ByteReader } from './byte-reader.ts';

test('a long message in pieces is put together once, and lines behind it are read on', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const taken = once(server, 'connection') as Promise<[Socket]>;
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.setNoDelay(true);
  const [socket] = await taken;
  const reader = new ByteReader(socket, 60_000);
  const { concat } = Buffer;
  let copied = 0;
  t.mock.method(Buffer, 'concat', (list: readonly Uint8Array[]) => {
    const out = concat(list);
    copied += out.length;
    return out;
  });
  const pieces = Array.from({ length: 300 }, (_, i) => Buffer.alloc(2000, i));
  const whole = reader.exactly(600_000);
  for (const [i, piece] of pieces.entries()) {
    client.write(piece);
    while (i < 299 && reader.waiting < (i + 1) * 2000) await new Promise((next) => setImmediate(next));
  }
  const got = await whole;
  client.write('one\r\ntw');
  client.write('o\r\n');
  assert.deepEqual([(await reader.line(100)).toString(), (await reader.line(100)).toString(), reader.waiting], ['one', 'two', 0]);
  t.mock.restoreAll();
  assert.ok(got.equals(Buffer.concat(pieces)));
  assert.ok(copied < 2_000_000, `${copied} bytes were copied`);
  client.destroy();
  socket.destroy();
  server.close();
});

test('a body of countless small pieces is kept in few', async (t) => {
  const { concat } = Buffer;
  let most = 0;
  t.mock.method(Buffer, 'concat', (list: readonly Uint8Array[]) => {
    most = Math.max(most, list.length);
    return concat(list);
  });
  const body = await collectBody(Readable.from(Array.from({ length: 20_000 }, () => Buffer.from('x')), { objectMode: true }), 1 << 20, 60_000, () => true);
  t.mock.restoreAll();
  assert.ok(Buffer.isBuffer(body) && body.length === 20_000);
  assert.ok(most < 20, `${most} pieces`);
});
