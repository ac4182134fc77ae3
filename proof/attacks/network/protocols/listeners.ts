/** Servers that take what a careless one would take, and keep all of it: what arrives in any of their readings has arrived. */
import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import { listenOn, type OpenListener } from '../../../harness/listener.ts';

export interface Listener extends OpenListener {
  /** What was understood, in order. */
  readonly heard: string[];
}

async function listen(talk: (socket: Socket, heard: string[]) => void): Promise<Listener> {
  const heard: string[] = [];
  return { ...(await listenOn('127.0.0.1', (socket) => talk(socket, heard))), heard };
}

/** Mail: a line ends by CR LF, LF or CR, and a message by a dot between any two of them. */
export const openCarelessMail = (): Promise<Listener> =>
  listen((socket, heard) => {
    let text = '';
    let data = false;
    socket.write('220 careless\r\n');
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (;;) {
        if (data) {
          const end = /(?:^|\r\n|\n|\r)\.(?:\r\n|\n|\r(?!\n?$))/.exec(text);
          if (!end) return;
          heard.push(`message ${JSON.stringify(text.slice(0, end.index))}`);
          text = text.slice(end.index + end[0].length);
          data = false;
          socket.write('250 queued\r\n');
          continue;
        }
        const end = /\r\n|\n|\r(?!$)/.exec(text);
        if (!end) return;
        const line = text.slice(0, end.index);
        text = text.slice(end.index + end[0].length);
        if (!/^(?:EHLO|RSET|QUIT)/.test(line)) heard.push(line);
        data = /^DATA/i.test(line);
        socket.write(data ? '354 go\r\n' : /^EHLO/i.test(line) ? '250-careless\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n' : '250 ok\r\n');
      }
    });
  });

/** Redis: lists of texts and inline commands, lengths in any spelling; every command is answered with OK. */
export const openCarelessRedis = (): Promise<Listener> =>
  listen((socket, heard) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (;;) {
        const line = /^([^\n]*)\n/.exec(text);
        if (!line) return;
        const count = /^[*~>%]\s*\+?(\d+)/.exec(text);
        if (!count) {
          const inline = (line[1] ?? '').trim();
          text = text.slice(line[0].length);
          if (inline === '') continue;
          heard.push(`inline ${inline}`);
          socket.write('+OK\r\n');
          continue;
        }
        let rest = text.slice(line[0].length);
        const words: string[] = [];
        for (let i = Number(count[1]); i > 0; i -= 1) {
          const head = /^\$\s*\+?(\d+)[^\n]*\n/.exec(rest);
          if (!head || rest.length < head[0].length + Number(head[1]) + 2) return;
          words.push(rest.slice(head[0].length, head[0].length + Number(head[1])));
          rest = rest.slice(head[0].length + Number(head[1]) + 2);
        }
        text = rest;
        heard.push(words.join(' '));
        socket.write('+OK\r\n');
      }
    });
  });

/** PostgreSQL without encryption and without a password: the parameters of each start, then the type and text of each message. */
export const openCarelessPostgres = (): Promise<Listener> =>
  listen((socket, heard) => {
    let kept = Buffer.alloc(0);
    let started = false;
    const ready = Buffer.from('520000000800000000' + '5a0000000549', 'hex');
    socket.on('data', (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]);
      for (;;) {
        const head = started ? 1 : 0;
        if (kept.length < head + 4) return;
        const length = Math.max(4, kept.readUInt32BE(head));
        if (kept.length < head + length) return;
        const body = kept.subarray(head + 4, head + length);
        const type = started ? String.fromCharCode(kept[0] ?? 0) : '';
        kept = kept.subarray(head + length);
        const shown = body.toString('latin1').replaceAll('\0', '|');
        if (started) {
          heard.push(`${type} ${shown}`);
          if (type === 'Q') socket.write(Buffer.from('430000000d53454c454354203100' + '5a0000000549', 'hex'));
          continue;
        }
        const code = body.length >= 4 ? body.readUInt32BE(0) : 0;
        if (code === 80_877_103 || code === 80_877_104) {
          socket.write('N');
          continue;
        }
        heard.push(`${code >>> 16 === 3 ? 'start' : `code ${code}`} ${body.subarray(4).toString('latin1').replaceAll('\0', '|')}`);
        started = true;
        socket.write(ready);
      }
    });
  });

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Frames of an origin by the path that is asked for: what a hostile origin answers to a handshake, or sends after it. */
export interface Origin {
  /** In place of the answer to the handshake. */
  readonly instead?: (accept: string) => string;
  /** Follows the answer. */
  readonly after?: Buffer;
}

/** WebSocket: keeps requests by their line, and each frame as it came, faults included; answers `got` to each message. */
export const openWebSocketOrigin = (origins: Readonly<Record<string, Origin>>): Promise<Listener> =>
  listen((socket, heard) => {
    let kept = Buffer.alloc(0);
    let open = false;
    socket.on('data', (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]);
      while (!open) {
        const end = kept.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = kept.toString('latin1', 0, end);
        kept = kept.subarray(end + 4);
        const path = head.split(' ')[1] ?? '';
        heard.push(`${head.split('\r\n')[0]}${/\r\n(?:x-injected|sec-websocket-extensions|transfer-encoding|content-length)[^\r]*/i.exec(head)?.[0].trim() ?? ''}`);
        const accept = createHash('sha1').update((/sec-websocket-key: ([^\r]*)/i.exec(head)?.[1] ?? '') + guid).digest('base64');
        const origin = origins[path];
        open = origin?.instead === undefined && /\r\nupgrade: websocket/i.test(head);
        const good = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
        socket.write(origin?.instead?.(accept) ?? (open ? good : 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'), 'latin1');
        if (origin?.after) socket.write(origin.after);
      }
      for (let frame = frameOf(kept); frame; frame = frameOf(kept)) {
        heard.push(frame.shown);
        kept = kept.subarray(frame.end);
        if (/^(?:text|binary)/.test(frame.shown)) socket.write(Buffer.from([0x81, 3, 0x67, 0x6f, 0x74]));
        if (frame.shown.startsWith('close')) socket.end();
      }
    });
  });

function frameOf(bytes: Buffer): { readonly shown: string; readonly end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const [first = 0, second = 0] = bytes;
  const short = second & 127;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const head = 2 + lengthBytes + (second & 128 ? 4 : 0);
  if (bytes.length < head) return undefined;
  const length = lengthBytes === 0 ? short : lengthBytes === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < head + length) return undefined;
  const key = bytes.subarray(head - 4, head);
  const data = Buffer.from(bytes.subarray(head, head + length));
  if (second & 128) for (let i = 0; i < data.length; i += 1) data[i] = (data[i] ?? 0) ^ (key[i & 3] ?? 0);
  const kind = ({ 0: 'more', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' } as Readonly<Record<number, string>>)[first & 15] ?? `kind ${first & 15}`;
  const odd = [second & 128 ? '' : ' unmasked', first & 0x70 ? ' reserved' : '', first & 0x80 ? '' : ' cut'].join('');
  return { shown: `${kind}${odd} ${kind === 'close' ? (data.length >= 2 ? data.readUInt16BE(0) : '') : data.toString('latin1').slice(0, 60)}`.trim(), end: head + length };
}
