/** Inspects one body, mail or run of values by what the policy says, down to what is needed to act on it: a body can have tens of thousands of findings. */
import type { KnownSet, Scan } from '@nemoclaw/detect';
import { actionFor, strictest } from './findings.ts';
import type { Found, InspectionSettings } from './findings.ts';
import { inspectBody } from './inspect-body.ts';
import { inspectMail } from './inspect-mail.ts';
import { inspectValues } from './inspect-values.ts';
import type { Sought } from '../taint/memory.ts';
import { hashesIn, type Remembering } from '../taint/taint.ts';

export interface Examination {
  readonly bytes: Uint8Array;
  /** The header's value, in its own case. */
  readonly contentType: string;
  /** It is a whole mail, its lines ended by CR LF. */
  readonly mail?: true;
  /** It is several values, which end there. */
  readonly ends?: Uint32Array;
  readonly known: KnownSet;
  readonly settings: InspectionSettings;
  /** What came from labelled hosts and may not go where this goes. */
  readonly tainted?: Sought | undefined;
  /** It comes from a labelled host, and is remembered. */
  readonly remember?: Remembering | undefined;
}

export interface Examined {
  /** Those of one class at one place are one, with their number. */
  readonly found: readonly Found[];
  /** The body without what is to be taken out; undefined where nothing is, or where it cannot be. */
  readonly rewritten: Uint8Array | undefined;
  /** A part of it is a text that cannot be read. */
  readonly unread: boolean;
  /** Of its values, where they are remembered. */
  readonly hashes?: Uint32Array;
}

/** A mail that is sent over HTTP (RFC 5322, 6532). */
const isMail = /^message\/(?:rfc822|global)\s*(?:;|$)/i;
/** Programs write their lines without the CR that mail has. */
const withCrlf = (body: Buffer): Buffer => Buffer.from(body.toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1');

/** Places that are told apart. */
const mostPlaces = 64;

/** `search`: another way to the same findings than `scan`. */
export function examine({ bytes, contentType, mail, ends, known, settings, tainted, remember }: Examination, search?: Scan): Examined {
  const body = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const inspected = mail || isMail.test(contentType) ? inspectMail(mail ? body : withCrlf(body), known, tainted, search) : ends ? inspectValues(body, ends, contentType, known, tainted, search) : inspectBody(body, contentType, known, tainted, search);
  const { found, redacted, unread = false } = inspected;
  const redacts = (one: Found): boolean => actionFor(one, settings) === 'redact';
  const rewrites = strictest(found, settings)?.action !== 'block' && found.some(redacts);
  return { found: condense(found), unread, rewritten: rewrites ? redacted(redacts) : undefined, ...(remember ? { hashes: hashesIn(body, contentType, remember.key) } : {}) };
}

/** Those of one class at one place as one, with their number; at no more than 64 places. */
export function condense(all: readonly Found[]): readonly Found[] {
  const byPlace = new Map<string, Found & { times: number }>();
  const byClass = new Map<string, Found & { times: number }>();
  for (const found of all) {
    const kind = `${found.type} ${found.kind} ${found.confidence} ${found.decoded === true}`;
    const known = byPlace.get(`${kind} ${found.place}`) ?? (byPlace.size < mostPlaces ? undefined : byClass.get(kind));
    if (known) {
      known.times += 1;
      continue;
    }
    const fresh = { ...found, times: 1 };
    byPlace.set(`${kind} ${found.place}`, fresh);
    if (!byClass.has(kind)) byClass.set(kind, fresh);
  }
  return [...byPlace.values()];
}
