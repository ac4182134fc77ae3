/** The other side of the network faults: it answers, it resets in each phase, it drips, and it sends without end. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createIntermediate, createLeafKey, createRootCa, LeafMinter } from '@nemoclaw/network-policy';

/** Its name in a sandbox. */
export const serviceName = 'service.example';

const drip = 'drop by drop';

/** Each ends the connection in another phase of the answer. */
const faults: Readonly<Record<string, (socket: Socket) => void>> = {
  none: (socket) => socket.resetAndDestroy(),
  head: (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-len', () => socket.resetAndDestroy()),
  body: (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it', () => setTimeout(() => socket.resetAndDestroy(), 100)),
  late: (socket) => socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n', () => setTimeout(() => socket.resetAndDestroy(), 100)),
  half: (socket) => void socket.end(),
  garbage: (socket) => void socket.end('what is this\r\n\r\n'),
};

export class NetworkService {
  readonly heard: string[] = [];
  /** Called at once with each path that is heard. */
  hears: (path: string) => void = () => undefined;
  readonly #server: Server = createServer((req, res) => this.#answer(req, res));
  #secure: SecureServer | undefined;

  constructor() {
    this.#server.on('upgrade', (req, socket) => {
      this.heard.push(req.url ?? '');
      socket.on('error', () => undefined);
      const accept = createHash('sha1').update(`${req.headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
      const ticks = setInterval(() => socket.write(Buffer.from([0x81, 4, ...Buffer.from('tick')])), 20);
      socket.on('close', () => clearInterval(ticks));
    });
  }

  listen(): Promise<number> {
    return portOf(this.#server);
  }

  /** The same with TLS; `rootPem` vouches for it. */
  async listenSecurely(): Promise<{ readonly port: number; readonly rootPem: string }> {
    const root = createRootCa('the service', Date.now());
    const minter = new LeafMinter(createIntermediate(root, [serviceName], Date.now()), createLeafKey());
    this.#secure = createSecureServer({ key: minter.keyPem, cert: minter.mint(serviceName, Date.now()) }, (req, res) => this.#answer(req, res));
    return { port: await portOf(this.#secure), rootPem: root.certPem };
  }

  close(): void {
    for (const server of [this.#server, this.#secure]) {
      server?.closeAllConnections();
      server?.close();
    }
  }

  #answer(req: IncomingMessage, res: ServerResponse): void {
    const path = (req.url ?? '').split('?')[0] ?? '';
    this.heard.push(path);
    this.hears(path);
    res.on('error', () => undefined);
    req.on('error', () => undefined);
    const fault = faults[path.replace('/fault/', '')];
    if (path.startsWith('/fault/') && fault) fault(req.socket);
    else if (path === '/large') this.#pour(res, 64);
    else if (path === '/events') {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      const ticks = setInterval(() => res.write('data: tick\n\n'), 20);
      res.on('close', () => clearInterval(ticks));
    } else if (path === '/drip') {
      let got = 0;
      req.on('data', (part: Buffer) => { got += part.length; });
      req.on('end', () => this.#drip(res, got === 20 ? drip : 'not all came'));
    } else {
      req.resume();
      req.on('end', () => res.end('fine'));
    }
  }

  #pour(res: ServerResponse, mebibytes: number): void {
    const piece = Buffer.alloc(1 << 16, 'x');
    let left = mebibytes * 16;
    const more = (): void => {
      while (left > 0) {
        left -= 1;
        if (!res.write(piece)) {
          res.once('drain', more);
          return;
        }
      }
      res.end();
    };
    more();
  }

  #drip(res: ServerResponse, text: string): void {
    res.writeHead(200, { 'content-length': text.length });
    let at = 0;
    const next = (): void => {
      res.write(text.charAt(at));
      at += 1;
      if (at < text.length) setTimeout(next, 2);
      else res.end();
    };
    next();
  }
}

async function portOf(server: Server | SecureServer): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', 4096, done));
  return (server.address() as AddressInfo).port;
}
