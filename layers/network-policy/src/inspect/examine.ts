/** Inspects one body by what the policy says, down to what is needed to act on it: a body can have tens of thousands of findings. */
import type { KnownSet, Scan } from '@nemoclaw/detect';
import { actionFor, strictest } from './findings.ts';
import type { Found, InspectionSettings } from './findings.ts';
import { inspectBody } from './inspect-body.ts';

export interface Examination {
  readonly bytes: Uint8Array;
  /** The header's value, in its own case. */
  readonly contentType: string;
  readonly known: KnownSet;
  readonly settings: InspectionSettings;
}

export interface Examined {
  /** Those of one class at one place are one, with their number. */
  readonly found: readonly Found[];
  /** The body without what is to be taken out; undefined where nothing is, or where it cannot be. */
  readonly rewritten: Uint8Array | undefined;
}

/** Places that are told apart. */
const mostPlaces = 64;

/** `search`: another way to the same findings than `scan`. */
export function examine({ bytes, contentType, known, settings }: Examination, search?: Scan): Examined {
  const { found, redacted } = inspectBody(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), contentType, known, search);
  const redacts = (one: Found): boolean => actionFor(one, settings) === 'redact';
  const rewrites = strictest(found, settings)?.action !== 'block' && found.some(redacts);
  return { found: condense(found), rewritten: rewrites ? redacted(redacts) : undefined };
}

function condense(all: readonly Found[]): readonly Found[] {
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
