/** An answer in chunks that comes in one piece reaches the client in order, its last chunk last. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openDesk, say } from '../testing/testing-egress.ts';

test('head, two chunks and the end in one packet', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n'));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const desk = await openDesk({ rules: [{ host: 'chunks.test', verdict: 'allow' }], pins: [{ host: 'chunks.test' }], ports: [port] });
  try {
    const text = await say(await desk.tcp('chunks.test', port), 'GET / HTTP/1.1\r\nHost: chunks.test\r\nConnection: close\r\n\r\n');
    const chunks = text.slice(text.indexOf('\r\n\r\n') + 4);
    assert.match(chunks, /\r\n0\r\n\r\n$/);
    assert.equal(chunks.replace(/[0-9a-f]+\r\n([a-z]*)\r\n/g, '$1'), 'onetwothree');
  } finally {
    await desk.close();
    await new Promise<void>((done) => server.close(() => done()));
  }
});
