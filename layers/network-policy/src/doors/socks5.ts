/** The server's side of SOCKS5 (RFC 1928): no authentication, CONNECT only, to an IPv4 or IPv6 address or to a name that we look up. */
import type { Socket } from 'node:net';
import { readHost } from './target.ts';
import type { Target } from './target.ts';

/** Reply codes of RFC 1928 §6. */
export const socksReply = { succeeded: 0, failure: 1, notAllowed: 2, commandNotSupported: 7, addressNotSupported: 8 } as const;

/** `take`: bytes of the message. */
export type SocksRead<T> = { readonly state: 'more' } | { readonly state: 'bad'; readonly reply: number; readonly why: string } | { readonly state: 'whole'; readonly take: number; readonly value: T };

const more = { state: 'more' } as const;

/** The methods a client offers; whole only if "no authentication" is among them. Pure. */
export function readGreeting(bytes: Buffer): SocksRead<undefined> {
  if (bytes.length > 0 && bytes[0] !== 5) return { state: 'bad', reply: socksReply.failure, why: 'not SOCKS version 5' };
  const count = bytes[1];
  if (count === undefined || bytes.length < 2 + count) return more;
  return bytes.subarray(2, 2 + count).includes(0) ? { state: 'whole', take: 2 + count, value: undefined } : { state: 'bad', reply: 0xff, why: 'the client insists on authentication' };
}

/** The request for a connection. Pure. */
export function readRequest(bytes: Buffer): SocksRead<Target> {
  if (bytes.length < 5) return more;
  const [version, command, reserved, kind, first] = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4] ?? 0];
  if (version !== 5 || reserved !== 0) return { state: 'bad', reply: socksReply.failure, why: 'a malformed SOCKS request' };
  if (command !== 1) return { state: 'bad', reply: socksReply.commandNotSupported, why: 'only CONNECT is served over SOCKS' };
  const size = kind === 1 ? 4 : kind === 4 ? 16 : kind === 3 ? 1 + first : undefined;
  if (size === undefined) return { state: 'bad', reply: socksReply.addressNotSupported, why: 'an unknown kind of address' };
  if (bytes.length < 4 + size + 2) return more;
  const address = bytes.subarray(4, 4 + size);
  const text = kind === 1 ? [...address].join('.') : kind === 4 ? address.toString('hex').replace(/.{4}(?=.)/g, '$&:') : address.subarray(1).toString('latin1');
  const name = readHost(text);
  const port = bytes.readUInt16BE(4 + size);
  if (name === undefined || port === 0) return { state: 'bad', reply: socksReply.failure, why: 'the host or port in the SOCKS request is malformed' };
  return { state: 'whole', take: 4 + size + 2, value: { name, port } };
}

export interface SocksEvents {
  /** The client wants to go there; answers with `reply(code)`, and takes the socket where it is `succeeded`. Bytes that came early are put back. */
  request(target: Target, reply: (code: number) => void): void;
  refused(why: string): void;
}

/** Speaks SOCKS5 on `socket` until its request is there; nothing of it was read yet. Ends after `lateMs`. */
export function serveSocks(socket: Socket, lateMs: number, events: SocksEvents): void {
  let bytes: Buffer = Buffer.alloc(0);
  let greeted = false;
  const ended = (): void => socket.destroySoon();
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', read);
    socket.off('end', ended);
    socket.off('close', stop);
  };
  const refuse = (answer: Buffer, why: string): void => {
    stop();
    events.refused(why);
    socket.end(answer);
    socket.resume();
    setTimeout(() => socket.destroy(), 200).unref();
  };
  const look = (): void => {
    if (!greeted) {
      const greeting = readGreeting(bytes);
      if (greeting.state === 'bad') refuse(Buffer.from([5, greeting.reply]), greeting.why);
      if (greeting.state !== 'whole') return;
      greeted = true;
      bytes = bytes.subarray(greeting.take);
      socket.write(Buffer.from([5, 0]));
    }
    const request = readRequest(bytes);
    if (request.state === 'bad') refuse(answerOf(request.reply), request.why);
    if (request.state !== 'whole') return;
    stop();
    if (bytes.length > request.take) socket.unshift(bytes.subarray(request.take));
    events.request(request.value, (code) => {
      if (code === socksReply.succeeded) socket.write(answerOf(code));
      else {
        socket.end(answerOf(code));
        socket.resume();
        setTimeout(() => socket.destroy(), 200).unref();
      }
    });
  };
  const read = (): void => {
    const next: unknown = socket.read();
    if (!Buffer.isBuffer(next)) {
      if (socket.readableEnded) socket.destroy();
      return;
    }
    bytes = Buffer.concat([bytes, next]);
    look();
  };
  const timer = setTimeout(() => {
    stop();
    events.refused('the SOCKS request did not come in time');
    socket.destroy();
  }, lateMs);
  socket.on('readable', read);
  socket.once('close', stop);
  socket.once('end', ended);
  read();
}

/** A reply; the address we connect from is ours to know. */
const answerOf = (code: number): Buffer => Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
