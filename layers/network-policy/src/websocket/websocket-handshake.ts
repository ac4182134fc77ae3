/** The opening of a WebSocket (RFC 6455 §4): the client's is checked, ours to the origin is written anew, and what the origin answers is checked too. */
import { createHash, randomBytes } from 'node:crypto';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { valuesOf } from '../http/fields.ts';

export interface Handshake {
  /** What the client is answered. */
  readonly accept: string;
  /** Subprotocols that the client offers. */
  readonly protocols: readonly string[];
}

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const acceptFor = (key: string): string => createHash('sha1').update(key + guid).digest('base64');
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Whether the request offers HTTP/2 in the clear and nothing else: a server may go on as if it had not (RFC 9110 §7.8), and Java and curl expect that. */
export const offersHttp2 = (req: IncomingMessage): boolean => valuesOf(req.rawHeaders, 'upgrade').join().trim().toLowerCase() === 'h2c';

/** The connection of such a request, which Node's parser has let go of, with the request before `rest` again, but without its offer: for a fresh parser. */
export function withoutOffer({ method = '', url = '', httpVersion, rawHeaders }: IncomingMessage, socket: Socket, rest: Buffer): Socket {
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (name === 'upgrade' || name === 'http2-settings') continue;
    const value = rawHeaders[i + 1] ?? '';
    text += `${rawHeaders[i]}: ${name === 'connection' ? value.split(',').filter((option) => !/^\s*(?:upgrade|http2-settings)\s*$/i.test(option)).join() : value}\r\n`;
  }
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), rest]));
  return socket;
}

/** Whether the request asks for a WebSocket and nothing else, in order; a text says why not. */
export function readHandshake(req: IncomingMessage): Handshake | string {
  const raw = req.rawHeaders;
  const values = (name: string): string[] => valuesOf(raw, name);
  if (req.method !== 'GET' || req.httpVersion !== '1.1') return 'a WebSocket is opened by GET over HTTP/1.1';
  if (values('upgrade').join().trim().toLowerCase() !== 'websocket') return 'no protocol but WebSocket can be changed to';
  if (!values('connection').join().toLowerCase().split(',').some((option) => option.trim() === 'upgrade')) return 'the connection header does not say upgrade';
  if (values('content-length').some((length) => length !== '0') || values('transfer-encoding').length > 0) return 'the opening of a WebSocket has no body';
  const [key = '', ...more] = values('sec-websocket-key');
  if (more.length > 0 || Buffer.from(key, 'base64').length !== 16 || Buffer.from(key, 'base64').toString('base64') !== key) return 'the WebSocket key is not 16 bytes in base64';
  if (values('sec-websocket-version').join() !== '13') return 'only version 13 of WebSocket is understood';
  const protocols = values('sec-websocket-protocol').flatMap((value) => value.split(',').map((one) => one.trim()));
  if (protocols.some((one) => !token.test(one)) || new Set(protocols).size !== protocols.length) return 'the list of WebSocket subprotocols is malformed';
  return { accept: acceptFor(key), protocols };
}

/** What the origin answered: a WebSocket, or an ordinary answer to pass on. */
export type Opened =
  | { readonly state: 'open'; readonly socket: Socket; readonly early: Buffer; readonly protocol: string | undefined; readonly rawHeaders: readonly string[] }
  | { readonly state: 'answered'; readonly answer: IncomingMessage };

/** Opens a WebSocket over `socket`; extensions are not offered, so that every message can be read. `headers`: name, value, name, value…; rejects where the origin answers wrongly. */
export function openWebSocket(socket: Socket, target: string, headers: readonly string[], protocols: readonly string[], withinMs: number): Promise<Opened> {
  const key = randomBytes(16).toString('base64');
  const sent: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!/^(sec-websocket-.*|upgrade|connection|content-length)$/i.test(name)) sent.push(name, headers[i + 1] ?? '');
  }
  sent.push('Upgrade', 'websocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Key', key, 'Sec-WebSocket-Version', '13');
  if (protocols.length > 0) sent.push('Sec-WebSocket-Protocol', protocols.join(', '));
  return new Promise((resolve, reject) => {
    // With an agent, even `false`, Node would make a connection of its own.
    const call = request({ method: 'GET', path: target, headers: sent, setHost: false, createConnection: () => socket, maxHeaderSize: 64 * 1024 });
    const timer = setTimeout(() => call.destroy(new Error('the origin did not answer the WebSocket handshake in time')), withinMs);
    call.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    call.once('upgrade', (answer, upgraded, early) => {
      clearTimeout(timer);
      const protocol = answer.headers['sec-websocket-protocol'];
      const wrong =
        answer.headers.upgrade?.toLowerCase() !== 'websocket' ? 'changed to another protocol'
        : answer.headers['sec-websocket-accept'] !== acceptFor(key) ? 'accepted another key'
        : answer.headers['sec-websocket-extensions'] !== undefined ? 'uses an extension that was not offered'
        : protocol !== undefined && !protocols.includes(protocol) ? 'chose a subprotocol that was not offered'
        : undefined;
      if (wrong === undefined) resolve({ state: 'open', socket: upgraded as Socket, early, protocol, rawHeaders: answer.rawHeaders });
      else {
        upgraded.destroy();
        reject(new Error(`the origin ${wrong}`));
      }
    });
    call.once('response', (answer) => {
      clearTimeout(timer);
      // Without an upgrade header it is no upgrade to Node, but to a client it is one.
      if (answer.statusCode !== 101) return resolve({ state: 'answered', answer });
      answer.destroy();
      reject(new Error('the origin changed to another protocol'));
    });
    call.end();
  });
}
