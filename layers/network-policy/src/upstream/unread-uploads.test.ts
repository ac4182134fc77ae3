/** Uploads over HTTP/2 whose origin reads late, or never: the honest get their answers, and what is never read holds nothing for long. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { block, flags, frame } from '../testing/testing-frames.ts';
import { openFrames } from '../testing/testing-origins.ts';
import { Http2Pool } from './http2-upstream.ts';

function poolTo(t: TestContext, connection: () => Promise<Socket>): Http2Pool {
  const pool = new Http2Pool({ tls: false, authority: 'o.test', sessions: 2, idleMs: 60_000, answerMs: 300, connect: connection });
  t.after(() => pool.destroy());
  return pool;
}

async function open(t: TestContext, answer: (stream: ServerHttp2Stream) => void): Promise<Http2Pool> {
  const server = createServer({ maxSessionMemory: 1000 });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    answer(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pool = poolTo(t, async () => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  });
  t.after(() => server.close());
  return pool;
}

const post = (pool: Http2Pool, body: Buffer): Promise<string> => new Promise((resolve) => {
  let status = 0;
  pool.dispatch({ method: 'POST', path: '/', headers: [], body, trailers: () => [] }, {
    onResponseStart: (_controller, code) => { status = code; },
    onResponseEnd: () => resolve(String(status)),
    onResponseError: (_controller, error) => resolve(error.message),
  });
});

test('forty whole bodies at once to an origin that reads them a little later', async (t) => {
  const read: number[] = [];
  const pool = await open(t, (stream) => void setTimeout(() => {
    let size = 0;
    stream.on('data', (chunk: Buffer) => { size += chunk.length; });
    stream.once('end', () => {
      read.push(size);
      stream.respond({ ':status': 200 });
      stream.end();
    });
  }, 100));
  const body = Buffer.alloc(1_000_000, 'plain');
  assert.deepEqual(new Set(await Promise.all(Array.from({ length: 40 }, () => post(pool, body)))), new Set(['200']));
  assert.deepEqual(read, Array(40).fill(body.length));
});

test('an origin that answers first still gets all of a body that is all here', async (t) => {
  let size = 0;
  const whole = Promise.withResolvers<void>();
  const pool = await open(t, (stream) => {
    stream.respond({ ':status': 202 });
    stream.end();
    stream.on('data', (chunk: Buffer) => { size += chunk.length; });
    stream.once('close', whole.resolve);
  });
  assert.equal(await post(pool, Buffer.alloc(400_000, 'plain')), '202');
  await whole.promise;
  assert.equal(size, 400_000);
});

for (const [what, size] of [['large', 1_000_000], ['small', 12_000]] as const) {
  test(`${what} bodies that an origin answers and has no window for: each is reset, and the next is served`, async (t) => {
    let resets = 0;
    let connections = 0;
    const origin = await openFrames('o.test', (socket, id) => {
      socket.write(Buffer.concat([frame('settings', 0, 0, Buffer.from([0, 4, 0, 0, 0, 0])), frame('headers', flags.endHeaders | flags.endStream, id, block([[':status', '401']]))]));
    }, (_socket, type) => { if (type === 3) resets += 1; });
    const pool = poolTo(t, async () => {
      connections += 1;
      const socket = connectTls({ host: '127.0.0.1', port: origin.port, servername: 'o.test', ca: origin.caPem, ALPNProtocols: ['h2'] });
      await once(socket, 'secureConnect');
      return socket;
    });
    t.after(() => origin.close());
    const body = Buffer.alloc(size, 'plain');
    for (let i = 0; i < 150; i += 1) assert.equal(await post(pool, body), '401');
    // The first of a connection may have gone before the origin said that it has no window.
    while (pool.busy || resets < 145) await new Promise((next) => setTimeout(next, 20));
    // What Node counts for ever towards one session's memory is left behind with it.
    assert.equal(connections > 1, true);
  });
}
