/** Everything that is found in one body, frame or part, as each of its readers would see it, and the body without it. */
import { scan, type Known, type Scan } from '@nemoclaw/detect';
import { base64Runs, foldForms, undoExponents, undoPercent, undoQuotedPrintable, undoReferences } from './encoded-runs.ts';
import { isUnreadText, isUnreadXml } from './charsets.ts';
import type { Found } from './findings.ts';
import { joined, taintedIn, type Sought } from '../taint/memory.ts';
import { undoEscapes, type Piece } from '../taint/pieces.ts';
import { otherReadings, typesIn } from './mime-fields.ts';
import { readMultipart } from './multipart.ts';
import { readText, writeText } from './read-text.ts';
import { viewOf, type Edit } from './views.ts';

export interface Inspected {
  readonly found: readonly Found[];
  /** A part of it is a text in a character encoding that cannot be read. */
  readonly unread?: boolean;
  /** The body with what `which` names replaced by marks; undefined where that cannot be done without breaking it, or leaves some of it. */
  redacted(which: (found: Found) => boolean): Buffer | undefined;
}

/** What is tainted may be of another class as well. */
const seenAs = (type: Found['type'], value: string): string => (type === 'tainted' ? `tainted ${value}` : value);

interface Located extends Found {
  /** In the view; none where it was found in something decoded further. */
  readonly at?: Piece;
}

/** `contentType`: the header's value, in its own case ('' for none). `known`: the sandbox's own secrets. `tainted`: what may not go where this goes. `search`: another way to the same findings. Never throws; nothing of the body is kept in the findings. */
export function inspectBody(bytes: Buffer, contentType: string, known: Known, tainted?: Sought, search: Scan = scan): Inspected {
  const looked = { known, tainted, search };
  const inspected = inspectPart(bytes, contentType, looked, 0);
  const unquoted = /^multipart\//i.test(contentType) ? unquotedAnywhere(bytes.toString('latin1')) : undefined;
  if (unquoted === undefined) return inspected;
  const more = newTo(inspected.found, inspectPart(Buffer.from(unquoted, 'latin1'), '', looked, 0).found);
  return more.length === 0 ? inspected : { ...inspected, found: [...inspected.found, ...more], redacted: (which) => (more.some(which) ? undefined : inspected.redacted(which)) };
}

/** Readers differ in what a part and a field of its head are, and so in which are quoted-printable: all of it without that, where anything says that it is. */
function unquotedAnywhere(text: string): string | undefined {
  return /quoted-printable/i.test(text) && /=(?:[0-9A-Fa-f]{2}|[ \t]*\r?\n)/.test(text) ? undoQuotedPrintable(text) : undefined;
}

/** Those that are more, or surer, than what was found in what is written. */
function newTo(written: readonly Found[], read: readonly Found[]): readonly Found[] {
  const before = new Map<string, { left: number; sure: number }>();
  const of = ({ type, kind }: Found): { left: number; sure: number } => before.get(`${type} ${kind}`) ?? { left: 0, sure: 0 };
  for (const one of written) before.set(`${one.type} ${one.kind}`, { left: of(one).left + 1, sure: Math.max(of(one).sure, one.confidence) });
  return read.filter((one) => (of(one).left -= 1) < 0 || one.confidence > of(one).sure).map((one) => ({ ...one, decoded: true as const }));
}

export interface Looked {
  readonly known: Known;
  readonly tainted: Sought | undefined;
  readonly search?: Scan;
}

/** All that is found in a text; what is tainted may overlap the rest. */
export function findIn(text: string, { known, tainted, search = scan }: Looked): readonly (Pick<Found, 'type' | 'kind' | 'confidence'> & Piece)[] {
  const found = search(text, { known });
  return tainted ? [...found, ...taintedIn(text, tainted, found).map((at) => ({ ...at, type: 'tainted' as const, kind: 'tainted', confidence: 1 }))] : found;
}

function inspectPart(bytes: Buffer, contentType: string, looked: Looked, depth: number): Inspected {
  if (bytes.length === 0) return { found: [], redacted: () => bytes };
  const type = contentType.toLowerCase();
  if (type.startsWith('multipart/') && depth < 2) {
    const parts = inspectParts(bytes, contentType, looked, depth);
    if (parts) return parts;
  }
  const { text, encoding, also } = readText(bytes, type);
  // What says of its parts that they are in another encoding, and cannot be taken apart, or what says so of itself.
  const unread = type.startsWith('multipart/') ? typesIn(text).some(isUnreadText) : isUnreadXml(bytes);
  const view = viewOf(text, type);
  const seen = new Set<string>();
  // Each look costs as much as the text is long, so only so many are taken; what is not looked up counts as decoded, and is not shown.
  let looks = 64;
  const isPlain = (value: string): boolean => view.text === text || ((looks -= 1) >= 0 && text.includes(value));
  const found: Located[] = findIn(view.text, looked).map((at) => {
    const value = view.text.slice(at.start, at.end);
    seen.add(seenAs(at.type, value));
    return { type: at.type, kind: at.kind, confidence: at.confidence, place: view.place(at.start), at, ...(isPlain(value) ? {} : { decoded: true as const }) };
  });
  for (const [deeper, how] of decodedFurther(view.text, also.map((other) => viewOf(other, type).text), looked)) {
    for (const at of findIn(deeper.text, looked)) {
      const value = deeper.text.slice(at.start, at.end);
      if (seen.has(seenAs(at.type, value))) continue;
      seen.add(seenAs(at.type, value));
      found.push({ type: at.type, kind: at.kind, confidence: at.confidence, place: `${view.place(deeper.start)}, ${how}`, decoded: true });
    }
  }
  return {
    found, unread,
    redacted: (which) => {
      const chosen = found.filter(which);
      const marked = chosen.flatMap(({ at, type: name }) => (at ? [{ start: at.start, end: at.end, mark: `[redacted:${name}]` }] : []));
      if (marked.length < chosen.length) return undefined;
      const edits = view.edits(joined(marked));
      return edits && encoding && writeText(apply(text, edits), encoding);
    },
  };
}

