/** Answers on their way in: the sandbox's own credentials are masked, and what else is found is put on record. */
import { Scanner, type Finding } from '@nemoclaw/detect';
import { refusal } from '../core.ts';
import { isGrpc } from '../protocols/grpc.ts';
import { Stopped } from '../hooks.ts';
import type { AnswerHead, ByteTransform, IncomingHook, Passing } from '../hooks.ts';
import { valueOf, valuesOf } from '../http/fields.ts';
import { hasEncodedMessages } from './answer-kind.ts';
import { AnswerWindow } from './answer-window.ts';
import { ContentDecoder, encodingsOf } from './content-decoder.ts';
import { acts, answerSettings, counts, strictest } from './findings.ts';
import type { Action, Found, InspectionSettings } from './findings.ts';
import { answerBlocked, answerUnreadable, recordFound, settingsOf } from './report.ts';
import { isPageOfRows } from './row-ranges.ts';

const nothing = Buffer.alloc(0);

/** The encodings that all lines of the field name together. */
const encodingsIn = (head: AnswerHead): string[] => encodingsOf(valuesOf(head.headers, 'content-encoding').join(','));

/**
 * A service that echoes what it was sent would give the agent the credential that was put in: it is masked, as long as it was, in bodies of every kind (in headers: answer-head.ts).
 * An answer whose encoding hides its bytes, or that is only a part, is refused where the host has a credential; requests to such a host ask for neither.
 */
export const credentialMask: IncomingHook = {
  open: (passing, head) => {
    const { values: secrets } = passing.core;
    if (secrets.empty) return undefined;
    // Else there is no more than the head.
    const hasBody = passing.checked.method !== 'HEAD' && head.status !== 204 && head.status !== 304;
    if (hasBody && hasCredential(passing) && isPart(head)) {
      throw new Stopped(refusal(passing.core.config.version, 'proxy.answer-part', 'The answer is a part of one although all of it was asked for, so a credential in it could not be masked.', 'Ask the operator to look at this service.'), 'the answer is a part and cannot be searched for credentials', 502);
    }
    const encoded = encodingsIn(head).length > 0;
    if (hasBody && encoded && !hasCredential(passing)) return undefined;
    if (hasBody && hasCredential(passing) && (encoded || hidesMessages(passing, head))) {
      throw new Stopped(refusal(passing.core.config.version, 'proxy.answer-encoding', 'The answer is encoded although that was not asked for, so a credential in it could not be masked.', 'Ask the operator to look at this service.'), 'the answer is encoded and cannot be searched for credentials', 502);
    }
    const mask = secrets.mask(() => passing.core.values);
    return {
      next: (chunk) => mask.next(chunk),
      end: () => {
        if (mask.count > 0) recordFound(passing, 'answer', Array.from({ length: Math.min(mask.count, 100) }, (): Found => ({ type: 'known-secret', kind: 'known', confidence: 1, place: 'the body' })), 'redact');
        return mask.rest();
      },
    };
  },
};

/** Messages of gRPC are undone one by one; no others of answers are. */
const hidesMessages = ({ checked }: Passing, { headers }: AnswerHead): boolean => !(isGrpc(checked.contentType) && isGrpc(valueOf(headers, 'content-type'))) && hasEncodedMessages((name) => valuesOf(headers, name).join(','));

/** Whether it is a part of an answer, a difference to another, or says that it is, whatever its status says. */
function isPart({ status, headers }: AnswerHead): boolean {
  return (status === 206 && !isPageOfRows(headers)) || status === 226 || valuesOf(headers, 'content-type').some((type) => /^multipart\/byteranges/i.test(type)) || valuesOf(headers, 'content-range').some((range) => /^bytes\s+\d/i.test(range));
}

/** Whether values of credentials are put into requests to this place: of AWS keys only the session token is. */
export function hasCredential({ core, place }: Passing): boolean {
  return core.config.credentials.some(({ host, sigv4 }) => host.toLowerCase() === place.name && (!sigv4 || sigv4.sessionToken !== undefined));
}

/** Of one answer, this much is searched for the record: bounded for streams that never end. */
const searched = 1 << 20;
const readable = /^(?:text\/|application\/(?:[a-z0-9.+-]*(?:json|xml)|x-www-form-urlencoded|graphql|yaml))/i;

