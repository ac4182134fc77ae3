/** Origins that stop in the middle of an answer, and answers that may be silent for long. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { Dispatcher } from 'undici';
import { Http1Pool } from './http1-upstream.ts';
import { Http2Pool } from './http2-upstream.ts';

const answerMs = 400;

interface Heard {
  /** Status, bytes, `end` or what failed. */
  readonly said: string[];
  readonly controller: Dispatcher.DispatchController;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i += 1) {
    assert.ok(i < 6000, what);
    await new Promise((next) => setTimeout(next, 10));
  }
}

for (const version of ['HTTP/1.1', 'HTTP/2'] as const) {
  test(`${version}: an answer that stops in its middle ends, while a stream of events and an answer that is not read wait as long as they need to`, async (t) => {
    const answers = new Map<string, ServerResponse>();
    const answer = (req: { readonly url?: string | undefined }, res: ServerResponse): void => {
      const path = req.url ?? '';
      answers.set(path, res);
      if (path === '/length' || path === '/unread') res.setHeader('content-length', 10);
      if (path === '/events') res.setHeader('content-type', 'text/event-stream');
      res.writeHead(200);
      res.write('first');
    };
    const sockets = new Set<Socket>();
    const server = version === 'HTTP/2' ? createHttp2((req, res) => answer(req, res as unknown as ServerResponse)) : createServer(answer);
    server.on('connection', (socket: Socket) => sockets.add(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const toOrigin = async (): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return socket;
    };
    const pool = version === 'HTTP/2' ? new Http2Pool({ tls: false, authority: 'one.test', connect: toOrigin, sessions: 1, idleMs: 30_000, answerMs }) : new Http1Pool({ connect: toOrigin, connections: 8, idleMs: answerMs / 2, answerMs });
    t.after(async () => {
      pool.destroy();
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((done) => server.close(() => done()));
    });
    /** An answer that has begun; on a busy machine the first try may be too late already. */
    const begun = async (path: string, reads = true): Promise<Heard> => {
      for (;;) {
        const said: string[] = [];
        let controller: Dispatcher.DispatchController | undefined;
        pool.dispatch({ method: 'GET', path, headers: ['host', 'one.test'], body: null, trailers: () => [] }, {
          onResponseStart: (given, status) => {
            controller = given;
            said.push(String(status));
            if (!reads) given.pause();
          },
          onResponseData: (_controller, bytes) => void said.push(bytes.toString()),
          onResponseEnd: () => void said.push('end'),
          onResponseError: (_controller, error) => void said.push(error.message),
        });
        await until(`${path} is answered`, () => said.length > 0);
        if (controller) return { said, controller };
        assert.deepEqual(said, ['the origin did not answer in time']);
      }
    };
    const events = await begun('/events');
    const unread = await begun('/unread', false);
    for (const path of ['/length', '/chunks', '/length']) {
      const { said } = await begun(path);
      await until(`${path} ends`, () => said.length > 2 || said[1] === stopped);
      assert.equal(said.at(-1), stopped, path);
    }
    for (const [path, { said, controller }, last] of [['/events', events, 'second'], ['/unread', unread, 'whole']] as const) {
      answers.get(path)?.end(last);
      controller.resume();
      await until(`${path} ends`, () => said.at(-1) === 'end');
      assert.deepEqual([said[0], said.slice(1, -1).join('')], ['200', `first${last}`]);
    }
  });
}

const stopped = 'the origin stopped in the middle of its answer';