/** All that is found in fields of a MIME head, as they are written and as their readers see them. */
export function inspectFields(fields: Buffer, looked: Looked): readonly Found[] {
  return inspectReadings(fields, otherReadings(readText(fields, '').text), looked);
}

/** All that is found in bytes, and what is found only in what their readers take them for. */
export function inspectReadings(bytes: Buffer, reading: string, looked: Looked): readonly Found[] {
  const written = inspectPart(bytes, 'text/plain', looked, 0).found;
  const read = inspectPart(Buffer.from(reading, 'utf8'), 'text/plain', looked, 0).found;
  return [...written, ...newTo(written, read)];
}

/** One layer further: what another character encoding, a percent-encoding, a character reference, a full-width form or base64 hides. */
function* decodedFurther(text: string, also: readonly string[], looked: Looked): Generator<readonly [{ readonly start: number; readonly text: string }, string]> {
  for (const other of also) {
    yield [{ start: 0, text: foldForms(other) ?? other }, 'in another character encoding'];
    for (const [{ text: further }] of decodedFurther(other, [], looked)) yield [{ start: 0, text: further }, 'in another character encoding'];
  }
  const percent = undoPercent(text);
  if (percent !== undefined) yield [{ start: 0, text: percent }, 'percent-encoded'];
  const exponents = undoExponents(text);
  if (exponents !== undefined) yield [{ start: 0, text: exponents }, 'as a number with an exponent'];
  const references = undoReferences(text);
  if (references !== undefined) yield [{ start: 0, text: references }, 'as character references'];
  const folded = foldForms(text);
  if (folded !== undefined) yield [{ start: 0, text: folded }, 'in other forms of its characters'];
  // What no view took apart: JSON that is nested too deep or called something else, and a language's strings inside a string of JSON.
  const unescaped = looked.tainted || /\\[u/]/.test(text) ? undoEscapes(text) : undefined;
  if (unescaped !== undefined) yield [{ start: 0, text: unescaped }, 'in escapes'];
  for (const run of base64Runs(text)) yield [run, 'in base64'];
}

function apply(text: string, edits: readonly Edit[]): string {
  let out = '';
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.from - b.from)) {
    out += text.slice(at, edit.from) + edit.text;
    at = edit.to;
  }
  return out + text.slice(at);
}

/** A part's content without its transfer encoding (RFC 2045, 6); undefined where it has none. Quoted-printable is undone in all of a body. */
function untransferred(content: Buffer, encoding: string): Buffer | undefined {
  return encoding.includes('base64') ? Buffer.from(content.toString('latin1'), 'base64') : undefined;
}

function inspectParts(bytes: Buffer, contentType: string, looked: Looked, depth: number): Inspected | undefined {
  const read = readMultipart(bytes, contentType);
  if (!read) return undefined;
  const { parts } = read;
  // What it is taken out of there is not known: it can only be blocked.
  const rest = inspectPart(Buffer.from(read.rest.map((piece) => piece.toString('latin1').trim()).join('\n').trim(), 'latin1'), '', looked, depth + 1);
  const all: { readonly found: Found; readonly of: number }[] = rest.found.map((found) => ({ found: { ...found, place: 'outside the parts' }, of: -1 }));
  const inspected = parts.map((part, i) => {
    for (const found of inspectFields(bytes.subarray(part.headFrom, part.from), looked)) all.push({ found: { ...found, place: `the head of part ${i + 1}` }, of: -1 });
    const content = bytes.subarray(part.from, part.to);
    const inner = inspectPart(content, part.contentType, looked, depth + 1);
    for (const found of inner.found) all.push({ found: { ...found, place: `part ${i + 1}: ${found.place}` }, of: i });
    // Readers of forms leave it encoded (RFC 7578, 4.7), readers of mail do not.
    const undone = untransferred(content, part.encoding);
    if (undone) for (const found of inspectPart(undone, part.contentType, looked, depth + 1).found) all.push({ found: { ...found, place: `part ${i + 1}, base64: ${found.place}`, decoded: true }, of: -1 });
    return inner;
  });
  return {
    found: all.map(({ found }) => found),
    unread: parts.some((part, i) => isUnreadText(part.contentType) || inspected[i]?.unread === true),
    redacted: (which) => {
      const chosen = all.filter(({ found }) => which(found));
      if (chosen.some(({ of }) => of < 0)) return undefined;
      const pieces: Buffer[] = [];
      let at = 0;
      for (const [i, part] of parts.entries()) {
        const mine = inspected[i];
        if (!mine || !chosen.some(({ of }) => of === i)) continue;
        const replaced = mine.redacted((found) => which({ ...found, place: `part ${i + 1}: ${found.place}` }));
        if (!replaced) return undefined;
        pieces.push(bytes.subarray(at, part.from), replaced);
        at = part.to;
      }
      return Buffer.concat([...pieces, bytes.subarray(at)]);
    },
  };
}
