/** The other side of the benchmark table: answers `GET /v1/bytes/SIZE/…` over HTTP/1.1 and HTTP/2 with bytes that the client knows too. */
import { createServer as createHttp2 } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { testClock } from '../testing/testing-egress.ts';

export const largest = 1 << 20;
const piece = 64 * 1024;

/** Words of small letters, the same in every process: text, so that a proxy that searches text has to, and nothing that it would find. */
function words(): Buffer {
  const out = Buffer.alloc(largest, 0x20);
  let state = 1;
  for (let i = 0; i < largest; i += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    const of = (state >>> 16) % 31;
    if (of < 26) out[i] = 0x61 + of;
  }
  return out;
}
export const content = words();

const sizeOf = (path: string): number => Math.min(largest, Number(/^\/v1\/bytes\/(\d+)\//.exec(path)?.[1] ?? 0));

/** `write` false: wait for a drain. Never more than one piece ahead of the reader, so that many readers of much cost little memory. */
function send(stream: Socket | ServerHttp2Stream, size: number, done: () => void, from = 0): void {
  let at = from;
  while (at < size) {
    const next = Math.min(size, at + piece);
    const room = stream.write(content.subarray(at, next));
    at = next;
    if (room || at >= size) continue;
    stream.once('drain', () => send(stream, size, done, at));
    return;
  }
  done();
}

/** One request after the other; parses no more than the path, so that it costs next to nothing. */
function serveHttp1(socket: Socket): void {
  let head = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    head += chunk.toString('latin1');
    if (!head.endsWith('\r\n\r\n')) return;
    const size = sizeOf(head.slice(4, head.indexOf(' ', 4)));
    head = '';
    socket.cork();
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: ${size}\r\n\r\n`);
    send(socket, size, () => undefined);
    process.nextTick(() => socket.uncork());
  });
}

/** Starts it on a port of its own; whoever offers HTTP/2 gets it. */
export async function files(host: string): Promise<{ port: number; caPem: string }> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('bench', now);
  const http2 = createHttp2();
  http2.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const size = sizeOf(headers[':path'] ?? '');
    stream.respond({ ':status': 200, 'content-type': 'text/plain', 'content-length': size });
    send(stream, size, () => stream.end());
  });
  const server = createTls({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now), ALPNProtocols: ['h2', 'http/1.1'] }, (socket) => {
    socket.setNoDelay(true);
    if (socket.alpnProtocol === 'h2') http2.emit('connection', socket);
    else serveHttp1(socket);
  });
  await new Promise<void>((done) => server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, done));
  return { port: (server.address() as AddressInfo).port, caPem: root.certPem };
}
