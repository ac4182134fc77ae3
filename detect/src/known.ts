/** Exact search for values the caller knows to be secret, also where they are percent-, JSON-, base64- or hex-encoded. */
import type { Finding } from './finding.ts';

/** Shorter values would match by chance and are not searched for. */
const shortestKnown = 6;

/** Compiled once, used for many texts. */
export interface KnownSet {
  readonly needles: readonly string[];
  /** The same as the bytes of UTF-8, one character a byte, for buffers. */
  readonly byteNeedles: readonly string[];
  readonly index: NeedleIndex;
  readonly byteIndex: NeedleIndex;
}

/** Needles by their first two characters (low byte each): one look-up per character of text. */
interface NeedleIndex {
  readonly hit: Uint8Array;
  readonly by: ReadonlyMap<number, readonly string[]>;
}

export type Known = KnownSet | readonly string[];

const compiled = new WeakMap<object, KnownSet>();

/** Prepares values for search; remembered by array, so that callers may pass the same array again and again (it must not be changed meanwhile). */
export function compileKnown(known: Known): KnownSet {
  if ('needles' in known) return known;
  const before = compiled.get(known);
  if (before) return before;
  const needles = new Set<string>();
  for (const value of known) if (value.length >= shortestKnown) for (const form of forms(value)) needles.add(form);
  const list = [...needles].sort((a, b) => b.length - a.length);
  const bytes = list.map((needle) => Buffer.from(needle, 'utf8').toString('latin1'));
  const set = { needles: list, byteNeedles: bytes, index: indexOf(list), byteIndex: indexOf(bytes) };
  compiled.set(known, set);
  return set;
}

function indexOf(needles: readonly string[]): NeedleIndex {
  const hit = new Uint8Array(65536);
  const by = new Map<number, string[]>();
  for (const needle of needles) {
    const key = pair(needle.charCodeAt(0), needle.charCodeAt(1));
    hit[key] = 1;
    by.set(key, [...(by.get(key) ?? []), needle]);
  }
  return { hit, by };
}

function pair(a: number, b: number): number {
  return ((a & 255) << 8) | (b & 255);
}

/** The value itself and how it looks when something has encoded it; base64 at each of its three alignments, without the ends that its neighbours change. */
function* forms(value: string): Generator<string> {
  yield value;
  const json = JSON.stringify(value).slice(1, -1);
  yield json;
  yield json.replaceAll('/', '\\/');
  const percent = Array.from(Buffer.from(value, 'utf8'), (byte) => {
    const c = String.fromCharCode(byte);
    return /[A-Za-z0-9\-_.~]/.test(c) ? c : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`;
  }).join('');
  yield percent;
  yield encodeURIComponent(value.toWellFormed());
  yield encodeURI(value.toWellFormed());
  yield percent.replaceAll(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  yield percent.replaceAll('%20', '+');
  const bytes = Buffer.from(value, 'utf8');
  yield bytes.toString('hex');
  yield bytes.toString('hex').toUpperCase();
  yield [...value].toReversed().join('');
  // As a service writes it that escapes every character, and in UTF-16, whichever byte comes first.
  yield [...value].join('\0');
  for (const [before, after] of [['%', ''], ['\\u00', ''], ['&#x', ';']] as const) {
    const escaped = Array.from(bytes, (byte) => `${before}${byte.toString(16).padStart(2, '0')}${after}`).join('');
    yield escaped;
    yield escaped.replaceAll(/[0-9a-f]{2}(?![0-9a-f])/g, (code) => code.toUpperCase());
  }
  yield Array.from(bytes, (byte) => `&#${byte};`).join('');
  for (const shift of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const whole = text.slice(shift === 0 ? 0 : shift + 1, (shift + bytes.length) % 3 === 0 ? undefined : -1);
    if (whole.length < shortestKnown) continue;
    yield whole;
    yield whole.replaceAll('+', '-').replaceAll('/', '_');
  }
}

/** Appends every occurrence that starts from `from` to before `until` to `out`. */
export function findKnown(text: string, index: NeedleIndex, out: Finding[], from = 0, until = text.length - 1): void {
  if (index.by.size === 0) return;
  const { hit, by } = index;
  const n = Math.min(until, text.length - 1);
  let a = text.charCodeAt(from) & 255;
  for (let i = from; i < n; i += 1) {
    const b = text.charCodeAt(i + 1) & 255;
    const key = (a << 8) | b;
    a = b;
    if (hit[key] === 0) continue;
    for (const needle of by.get(key) ?? []) {
      if (!text.startsWith(needle, i)) continue;
      out.push({ type: 'known-secret', start: i, end: i + needle.length, confidence: 1, kind: 'known' });
      break;
    }
  }
}

/** Replaces known values in a text (also in JSON: the replacement needs no escaping). Leaves everything else as it is. */
export function maskKnown(text: string, known: Known): string {
  const findings: Finding[] = [];
  findKnown(text, compileKnown(known).index, findings);
  if (findings.length === 0) return text;
  let out = '';
  let from = 0;
  for (const { start, end } of findings) {
    if (start < from) {
      from = Math.max(from, end);
      continue;
    }
    out += `${text.slice(from, start)}[redacted:known-secret]`;
    from = end;
  }
  return out + text.slice(from);
}
