/** Serves HTTP/2 on one connection of the sandbox: strict heads, and limits on what a client can make us do. */
import { constants, performServerHandshake } from 'node:http2';
import type { ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Limits } from '../core.ts';
import { readHttp2Head } from './http2-head.ts';
import type { Http2Head } from './http2-head.ts';
import type { Place, Problem } from './request-check.ts';
import type { TokenBucket } from '../fairness/token-bucket.ts';
import { Http2Wire } from './wire-http2.ts';

export interface Http2Service {
  readonly limits: Limits;
  /** What one connection may annoy us with: each ping, settings frame and stream that is given up takes one. */
  nuisance(): TokenBucket;
  stream(wire: Http2Wire, place: Place, socket: Socket): void;
  /** A stream whose head is refused; it is answered by whoever is called. */
  refused(wire: Http2Wire, place: Place, problem: Problem): void;
}

// What one connection may have unread in all; a stream has 64 KiB of it, so a held stream does not stop the others.
const connectionWindow = 1 << 20;
const streams = 128;

/** Takes `socket` over; bytes that were read and put back are served too. */
export function serveHttp2(service: Http2Service, socket: Socket, place: Place): void {
  const { limits } = service;
  const nuisance = service.nuisance();
  // Node sets this for the sockets of a TLS server only; ours has ended its handshake too.
  if (socket instanceof TLSSocket) Object.assign(socket, { secureConnecting: false });
  const session = performServerHandshake(socket, {
    settings: { maxConcurrentStreams: streams, maxHeaderListSize: 32 * 1024, initialWindowSize: 65_535, enableConnectProtocol: false },
    maxHeaderListPairs: 256, maxSessionInvalidFrames: 20, maxSessionRejectedStreams: 100, maxSettings: 16, maxOutstandingPings: 4, maxSessionMemory: 8,
    ...resets, ...asWritten,
  });
  let open = 0;
  const annoyed = (): void => {
    if (!nuisance.take() && !session.destroyed) session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  };
  session.on('error', () => undefined);
  session.on('ping', annoyed);
  session.on('remoteSettings', annoyed);
  // Idle means: no stream; an event stream may be silent for long.
  session.setTimeout(limits.idleMs, () => { if (open === 0) session.close(); });
  session.once('close', () => socket.destroy());
  session.setLocalWindowSize(connectionWindow);
  session.on('stream', (stream: ServerHttp2Stream, _headers: unknown, _flags: unknown, raw: readonly string[]) => {
    open += 1;
    stream.on('error', () => undefined);
    stream.once('aborted', annoyed);
    stream.once('close', () => { open -= 1; });
    const ended = stream.endAfterHeaders;
    const head = readHttp2Head(raw, ended, place);
    if (isHead(head)) service.stream(new Http2Wire(stream, head, ended), place, socket);
    else service.refused(new Http2Wire(stream, noHead, ended), place, head);
  });
}

// Rapid reset (CVE-2023-44487): nghttp2 ends the connection beyond this many in a burst, and per second after it.
const resets = { streamResetBurst: 200, streamResetRate: 50 };

/** What an origin says on several lines goes on so, also where Node would send one only; not in its types yet. */
const asWritten = { strictSingleValueFields: false };

const noHead: Http2Head = { rawHeaders: [], expects: false, trailers: false };
const isHead = (head: Http2Head | Problem): head is Http2Head => !('code' in head);

/** The start of the HTTP/2 connection preface; no HTTP/1.1 request line begins with it. */
export function hasPreface(bytes: Buffer): boolean {
  return bytes.toString('latin1', 0, 16).startsWith('PRI * HTTP/2.0\r\n'.slice(0, Math.max(4, bytes.length)));
}
