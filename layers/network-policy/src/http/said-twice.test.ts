/** Fields that an origin says more than once, or as a list: they go on, and end nothing. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { ask, openSession } from '../testing/testing-http2.ts';

let origin: Upstream;
let desk: Desk;
const answers: Readonly<Record<string, string>> = {
  '/trailers': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\netag: "a"\r\netag: "b"\r\n\r\n',
  '/twice': 'HTTP/1.1 200 OK\r\nx-content-type-options: nosniff\r\nx-content-type-options: nosniff\r\ncontent-length: 2\r\n\r\nok',
  '/hints': 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style, </b.js>; rel=preload; as=script\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  '/hint': 'HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  '/nothing': 'HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n',
};

before(async () => {
  origin = await openUpstream((req) => {
    req.resume();
    req.on('end', () => req.socket.write(answers[req.url ?? ''] ?? ''));
  }, 'o.test');
  desk = await openDesk({ rules: [{ host: 'o.test', verdict: 'allow' }], pins: [{ host: 'o.test', caPem: origin.caPem ?? '', http1: true }], ports: [origin.port] });
});
after(async () => {
  await desk.close();
  await origin.close();
});

test('over HTTP/2 a field that comes twice, also behind the body, goes on', async () => {
  const session = await openSession(desk, 'o.test', origin.port);
  for (const path of ['/twice', '/trailers', '/twice']) {
    const { status, body } = await ask(session, { ':path': path });
    assert.deepEqual([status, body], [200, 'ok'], path);
  }
  session.destroy();
});

test('over HTTP/2 a length that an origin says of no content is left out', async () => {
  const session = await openSession(desk, 'o.test', origin.port);
  const { status, headers, rstCode } = await ask(session, { ':path': '/nothing' });
  assert.deepEqual([status, headers['content-length'], rstCode], [204, undefined, 0]);
  session.destroy();
});

test('over HTTP/1.1 a hint that Node cannot write is left out, and HTTP/1.0 gets none', async () => {
  const call = async (path: string, version: string): Promise<string> => say(await desk.tls('o.test', origin.port), `POST ${path} HTTP/${version}\r\nHost: o.test:${origin.port}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi`, wholeAnswer);
  assert.match(await call('/hints', '1.1'), /^HTTP\/1\.1 200 [^]*ok$/);
  assert.match(await call('/hint', '1.1'), /^HTTP\/1\.1 103 [^]*HTTP\/1\.1 200 [^]*ok$/);
  assert.match(await call('/hint', '1.0'), /^HTTP\/1\.[01] 200 [^]*ok$/);
});
