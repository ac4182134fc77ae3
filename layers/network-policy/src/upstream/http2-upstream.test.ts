/** The order in which an HTTP/2 answer is handed on, whatever arrives at once. */
import assert from 'node:assert/strict';
import { constants, performServerHandshake } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import { duplexPair, PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Socket } from 'node:net';
import { OutgoingBody } from '../body/outgoing-body.ts';
import type { Pace } from '../fairness/pace.ts';
import type { Wire } from '../http/wire.ts';
import { Http2Pool } from './http2-upstream.ts';
import type { Http2PoolOptions, Http2Request } from './http2-upstream.ts';

/** A pool to an origin that answers so. Its connection is made of JavaScript and read inside one turn, so that nothing that Node puts off comes between the frames of an answer. */
function poolTo(t: TestContext, answer: (stream: ServerHttp2Stream) => void, more: Partial<Http2PoolOptions> = {}): Http2Pool {
  const pool = new Http2Pool({
    tls: false, authority: 'one.test', sessions: 1, idleMs: 10_000, answerMs: 10_000,
    connect: async () => {
      const [ours, theirs] = duplexPair();
      const session = performServerHandshake(theirs as Socket);
      session.on('error', () => undefined);
      session.on('stream', (stream) => {
        stream.on('error', () => undefined);
        answer(stream);
      });
      t.after(() => session.destroy());
      return ours as Socket;
    },
    ...more,
  });
  t.after(() => pool.destroy());
  return pool;
}

test('head before bytes before end, also where all of an answer is read in one turn', async (t) => {
  const pool = poolTo(t, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/plain' });
    stream.end('the whole answer');
  });
  const heard: string[][] = [];
  await Promise.all(Array.from({ length: 20 }, async () => {
    const order: string[] = [];
    heard.push(order);
    await new Promise<void>((resolve, reject) => {
      pool.dispatch({ method: 'GET', path: '/', headers: ['host', 'one.test'], body: null, trailers: () => [] }, {
        onResponseStart: (_controller, status) => void order.push(`head ${status}`),
        onResponseData: (_controller, chunk) => void order.push(chunk.toString()),
        onResponseEnd: () => {
          order.push('end');
          resolve();
        },
        onResponseError: (_controller, error) => reject(error),
      });
    });
  }));
  assert.deepEqual(heard, Array.from({ length: 20 }, () => ['head 200', 'the whole answer', 'end']));
});

test('an origin that goes on with interim answers is given up, as over HTTP/1.1', async (t) => {
  const pool = poolTo(t, (stream) => {
    for (let i = 0; i < 40; i += 1) stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' });
    stream.respond({ ':status': 200 });
    stream.end();
  });
  const heads: number[] = [];
  const failed = await new Promise<string>((resolve) => {
    pool.dispatch({ method: 'GET', path: '/', headers: ['host', 'one.test'], body: null, trailers: () => [] }, {
      onResponseStart: (_controller, status) => void heads.push(status),
      onResponseEnd: () => resolve(''),
      onResponseError: (_controller, error) => resolve(error.message),
    });
  });
  assert.equal(failed, 'the origin sent too many interim answers');
  assert.deepEqual([...new Set(heads)], [103]);
  assert.equal(heads.length, 16);
});

test('that an origin takes HTTP/1.1 only is remembered also where the request cannot be sent again', async (t) => {
  const told: string[] = [];
  const pool = poolTo(t, (stream) => stream.close(constants.NGHTTP2_HTTP_1_1_REQUIRED), {
    http1Only: () => told.push('remembered'),
    instead: ({ method }, handler) => {
      told.push(`instead ${method}`);
      handler.onResponseEnd?.(undefined as never, {});
    },
  });
  const sent = (request: Pick<Http2Request, 'method' | 'body'>): Promise<string> => new Promise((resolve) => {
    pool.dispatch({ path: '/', headers: ['host', 'one.test'], trailers: () => [], ...request }, { onResponseEnd: () => resolve('answered'), onResponseError: () => resolve('failed') });
  });
  const body = new PassThrough();
  const upload = new OutgoingBody({ body, complete: () => true } as unknown as Wire, [], {} as Pace);
  body.write('first bytes');
  assert.equal(await sent({ method: 'PUT', body: upload }), 'failed');
  assert.equal(await sent({ method: 'GET', body: null }), 'answered');
  assert.deepEqual(told, ['remembered', 'remembered', 'instead GET']);
});
