/** The API on its Unix socket: HTTP and WebSocket for operators; every connection is checked by the uid the kernel names. */
import { chmodSync, chownSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { NemoError } from '@nemoclaw/contract';
import { WebSocketServer } from 'ws';
import type { House } from '../house.ts';
import { serveExec, serveRun } from './exec-socket.ts';
import { checkPeer, type Peer, type PeerRules } from './peers.ts';
import { asNemoError, bodyFor, statusFor } from './problems.ts';
import { routes } from './routes.ts';

export interface ServerOptions {
  readonly path: string;
  /** Group that may connect; undefined leaves the group as it is. */
  readonly group: number | undefined;
  readonly peers: PeerRules;
  /** SO_PEERCRED of a descriptor; throws where it cannot be had. */
  peerOf(fd: number): Peer;
}

const maxFrame = 1024 * 1024;

export interface ApiServer {
  /** Ends every connection, WebSockets too. */
  close(): void;
}

/** The descriptor of a socket; Node has no public way to it. */
function descriptor(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  return typeof fd === 'number' ? fd : -1;
}

/** Listens. The socket file has mode 0660 from the first moment on. */
export async function serveApi(house: House, options: ServerOptions): Promise<ApiServer> {
  const app = routes(house);
  const peers = new WeakMap<Duplex, Peer>();
  const refusals = new WeakMap<Duplex, NemoError>();
  const handle = getRequestListener((request, env) => {
    const { incoming } = env as { incoming: IncomingMessage };
    const peer = peers.get(incoming.socket);
    if (!peer) {
      const error = refusals.get(incoming.socket) ?? new NemoError('NEMO_E_PEER', { what: 'The kernel does not say who is calling.' });
      return new Response(JSON.stringify(bodyFor(error)), { status: statusFor(error), headers: { 'content-type': 'application/json', connection: 'close' } });
    }
    return app.fetch(request, { peer, incoming });
  });
  const server = createServer({ requestTimeout: 0 }, (req, res) => void handle(req, res));
  server.on('connection', (socket) => {
    try {
      let peer: Peer | undefined;
      try {
        peer = options.peerOf(descriptor(socket));
      } catch {
        peer = undefined;
      }
      peers.set(socket, checkPeer(peer, options.peers));
    } catch (error) {
      refusals.set(socket, asNemoError(error));
    }
  });

  const sockets = new WebSocketServer({ noServer: true, maxPayload: maxFrame, perMessageDeflate: false });
  server.on('upgrade', (req, socket, head) => {
    const peer = peers.get(socket);
    const match = /^\/v1\/sandboxes\/([^/?]+)\/(exec|run)(?:\?|$)/.exec(req.url ?? '');
    // A browser names its origin; the socket is for programs of this machine only.
    if (!peer || !match || req.headers.origin !== undefined) {
      const error = peer ? new NemoError('NEMO_E_NOT_FOUND', { what: 'There is no such address in the API.' }) : (refusals.get(socket) ?? new NemoError('NEMO_E_PEER', { what: 'The kernel does not say who is calling.' }));
      const text = JSON.stringify(bodyFor(error));
      socket.end(`HTTP/1.1 ${statusFor(error)} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`);
      return;
    }
    sockets.handleUpgrade(req, socket, head, (ws) => {
      ws.on('error', () => ws.terminate());
      const name = match[1] ?? '';
      void (match[2] === 'exec' ? serveExec(house, name, peer.uid, ws) : serveRun(house, name, peer.uid, ws));
    });
  });

  rmSync(options.path, { force: true });
  const before = process.umask(0o117);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.path, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  } finally {
    process.umask(before);
  }
  if (options.group !== undefined) chownSync(options.path, -1, options.group);
  chmodSync(options.path, 0o660);
  return {
    close: () => {
      for (const client of sockets.clients) client.terminate();
      sockets.close();
      server.close();
      server.closeAllConnections();
    },
  };
}
