/** Origins that answer, and need no more, in the middle of uploads: the process lives, and the next requests are served. In a process of its own: what went wrong here was a loop in Node that nothing inside it ends. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http2';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import type { OutgoingBody } from '../body/outgoing-body.ts';
import { Http2Pool } from './http2-upstream.ts';

const uploads = 400;

/** Says how many were answered. */
async function upload(): Promise<void> {
  const origin = createServer({ maxSessionMemory: 1000 });
  origin.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.once('data', () => {
      stream.respond({ ':status': 200 });
      stream.end('enough');
      setTimeout(() => stream.close(0), 20);
    });
  });
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  const { port } = origin.address() as AddressInfo;
  const pool = new Http2Pool({
    tls: false, authority: 'o.test', sessions: 1, idleMs: 60_000, answerMs: 60_000,
    connect: async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    },
  });
  let answered = 0;
  for (let i = 0; i < uploads; i += 1) {
    const body = new Readable({
      highWaterMark: 1 << 18,
      read: () => setImmediate(() => {
        for (let piece = 0; piece <= i % 5; piece += 1) body.push(Buffer.alloc(1 + (i * 977) % 16_384));
      }),
    });
    await new Promise<void>((done) => {
      const ended = (): void => { answered += 1; setImmediate(done); };
      // Every other one is given up with its first bytes.
      pool.dispatch({ method: 'POST', path: '/', headers: [], body: body as unknown as OutgoingBody, trailers: () => [] }, {
        onResponseData: (controller) => { if (i % 2 === 1) controller.abort(new Error('given up')); }, onResponseEnd: ended, onResponseError: ended,
      });
    });
  }
  process.stdout.write(`${answered}`);
  process.exit(0);
}

if (process.argv[2] === 'upload') await upload();
else {
  test('uploads that are not read to their end do not have Node send empty frames for ever', () => {
    const { stdout, signal } = spawnSync(process.execPath, [import.meta.filename, 'upload'], { timeout: 30_000, killSignal: 'SIGKILL', encoding: 'utf8' });
    assert.deepEqual([stdout, signal], [String(uploads), null]);
  });
}
