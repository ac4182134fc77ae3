/** TCP on this host for proofs: listeners that end with everything connected to them, and ports that are free. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

export interface OpenListener {
  readonly port: number;
  /** Connections accepted so far. */
  readonly accepted: () => number;
  /** Resolves when no connection is left. */
  readonly idle: () => Promise<void>;
  /** Ends the listener and every connection; resolves when they are gone. */
  readonly close: () => Promise<void>;
}

/** Listens on a free port of `host`; errors of a connection are nobody's concern. */
export async function listenOn(host: string, talk: (socket: Socket) => void): Promise<OpenListener> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    talk(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    idle: async () => {
      for (const socket of sockets) if (!socket.destroyed) await new Promise<void>((done) => socket.once('close', () => done()));
    },
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A port of 127.0.0.1 that nobody listens at. */
export async function freePort(): Promise<number> {
  const { port, close } = await listenOn('127.0.0.1', () => undefined);
  await close();
  return port;
}
