/** Small servers on loopback for tests: mail, and anything that only needs a socket and a certificate. */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../tls/certificate.ts';
import { testClock } from '../testing/testing-egress.ts';
import { ByteReader } from './byte-reader.ts';
import { readStartup } from './postgres-words.ts';
import { readRespCommand } from './resp.ts';

export interface TestServer {
  readonly port: number;
  /** The authority of its certificate. */
  readonly caPem: string;
  close(): Promise<void>;
}

/** `serve` gets each connection, and what is needed to encrypt it as `host`. */
export async function openServer(host: string, serve: (socket: Socket, context: SecureContext) => void): Promise<TestServer> {
  const now = testClock.now();
  const key = createLeafKey();
  const root = createRootCa('upstream', now);
  const context = createSecureContext({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [host], now), host, key, now) });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    serve(socket, context);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    caPem: root.certPem,
    close: async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export function serverTls(socket: Socket, context: SecureContext): TLSSocket {
  const tls = new TLSSocket(socket, { isServer: true, secureContext: context });
  tls.on('error', () => undefined);
  return tls;
}

export interface MailServer extends TestServer {
  /** Every line that came, with `tls ` before it where it was encrypted. */
  readonly lines: string[];
  /** Whole messages as they came, dots still doubled. */
  readonly messages: string[];
  /** What is offered after EHLO before encryption. */
  offers: readonly string[];
  /** Is sent with the answer to STARTTLS. */
  injected: string;
  /** What is answered to DATA. */
  takes: string;
}

/** A mail server that takes everything. */
export async function openMailServer(host: string): Promise<MailServer> {
  const state = { lines: [] as string[], messages: [] as string[], offers: ['STARTTLS'] as readonly string[], injected: '', takes: '354 go' };
  const talk = (socket: Socket, context: SecureContext, secure: boolean): void => {
    let text = '';
    let data: string | undefined;
    const take = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
        const line = text.slice(0, end);
        text = text.slice(end + 2);
        if (data !== undefined) {
          if (line !== '.') data += `${line}\r\n`;
          else {
            state.messages.push(data);
            data = undefined;
            socket.write('250 2.0.0 queued sk-real-0123456789abcdef\r\n');
          }
          continue;
        }
        state.lines.push(`${secure ? 'tls ' : ''}${line}`);
        if (/^EHLO/i.test(line)) socket.write(['mail.test', ...(secure ? ['AUTH PLAIN LOGIN', '8BITMIME'] : state.offers)].map((word, index, all) => `250${index < all.length - 1 ? '-' : ' '}${word}\r\n`).join(''));
        else if (line === 'STARTTLS') {
          socket.off('data', take);
          socket.write(`220 go\r\n${state.injected}`);
          talk(serverTls(socket, context), context, true);
          return;
        } else if (line === 'DATA') {
          if (state.takes.startsWith('354')) data = '';
          socket.write(`${state.takes}\r\n`);
        } else if (/^AUTH LOGIN/.test(line)) socket.write('334 VXNlcm5hbWU6\r\n');
        else if (/^AUTH/.test(line)) socket.write('235 in\r\n');
        else if (line === 'QUIT') socket.end('221 bye\r\n');
        else socket.write('250 ok\r\n');
      }
    };
    socket.on('data', take);
  };
  const server = await openServer(host, (socket, context) => {
    socket.write('220 mail.test\r\n');
    talk(socket, context, false);
  });
  return Object.assign(state, server);
}

/** A Redis: `answer` gets the words of each command, and gives the bytes that go back. */
export function openRedis(host: string, answer: (words: readonly string[]) => string): Promise<TestServer> {
  const serve = async (socket: Socket): Promise<void> => {
    const reader = new ByteReader(socket, 20_000);
    while (await reader.anything()) socket.write(answer((await readRespCommand(reader)).map((word) => word.toString('latin1'))));
  };
  return openServer(host, (socket) => { serve(socket).catch(() => socket.destroy()); });
}

/** A PostgreSQL that is asked for TLS; `serve` gets what comes after its startup message. */
export function openPostgres(host: string, serve: (tls: TLSSocket, reader: ByteReader, startup: ReturnType<typeof readStartup>) => void | Promise<void>): Promise<TestServer> {
  const begin = async (socket: Socket, context: SecureContext): Promise<void> => {
    const plain = new ByteReader(socket, 20_000);
    await plain.exactly(8);
    socket.write('S');
    plain.detach();
    const tls = serverTls(socket, context);
    const reader = new ByteReader(tls, 20_000);
    await serve(tls, reader, readStartup(await reader.exactly((await reader.exactly(4)).readUInt32BE(0) - 4)));
  };
  return openServer(host, (socket, context) => { begin(socket, context).catch(() => socket.destroy()); });
}

/** Writes and waits for what is expected, or for the end; gives everything that came since the last time. */
export class Dialogue {
  socket: Socket;
  #text = '';
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    this.#listen();
  }

  /** `until` gets all text so far. */
  async say(bytes: string | Buffer, until: (text: string) => boolean): Promise<string> {
    if (bytes.length > 0) this.socket.write(bytes);
    while (!until(this.#text) && !this.#closed) await new Promise<void>((resolve) => { this.#wake = resolve; });
    const text = this.#text;
    this.#text = '';
    return text;
  }

  /** Stops listening, so that somebody else can take the socket. */
  release(): void {
    this.socket.off('data', this.#take);
  }

  resume(socket: Socket): void {
    this.socket = socket;
    this.#listen();
  }

  #listen(): void {
    this.socket.on('data', this.#take);
    this.socket.once('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }
  readonly #take = (chunk: Buffer): void => {
    this.#text += chunk.toString('latin1');
    this.#wake?.();
  };
}
