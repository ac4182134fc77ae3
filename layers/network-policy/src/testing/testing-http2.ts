/** HTTP/2 on both sides of an egress, for tests: an upstream with its own authority, and a client through the desk. */
import { connect, createSecureServer, createServer } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, Http2Server, ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { testClock } from './testing-egress.ts';
import type { Desk } from './testing-egress.ts';

export type StreamListener = (stream: ServerHttp2Stream, raw: readonly string[]) => void;

export interface Http2Upstream {
  readonly port: number;
  readonly caPem: string;
  readonly server: Http2Server;
  /** Connections made so far. */
  connections(): number;
  close(): Promise<void>;
}

/** With `host` it speaks TLS with a certificate for that name, and only HTTP/2; without, HTTP/2 by prior knowledge. */
export async function openHttp2Upstream(listener: StreamListener, host?: string): Promise<Http2Upstream> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('upstream', now);
  const server = host === undefined ? createServer() : createSecureServer({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now), allowHTTP1: false });
  server.on('stream', (stream: ServerHttp2Stream, _headers: unknown, _flags: unknown, raw: readonly string[]) => {
    stream.on('error', () => undefined);
    listener(stream, raw);
  });
  server.on('sessionError', () => undefined);
  const sockets = new Set<Socket>();
  let count = 0;
  server.on('connection', (socket: Socket) => {
    count += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port, caPem: root.certPem, server, connections: () => count,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A session as the sandbox would open it. */
export async function openSession(desk: Desk, host: string, port: number, tls = true): Promise<ClientHttp2Session> {
  const socket = tls ? await desk.tls(host, port, { ALPNProtocols: ['h2'] }) : await desk.tcp(host, port);
  const session = connect(`${tls ? 'https' : 'http'}://${host}:${port}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  return session;
}

export interface Http2Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
  readonly interim: readonly number[];
  readonly rstCode: number;
}

/** Reads a stream to its end; status 0 where it was reset before its head. */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  let headers: Record<string, unknown> = {};
  let trailers: Record<string, unknown> = {};
  const interim: number[] = [];
  const chunks: Buffer[] = [];
  stream.on('error', () => undefined);
  stream.on('headers', (fields) => interim.push(Number(fields[':status'])));
  stream.on('continue', () => interim.push(100));
  stream.on('response', (fields) => { headers = { ...fields }; });
  stream.on('trailers', (fields: Record<string, unknown>) => { trailers = { ...fields }; });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((done) => (stream.destroyed ? done() : stream.once('close', done)));
  return { status: Number(headers[':status'] ?? 0), headers, body: Buffer.concat(chunks).toString('utf8'), trailers, interim, rstCode: stream.rstCode ?? 0 };
}

/** Whether a call was refused in words of gRPC, before its answer or behind what came of it. */
export const refusedCall = ({ headers, trailers }: Http2Answer): boolean => [headers, trailers].some((fields) => fields['grpc-status'] === '7' && /\(rule /.test(decodeURIComponent(String(fields['grpc-message']))));

/** One request with an optional body. */
export function ask(session: ClientHttp2Session, fields: Readonly<Record<string, string | string[]>>, body?: string | Buffer): Promise<Http2Answer> {
  const stream = session.request({ ':method': 'GET', ':path': '/', ...fields }, { endStream: body === undefined });
  const answer = answerOf(stream);
  if (body !== undefined) stream.end(body);
  return answer;
}
