/** gRPC over HTTP/2: denials in its own words, and its message framing kept in step when bodies are looked at. */
import type { Decision } from '@nemoclaw/contract';
import { refusal } from '../core.ts';
import { after } from '../body/in-order.ts';
import { Pieces } from '../body/pieces.ts';
import { valuesOf } from '../http/fields.ts';
import { Stopped } from '../hooks.ts';
import type { AnswerHead, ByteTransform, IncomingHook, OutgoingHook, Passed, Passing, PatientTransform } from '../hooks.ts';
import { undoEncodings } from '../inspect/undo-encodings.ts';

export const isGrpc = (contentType: string): boolean => /^application\/grpc(?:\+[^;]*)?\s*(?:;|$)/i.test(contentType);

/** Requests whose messages stand as those of gRPC do: gRPC-Web and the streams of Connect, too (https://connectrpc.com/docs/protocol/#streaming-rpcs). */
export const isFramed = (contentType: string): boolean => isGrpc(contentType) || isConnect(contentType) || /^application\/grpc-web/i.test(contentType);

const isConnect = (contentType: string): boolean => /^application\/connect\+/i.test(contentType);

/** gRPC-Web whose messages are one stream of base64. */
export const isInBase64 = (contentType: string): boolean => /^application\/grpc-web-text/i.test(contentType);

// https://grpc.github.io/grpc/core/md_doc_statuscodes.html
const codes: ReadonlyMap<number, number> = new Map([[400, 13], [403, 7], [405, 12], [408, 4], [413, 8], [421, 14], [429, 8], [500, 13], [501, 12], [502, 14], [503, 14]]);

/** The fields of an answer that is trailers only: status 7 PERMISSION_DENIED for a 403, with what the JSON would say in `grpc-message`. */
export function grpcDenial(status: number, body: Readonly<Record<string, unknown>>): string[] {
  const said = (name: string): string => (typeof body[name] === 'string' ? body[name] : '');
  const rule = said('rule');
  const text = [said('reason') || said('error'), rule === '' ? '' : `(rule ${rule})`, said('hint'), said('approvalId') === '' ? '' : `Approval: ${said('approvalId')}.`, said('eventId') === '' ? '' : `Event: ${said('eventId')}.`];
  return ['content-type', 'application/grpc', 'grpc-status', String(codes.get(status) ?? 2), 'grpc-message', percent(text.filter((part) => part !== '').join(' '))];
}

/** The percent-encoding of grpc-message: visible ASCII stays. */
function percent(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text)) out += byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return out;
}

const prefixBytes = 5;
const nothing: Buffer = Buffer.alloc(0);

export interface MessageFraming {
  /** A new transform for each message; `whole`: it is given that as one piece. */
  readonly open: (whole: boolean) => PatientTransform;
  /** What this direction says its compressed messages are encoded in. */
  readonly encoding: string;
  /** Bytes of a message that may be held. */
  readonly limit: number;
  readonly refusal: (why: string) => Decision;
  /** Whether what the transform makes of a message is sent instead; then messages within the limit are held. Else it may refuse, not change. */
  readonly rewrites: boolean;
  /** Whether it reads messages as a whole all the same, within the limit. Asked for each. */
  readonly whole?: (() => boolean) | undefined;
  /** Told of bytes that are held from now on, less than 0 where they are no more. False: that is too much. */
  readonly keep: Keep;
}
export type Keep = (bytes: number) => boolean;

/**
 * Leads each message through a transform of its own, so that nothing of a message waits for the next one: a call may pause between any two.
 * Compressed messages are held and undone for the transform; what was not changed is sent as it came.
 */
export function perMessage({ open, encoding, limit, refusal, rewrites, whole: readsWhole, keep }: MessageFraming): PatientTransform {
  const refuse = (why: string): Stopped => new Stopped(refusal(why), why);
  let head: Buffer = nothing;
  let left = 0;
  let transform: PatientTransform | undefined;
  let held: { readonly head: Buffer; readonly parts: Pieces } | undefined;
  const whole = (): Passed => {
    const done = transform;
    transform = undefined;
    if (!held) return done?.end() ?? nothing;
    const came = held.parts.whole();
    const first = held.head;
    held = undefined;
    const plain = first[0] === 1 ? undo(came, encoding, limit) : came;
    if (plain === undefined || !done) throw refuse('a compressed gRPC message cannot be undone');
    return after(done.next(plain), (looked) => {
      keep(-came.length);
      const passed = Buffer.concat([looked, done.end()]);
      if (passed.equals(plain)) return Buffer.concat([first, came]);
      if (!rewrites) throw refuse('a gRPC message was to be changed on its way');
      const anew = Buffer.alloc(prefixBytes);
      anew.writeUInt32BE(passed.length, 1);
      return Buffer.concat([anew, passed]);
    });
  };
  /** `out`: what goes on of it already. What comes behind a message that takes its time is read after that. */
  const read = (chunk: Buffer, out: Buffer[]): Passed => {
    let rest = chunk;
    while (rest.length > 0) {
      let step: Passed = nothing;
      if (transform) {
        const part = rest.subarray(0, left);
        rest = rest.subarray(part.length);
        left -= part.length;
        if (held) held.parts.add(part);
        else step = transform.next(part);
      } else {
        const more = rest.subarray(0, prefixBytes - head.length);
        rest = rest.subarray(more.length);
        head = Buffer.concat([head, more]);
        if (head.length < prefixBytes) break;
        if ((head[0] ?? 0) > 1) throw refuse('a gRPC message has an unknown flag');
        left = head.readUInt32BE(1);
        if (head[0] === 1 && left > limit) throw refuse('a compressed gRPC message is too large to be looked at');
        held = head[0] === 1 || (left <= limit && (rewrites || readsWhole?.() === true)) ? { head, parts: new Pieces() } : undefined;
        if (!held) step = head;
        // All of it at once, so that many that begin together do not all count on the same room.
        else if (!keep(left)) throw refuse('too much of this sandbox is held already to look at a gRPC message');
        head = nothing;
        transform = open(held !== undefined);
      }
      if (left === 0) {
        step = after(step, (passed) => {
          out.push(passed);
          return whole();
        });
      }
      if (step instanceof Promise) {
        const behind = rest;
        return step.then((passed) => {
          out.push(passed);
          return read(behind, out);
        });
      }
      out.push(step);
    }
    return Buffer.concat(out);
  };
  return {
    next: (chunk) => read(chunk, []),
    end: () => {
      if (!transform && head.length === 0) return nothing;
      throw refuse('the last gRPC message is cut');
    },
  };
}