/** Those whose answer is searched before it gets to the hooks. */
const gated = new WeakSet<Passing>();
export const answerIsGated = (passing: Passing): void => void gated.add(passing);

/** What was told already of a call whose messages are looked at one by one. */
const toldOf = new WeakMap<Passing, Set<string>>();

/** Puts each class on record once for each request and action: a call can have any number of messages. */
export function recordOnce(passing: Passing, way: string, found: readonly Found[], action: Action = 'log'): void {
  const told = toldOf.get(passing) ?? new Set<string>();
  toldOf.set(passing, told);
  const fresh = found.filter(({ type }) => !told.has(`${way} ${action} ${type}`));
  for (const { type } of fresh) told.add(`${way} ${action} ${type}`);
  recordFound(passing, way, fresh, action);
}

/** Answers that are only put on record pass unchanged, as they come, also events of a stream. gRPC messages, and what answers a WebSocket handshake otherwise, are acted on here. */
export const answerInspection: IncomingHook = {
  open: (passing, head): ByteTransform | undefined => {
    const settings = answerSettings(settingsOf(passing.core));
    if (!settings || gated.has(passing)) return undefined;
    const type = valueOf(head.headers, 'content-type');
    const encodings = encodingsIn(head);
    const messages = isGrpc(type) && isGrpc(passing.checked.contentType);
    if (acts(settings)) return messages || readable.test(type) || type === '' ? acting(passing, settings, encodings, messages) : undefined;
    if (!readable.test(type)) return undefined;
    const found: Found[] = [];
    const record = (): void => recordFound(passing, 'answer', found, 'log');
    return encodings.length === 0 ? watching(noteIn(found, settings), record) : watchingEncoded(encodings, noteIn(found, settings), record);
  },
};

/** Ends the answer where something is found that must not be delivered; nothing is taken out of it. */
function acting(passing: Passing, settings: InspectionSettings, encodings: readonly string[], messages: boolean): ByteTransform {
  if (encodings.length > 0) throw answerUnreadable(passing, 'proxy.answer-encoding', 'the answer is encoded although that was not asked for');
  const window = new AnswerWindow((found) => {
    const worst = strictest(found, settings);
    if (!worst) return;
    if (worst.action === 'log') return recordOnce(passing, 'answer', found);
    recordFound(passing, 'answer', found, 'block');
    throw answerBlocked(passing, { ...worst.found, place: messages ? 'a message' : worst.found.place });
  });
  return { next: (chunk) => window.next(chunk), end: () => window.rest() };
}

const noteIn = (found: Found[], settings: InspectionSettings) => (findings: readonly Finding[]): void => {
  for (const one of findings) if (counts(one, settings) && found.length < 1000) found.push({ type: one.type, kind: one.kind, confidence: one.confidence, place: 'the body' });
};

function watching(keep: (findings: readonly Finding[]) => void, record: () => void): ByteTransform {
  const scanner = new Scanner();
  let seen = 0;
  return {
    next: (chunk) => {
      if (seen < searched) keep(scanner.push(chunk.subarray(0, searched - seen)));
      seen += chunk.length;
      return chunk;
    },
    end: () => {
      keep(scanner.end());
      record();
      return nothing;
    },
  };
}

/** Decodes a copy, as much of it as is searched; the record may come a moment after the end. */
function watchingEncoded(encodings: readonly string[], keep: (findings: readonly Finding[]) => void, record: () => void): ByteTransform | undefined {
  const scanner = new Scanner();
  let seen = 0;
  let decoder: ContentDecoder | undefined;
  const stop = (): void => {
    decoder?.close();
    decoder = undefined;
    keep(scanner.end());
    record();
  };
  try {
    decoder = new ContentDecoder(encodings, {
      data: (bytes) => {
        keep(scanner.push(bytes.subarray(0, searched - seen)));
        seen += bytes.length;
        if (seen >= searched) stop();
      },
      ended: stop, failed: stop,
    });
  } catch {
    return undefined;
  }
  let fed = 0;
  return {
    next: (chunk) => {
      if (fed < searched) decoder?.write(chunk);
      fed += chunk.length;
      return chunk;
    },
    end: () => {
      if (fed < searched) decoder?.end();
      else if (decoder) stop();
      return nothing;
    },
  };
}
