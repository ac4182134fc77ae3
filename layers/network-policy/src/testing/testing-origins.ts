/** Origins in TLS, for tests of what goes to them: one that offers both versions of HTTP, and one that answers in frames of HTTP/2 as it is told. */
import { createSecureServer } from 'node:http2';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { testClock } from './testing-egress.ts';
import { flags, frame, preface, types } from './testing-frames.ts';

export interface Origin {
  readonly port: number;
  readonly caPem: string;
  readonly server: Server;
  /** By ALPN, what it likes best first. */
  offers: readonly string[];
  /** TLS connections made so far. */
  connections(): number;
  /** Ends all of them. */
  drop(): void;
  close(): Promise<void>;
}

const certificate = (host: string): { readonly caPem: string; readonly options: { readonly key: string; readonly cert: string } } => {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('origin', now);
  return { caPem: root.certPem, options: { key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now) } };
};

async function listening(server: Server, caPem: string): Promise<Origin> {
  const sockets = new Set<Socket>();
  let count = 0;
  server.on('secureConnection', () => { count += 1; });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const drop = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port, caPem, server, offers: ['h2', 'http/1.1'], connections: () => count, drop,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      drop();
      await closed;
    },
  };
}

/** Offers HTTP/2 and HTTP/1.1, or what it is told to. */
export async function openOrigin(host: string, listener: (req: Http2ServerRequest, res: Http2ServerResponse) => void): Promise<Origin> {
  const { caPem, options } = certificate(host);
  const choose = ({ protocols }: { readonly protocols: readonly string[] }): string | undefined => origin.offers.find((one) => protocols.includes(one));
  const server = createSecureServer({ ...options, allowHTTP1: true, ALPNCallback: choose }, (req, res) => {
    req.on('error', () => undefined);
    res.on('error', () => undefined);
    listener(req, res);
  });
  server.on('sessionError', () => undefined);
  const origin = await listening(server, caPem);
  return origin;
}

/** Speaks HTTP/2 only. `heads`: called for the head of every request, with the number of its stream; `other`: for every other frame but settings. */
export async function openFrames(host: string, heads: (socket: Socket, stream: number) => void, other: (socket: Socket, type: number, payload: Buffer) => void = () => undefined): Promise<Origin> {
  const { caPem, options } = certificate(host);
  const server = createTls({ ...options, ALPNProtocols: ['h2'] }, (socket) => {
    let got: Buffer = Buffer.alloc(0);
    let greeted = false;
    socket.on('error', () => undefined);
    socket.write(frame('settings', 0, 0));
    socket.on('data', (bytes: Buffer) => {
      got = Buffer.concat([got, bytes]);
      if (!greeted && got.length < preface.length) return;
      if (!greeted) got = got.subarray(preface.length);
      greeted = true;
      while (got.length >= 9 && got.length >= 9 + got.readUIntBE(0, 3)) {
        const end = 9 + got.readUIntBE(0, 3);
        const type = got[3] ?? 0;
        const payload = got.subarray(9, end);
        if (type === types.headers) heads(socket, got.readUInt32BE(5));
        else if (type !== types.settings) other(socket, type, payload);
        else if (((got[4] ?? 0) & flags.ack) === 0) socket.write(frame('settings', flags.ack, 0));
        got = got.subarray(end);
      }
    });
  });
  return listening(server, caPem);
}