const framing = (passing: Passing, headers: readonly string[]): Pick<MessageFraming, 'encoding' | 'limit' | 'refusal'> => ({
  // Of two, servers take the one or the other: together they are an encoding that nobody knows.
  encoding: valuesOf(headers, isConnect(valuesOf(headers, 'content-type').join(',')) ? 'connect-content-encoding' : 'grpc-encoding').join(',').trim().toLowerCase(),
  limit: passing.core.ports.limits.bodyBytes,
  refusal: (why) => refusal(passing.core.config.version, 'proxy.grpc', `${why}.`, 'Send gRPC messages uncompressed, with gzip or deflate.'),
});

/** What looks at a gRPC body on its way out: each hook message by message; where none has anything to do, the framing alone, of gRPC only. */
export function grpcTransforms(passing: Passing, keep: Keep): PatientTransform[] {
  const own = framing(passing, passing.checked.headers);
  const opened = (hook: OutgoingHook, whole: boolean): PatientTransform | undefined => (hook.openMessage ? hook.openMessage(passing, whole) : hook.open(passing));
  const all = passing.core.hooks.outgoing.filter((hook) => opened(hook, false)).map((hook) => perMessage({ ...own, open: (whole) => opened(hook, whole) ?? unchanged, rewrites: false, whole: () => hook.wholeMessages?.(passing) === true, keep }));
  return all.length > 0 || !isGrpc(passing.checked.contentType) ? all : [framesOnly(own.refusal)];
}

/** A body that was held as a whole, and is counted so, looked at in the same way. Throws `Stopped`, or rejects with it. */
export function grpcBody(passing: Passing, body: Buffer): Passed {
  return grpcTransforms(passing, () => true).reduce<Passed>((bytes, transform) => after(bytes, (given) => after(transform.next(given), (passed) => Buffer.concat([passed, transform.end()]))), body);
}

/** The same for what comes back; its messages may be rewritten. */
export function grpcAnswers(passing: Passing, head: AnswerHead, keep: Keep): PatientTransform[] {
  const own = framing(passing, head.headers);
  const opened = (hook: IncomingHook, given: AnswerHead): PatientTransform | undefined => (hook.openMessage ? hook.openMessage(passing, given) : hook.open(passing, given));
  const all = passing.core.hooks.incoming.filter((hook) => opened(hook, head)).map((hook) => perMessage({ ...own, open: () => opened(hook, { status: head.status, headers: [...head.headers] }) ?? unchanged, rewrites: true, keep }));
  return all.length > 0 ? all : [framesOnly(own.refusal)];
}

const unchanged: ByteTransform = { next: (chunk) => chunk, end: () => nothing };

/** Follows the framing and nothing else: flags that are known, messages that are whole, nothing behind the last one. The bytes pass as they are. */
export function framesOnly(refusal: (why: string) => Decision): ByteTransform {
  let prefix = 0;
  let size = 0;
  let left = 0;
  const refuse = (why: string): Stopped => new Stopped(refusal(why), why);
  return {
    next: (chunk) => {
      for (let at = 0; at < chunk.length;) {
        if (left > 0) {
          const step = Math.min(left, chunk.length - at);
          left -= step;
          at += step;
          continue;
        }
        const byte = chunk[at] ?? 0;
        if (prefix === 0 && byte > 1) throw refuse('a gRPC message has an unknown flag');
        if (prefix > 0) size = size * 256 + byte;
        prefix += 1;
        at += 1;
        if (prefix < prefixBytes) continue;
        left = size;
        prefix = 0;
        size = 0;
      }
      return chunk;
    },
    end: () => {
      if (left === 0 && prefix === 0) return nothing;
      throw refuse('the last gRPC message is cut');
    },
  };
}

/** Those that gRPC and Connect know, one for each message; lists are of HTTP. A message that says it is compressed, and by nothing, hides what nobody has said. */
const encodings = /^(?:gzip|deflate|br|zstd)$/;

function undo(bytes: Buffer, encoding: string, limit: number): Buffer | undefined {
  const undone = encodings.test(encoding) ? undoEncodings(bytes, encoding, limit) : undefined;
  return undone?.state === 'done' ? undone.body : undefined;
}
