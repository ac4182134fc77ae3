/** Listeners that keep every byte they are sent: what an attack must not reach, or may reach in one form only. */
import type { Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import { createIntermediate, createLeafKey, createRootCa, mintLeaf } from '../../../layers/network-policy/src/tls/certificate.ts';
import { listenOn, type OpenListener } from '../../harness/listener.ts';

/** One request as it arrived, byte for byte. */
export interface Arrived {
  readonly line: string;
  readonly host: string;
  readonly headers: readonly string[];
  readonly body: string;
}

export type Reading = { readonly state: 'whole'; readonly request: Arrived; readonly end: number } | { readonly state: 'more' } | { readonly state: 'bad'; readonly why: string };

const bad = (why: string): Reading => ({ state: 'bad', why });

/** Reads one request as the strictest server would: every doubt is `bad`. */
function readStrictly(text: string): Reading {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return { state: 'more' };
  const [line = '', ...headers] = text.slice(0, end).split('\r\n');
  if (!/^[A-Z]+ [\x21-\x7e]+ HTTP\/1\.1$/.test(line)) return bad(`request line ${line}`);
  const fields = new Map<string, string>();
  for (const header of headers) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\r\n\0]*)$/.exec(header) ?? [];
    const key = name.toLowerCase().replaceAll('_', '-');
    if (name === '') return bad(`header ${header}`);
    if (['host', 'content-length', 'transfer-encoding'].includes(key) && fields.has(key)) return bad(`two of ${key}`);
    fields.set(key, value.trim());
  }
  const host = fields.get('host');
  if (host === undefined) return bad('no host');
  const length = fields.get('content-length');
  const coded = fields.get('transfer-encoding');
  if (length !== undefined && (coded !== undefined || !/^\d+$/.test(length))) return bad('framing');
  if (coded !== undefined && coded !== 'chunked') return bad(`transfer-encoding ${coded}`);
  const content = coded === undefined ? sized(text, end + 4, Number(length ?? 0)) : chunked(text, end + 4);
  if ('state' in content) return content;
  return { state: 'whole', request: { line: line.slice(0, -9), host, headers, body: content.body }, end: content.end };
}

function sized(text: string, at: number, length: number): { readonly body: string; readonly end: number } | Reading {
  return text.length < at + length ? { state: 'more' } : { body: text.slice(at, at + length), end: at + length };
}

function chunked(text: string, from: number): { readonly body: string; readonly end: number } | Reading {
  let body = '';
  for (let at = from; ;) {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return { state: 'more' };
    const size = text.slice(at, line);
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) return bad(`chunk ${size}`);
    const length = Number.parseInt(size, 16);
    if (length === 0) {
      const end = text.startsWith('\r\n', line + 2) ? line + 4 : text.indexOf('\r\n\r\n', line + 2) + 4;
      return end < 4 ? (text.length < line + 4 || !text.startsWith('\r\n', line + 2) ? { state: 'more' } : bad('end')) : { body, end };
    }
    if (text.length < line + 4 + length) return { state: 'more' };
    if (!text.startsWith('\r\n', line + 2 + length)) return bad('chunk without an end');
    body += text.slice(line + 2, line + 2 + length);
    at = line + 4 + length;
  }
}

export interface Canary extends OpenListener {
  /** The authority of its certificate; '' without TLS. */
  readonly caPem: string;
  /** Every byte so far, connections one after the other. */
  readonly bytes: () => string;
  /** Whole requests, in order. */
  readonly requests: Arrived[];
  /** What no strict server would have taken. */
  readonly faults: string[];
  /** What was begun and never ended. */
  readonly halves: string[];
  /** What it answers; by default `canary`. */
  answer: (request: Arrived) => string;
}

export const fine = (body = 'canary', headers = ''): string => `HTTP/1.1 200 OK\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`;

/** `host`: speaks TLS with a certificate for that name. `raw`: only keeps what comes. Listens on both address families. */
export async function openCanary(options: { readonly host?: string; readonly raw?: boolean } = {}): Promise<Canary> {
  const parts: string[] = [];
  const requests: Arrived[] = [];
  const faults: string[] = [];
  const halves: string[] = [];
  const now = performance.timeOrigin + performance.now();
  const root = createRootCa('canary', now);
  const key = createLeafKey();
  const context = options.host === undefined ? undefined : createSecureContext({ key: key.keyPem, cert: mintLeaf(createIntermediate(root, [options.host], now), options.host, key, now) });
  const hear = (socket: Socket): void => {
    const index = parts.push('') - 1;
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      const more = chunk.toString('latin1');
      parts[index] += more;
      if (options.raw) return;
      text += more;
      for (let read = readStrictly(text); read.state !== 'more'; read = readStrictly(text)) {
        if (read.state === 'bad') {
          faults.push(read.why);
          socket.destroy();
          return;
        }
        requests.push(read.request);
        text = text.slice(read.end);
        socket.write(Buffer.from(canary.answer(read.request), 'latin1'));
      }
    });
    socket.on('close', () => {
      if (text !== '' && !options.raw) halves.push(text);
    });
  };
  const listener = await listenOn('::', (socket) => {
    if (!context) {
      hear(socket);
      return;
    }
    const tls = new TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: ['http/1.1'] });
    tls.on('error', () => undefined);
    hear(tls);
  });
  const canary: Canary = { ...listener, caPem: context ? root.certPem : '', bytes: () => parts.join(''), requests, faults, halves, answer: () => fine() };
  return canary;
}

/** Heads that a careless server takes from the same bytes: by any line ending, the first or last number for a length, or any word with `chunked` in it. */
export function readCarelessly(text: string, by: 'first' | 'last' | 'chunks' | 'nothing'): string[] {
  const lines: string[] = [];
  let rest = text.replace(/\r\n?/g, '\n');
  for (let turn = 0; turn < 20 && rest !== ''; turn += 1) {
    rest = rest.replace(/^\n+/, '');
    const end = rest.indexOf('\n\n');
    const head = end < 0 ? rest : rest.slice(0, end);
    if (!/^\S+\s+\S+/.test(head)) break;
    lines.push(head);
    let body = end < 0 ? '' : rest.slice(end + 2);
    const numbers = (/content[-_]length\s*:([^\n]*)/i.exec(head)?.[1] ?? '').match(/\d+/g) ?? [];
    const length = by === 'first' ? numbers[0] : numbers.at(-1);
    if (by === 'chunks' && /transfer[-_]encoding\s*:?\s*[^\n]*chunked/i.test(head)) {
      for (let more = true; more;) {
        const [whole = '', size = ''] = /^\n?\s*\+?(?:0x)?([0-9a-f]+)[^\n]*\n/i.exec(body) ?? [];
        more = Number.parseInt(size, 16) > 0;
        body = body.slice(whole.length + (more ? Number.parseInt(size, 16) : 0));
      }
    } else if ((by === 'first' || by === 'last') && length !== undefined) body = body.slice(Number(BigInt.asUintN(64, BigInt(length))));
    rest = body;
  }
  return lines;
}
