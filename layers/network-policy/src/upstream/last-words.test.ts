/** An origin that answers an upload at once and closes: its answer arrives, whatever happens to the writes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { openDesk } from '../testing/testing-egress.ts';

test('the answer to an upload that was refused in its middle is not lost; where there is none, the failure is told', async (t) => {
  let answer = '';
  const origin = createServer((socket) => {
    socket.on('error', () => undefined);
    // What comes is left in the kernel's buffer: closed so, the connection is reset.
    setTimeout(() => {
      if (answer !== '') socket.write(answer);
      socket.destroySoon();
    }, 20);
  });
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  const { port } = origin.address() as AddressInfo;
  const desk = await openDesk({ rules: [{ host: 'up.test', verdict: 'allow' }], pins: [{ host: 'up.test' }], ports: [port] });
  t.after(async () => {
    await desk.close();
    await new Promise<void>((done) => origin.close(() => done()));
  });
  const upload = async (): Promise<string> => {
    const socket = await desk.tcp('up.test', port);
    let said = '';
    socket.on('data', (chunk: Buffer) => void (said += chunk.toString('latin1')));
    const closed = new Promise((done) => socket.once('close', done));
    socket.write(`POST /x HTTP/1.1\r\nHost: up.test:${port}\r\nContent-Length: ${40 << 20}\r\nContent-Type: application/octet-stream\r\n\r\n`);
    const more = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(1 << 16)));
      socket.once('drain', more);
    };
    more();
    await closed;
    return said.split('\r\n', 1)[0] ?? '';
  };
  answer = 'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno';
  for (let i = 0; i < 10; i += 1) assert.match(await upload(), / 413 /);
  answer = '';
  assert.match(await upload(), / 502 /);
});
