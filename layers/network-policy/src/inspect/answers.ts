/** Answers on their way in: the sandbox's own credentials are masked, and what else is found is put on record. */
import { Scanner, type Finding } from '@nemoclaw/detect';
import { refusal } from '../core.ts';
import { Stopped } from '../hooks.ts';
import type { AnswerHead, ByteTransform, IncomingHook, Passing } from '../hooks.ts';
import type { Found } from './findings.ts';
import { recordFound, settingsOf } from './report.ts';

/** The first value of a field, '' where there is none. */
export function headerOf(head: AnswerHead, name: string): string {
  for (let i = 0; i + 1 < head.headers.length; i += 2) if (head.headers[i]?.toLowerCase() === name) return head.headers[i + 1] ?? '';
  return '';
}

const nothing = Buffer.alloc(0);

const isPlain = (encoding: string): boolean => encoding === '' || encoding.trim().toLowerCase() === 'identity';

/**
 * A service that echoes what it was sent would give the agent the credential that was put in: it is masked, as long as it was, in headers and bodies of every kind.
 * An answer whose encoding hides its bytes is refused where the host has a credential; requests to such a host ask for none.
 */
export const credentialMask: IncomingHook = {
  open: (passing, head) => {
    const { values: secrets } = passing.core;
    if (secrets.empty) return undefined;
    head.headers = head.headers.map((value, i) => (i % 2 === 1 && secrets.inText(value) ? secrets.maskBytes(Buffer.from(value, 'latin1')).bytes.toString('latin1') : value));
    if (!isPlain(headerOf(head, 'content-encoding'))) {
      if (!hasCredential(passing)) return undefined;
      throw new Stopped(refusal(passing.core.config.version, 'proxy.answer-encoding', 'The answer is encoded although that was not asked for, so a credential in it could not be masked.', 'Ask the operator to look at this service.'), 'the answer is encoded and cannot be searched for credentials', 502);
    }
    const mask = secrets.mask();
    return {
      next: (chunk) => mask.next(chunk),
      end: () => {
        if (mask.count > 0) recordFound(passing, 'answer', Array.from({ length: Math.min(mask.count, 100) }, (): Found => ({ type: 'known-secret', kind: 'known', confidence: 1, place: 'the body' })), 'redact');
        return mask.rest();
      },
    };
  },
};

/** Whether credentials are put into requests to this place. */
export function hasCredential({ core, place }: Passing): boolean {
  return core.config.credentials.some(({ host }) => host.toLowerCase() === place.name);
}

/** Of one answer, this much is searched for personal data: enough for any record, and bounded for streams that never end. */
const searched = 1 << 20;
const readable = /^(?:text\/|application\/(?:[a-z0-9.+-]*(?:json|xml)|x-www-form-urlencoded|graphql|yaml))/i;

/** Text of answers, as it comes, also events of a stream: passed on unchanged, and what was found is on record once, at its end. */
export const answerInspection: IncomingHook = {
  open: (passing, head): ByteTransform | undefined => {
    const settings = settingsOf(passing.core);
    if (!settings.scanForPII || settings.responses === false || !readable.test(headerOf(head, 'content-type')) || !isPlain(headerOf(head, 'content-encoding'))) return undefined;
    const scanner = new Scanner();
    const found: Found[] = [];
    const keep = (findings: readonly Finding[]): void => {
      for (const { type, kind, confidence } of findings) if (confidence >= 0.9 && found.length < 1000) found.push({ type, kind, confidence, place: 'the body' });
    };
    let seen = 0;
    return {
      next: (chunk) => {
        if (seen < searched) keep(scanner.push(chunk.subarray(0, searched - seen)));
        seen += chunk.length;
        return chunk;
      },
      end: () => {
        keep(scanner.end());
        recordFound(passing, 'answer', found, 'log');
        return nothing;
      },
    };
  },
};
