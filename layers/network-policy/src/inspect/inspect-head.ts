/** What is found in the target and the fields of a request, and in the fields of an answer. */
import type { Known } from '@nemoclaw/detect';
import { apart, base64Runs, foldForms, undoPercent, undoReferences } from './encoded-runs.ts';
import type { Found, FoundType } from './findings.ts';
import { findIn } from './inspect-body.ts';
import { readText } from './read-text.ts';
import type { Sought } from '../taint/memory.ts';
import { undoEscapes } from '../taint/pieces.ts';
import { carriesTainted } from '../taint/taint.ts';

export interface Head {
  /** The name it goes to, where no rule says it as it is. */
  readonly host?: string | undefined;
  /** Path and query as they are sent. */
  readonly target: string;
  readonly query: readonly (readonly [string, string])[];
  /** Name, value, name, value… */
  readonly headers: readonly string[];
}

type Keep = (found: Pick<Found, 'type' | 'kind'>) => boolean;
/** `credential`: a session's token may stand there; one of a known issuer's format may not. `place`: addresses, which may be signed. */
type Part = 'technical' | 'credential' | 'place' | 'other';

/** What the name of a field says. */
interface Name {
  readonly part: Part;
  /** Stands before its value where it says what that is, else ''. */
  readonly label: string;
  /** What is looked into of the name itself. */
  readonly alone: string;
}

/** What counts in which fields of one direction. */
interface Fields {
  readonly names: Readonly<Partial<Record<Part, RegExp>>>;
  readonly keeps: Readonly<Record<Part, Keep>>;
  /** The same few names come with every message. */
  readonly known: Map<string, Name>;
  /** Values of technical fields in which nothing was found: the same few come with every message. */
  readonly clean: Set<string>;
}

const sessionKinds: ReadonlySet<string> = new Set(['jwt', 'assignment', 'entropy', 'authorization']);
const weak: ReadonlySet<FoundType> = new Set(['ip', 'phone', 'email']);
const all: Keep = () => true;
const sound: Keep = ({ type }) => !weak.has(type);
const issued: Keep = ({ kind }) => !sessionKinds.has(kind);
/** Numbers and letters without a meaning look like those. */
const opaque: Keep = (found) => issued(found) && found.type !== 'ip' && found.type !== 'phone';
/** A signed address says which key signed it: that is no secret. */
const signed: Keep = (found) => issued(found) && found.kind !== 'aws-key-id';

const ofRequests: Fields = {
  names: {
    // Say how to talk, not what: versions, dates and lengths in them look like addresses and phone numbers.
    technical: /^(?:accept|accept-(?:charset|encoding|language)|content-(?:length|type|encoding)|user-agent|cache-control|pragma|sec-ch-ua(?:-full-version|-full-version-list|-platform-version)?|sec-websocket-(?:key|version)|if-(?:match|none-match|modified-since|unmodified-since|range)|range|date|priority|traceparent|tracestate)$/i,
    // Where a service expects the caller's own credential: those of known issuers are put in outside.
    credential: /^(?:authorization|cookie|x-api-key|api-key|x-auth-token|x-csrf-token|x-goog-api-key)$/i,
  },
  keeps: { technical: sound, credential: issued, place: all, other: all },
  known: new Map(), clean: new Set(),
};
const ofAnswers: Fields = {
  names: {
    technical: /^(?:accept-ranges|access-control-[a-z-]+|age|alt-svc|cache-control|content-(?:encoding|language|length|md5|range|security-policy|security-policy-report-only|type)|cross-origin-[a-z-]+|date|digest|etag|expires|last-modified|nel|p3p|permissions-policy|pragma|referrer-policy|report-to|reporting-endpoints|server|server-timing|strict-transport-security|traceparent|tracestate|vary|via|x-amz-id-2|x-cache(?:-hits)?|x-content-type-options|x-frame-options|x-powered-by|x-served-by|x-timer|x-varnish)$|ratelimit|[-_](?:checksum|crc32c?|digest|etag|generation|hash|id|length|md5|ms|ray|ref|reset|revision|runtime|sha\d+|signature|time|timestamp|trace|uploadid|uuid|version)$/i,
    // Where a service gives its caller a session of its own.
    credential: /^(?:set-cookie|authorization|www-authenticate|authentication-info)$|[-_](?:nonce|token)$/i,
    place: /^(?:location|content-location|link|refresh)$/i,
  },
  keeps: { technical: opaque, credential: opaque, place: signed, other: all },
  known: new Map(), clean: new Set(),
};
const cleanAtMost = 1024;
const namesAtMost = 1024;

function remember(clean: Set<string>, value: string): void {
  if (value.length > 256) return;
  if (clean.size >= cleanAtMost) clean.clear();
  clean.add(value);
}

function nameOf({ names, known }: Fields, name: string): Name {
  const told = known.get(name);
  if (told) return told;
  const part = names.technical?.test(name) ? 'technical' : names.credential?.test(name) ? 'credential' : names.place?.test(name) ? 'place' : 'other';
  const made: Name = { part, label: labels.test(name) && !mayHold.test(name) ? `${name}: ` : '', alone: mayHold.test(name) ? `${name}${apart}` : '' };
  if (name.length > 64) return made;
  if (known.size >= namesAtMost) known.clear();
  known.set(name, made);
  return made;
}

/** Where what is found in a path stands; words may follow. */
export const pathPlace = 'the path of the URL';
/** Names that say what kind of number stands behind them, as the detectors understand it. */
const labels = /(?:^|[-_])id$/i;
/** Names that are long enough for a card or account number. */
const mayHold = /^(?=.*\d).{11}/;

/** Findings of the URL and of each header; places are words, never values. `tainted`: what may not go there, looked for in all headers. */
export function inspectHead(head: Head, secrets: Known, tainted?: Sought): Found[] {
  return inspect(head, ofRequests, secrets, tainted);
}

/** Findings of the fields of an answer (name, value, name, value…), which has the sandbox's own credentials masked already. */
export function inspectAnswerFields(headers: readonly string[]): Found[] {
  return inspect({ target: '', query: [], headers }, ofAnswers, none, undefined);
}

/** What the fields of an answer tell, as it is and undone: not those that say how to talk, and of a session its value, without what stands behind that. Each byte a character, as fields are read. */
export function toldInFields(headers: readonly string[]): string {
  let told = '';
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const { part } = nameOf(ofAnswers, headers[i] ?? '');
    if (part === 'technical') continue;
    const said = headers[i + 1] ?? '';
    const value = readText(Buffer.from(part === 'credential' ? (said.split(';', 1)[0] ?? '') : said, 'latin1'), '').text;
    const forms = `${value}\n${undoPercent(value) ?? ''}\n`;
    // A part of a path is a whole value.
    told += part === 'place' ? forms.replaceAll('/', '\n') : forms;
  }
  return told;
}

function inspect(head: Head, fields: Fields, secrets: Known, tainted: Sought | undefined): Found[] {
  const found: Found[] = [];
  const look = (text: string, place: string, keep: Keep, known = secrets): void => {
    if (carriesTainted(text, tainted)) found.push({ type: 'tainted', kind: 'tainted', confidence: 1, place });
    const seen = new Set<string>();
    const note = (form: string, where: string): void => {
      for (const { type, kind, confidence, start, end } of findIn(form, { known, tainted: undefined })) {
        const value = `${type} ${form.slice(start, end)}`;
        if (!keep({ type, kind }) || (form !== text && seen.has(value))) continue;
        seen.add(value);
        found.push({ type, kind, confidence, place: where });
      }
    };
    note(text, place);
    // Fields are read byte by byte.
    const written = /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString('utf8') : undefined;
    for (const form of [foldForms(text), written, written && foldForms(written), undoPercent(text), undoReferences(text), undoEscapes(text)]) if (form !== undefined) note(form, place);
    // In a path the slash before it is not of it.
    for (const run of [...base64Runs(text), ...(behindSlash.test(text) ? base64Runs(text.replaceAll('/', '\t')) : [])]) note(run.text, `${place}, in base64`);
  };
  if (head.host !== undefined) look(head.host, 'the name of the host', sound);
  const mark = head.target.indexOf('?');
  look(decodePath(mark < 0 ? head.target : head.target.slice(0, mark)), pathPlace, all);
  if (head.query.length > 0) look(head.query.map(([name, value]) => `${name}=${value}`).join('\n'), 'the query of the URL', all);
  // Those of a kind together.
  const texts: Record<Part, string> = { technical: '', credential: '', place: '', other: '' };
  const fresh: string[] = [];
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    const { part, label, alone } = nameOf(fields, name);
    const value = `${label}${head.headers[i + 1] ?? ''}`;
    texts.other += alone;
    if (part === 'technical' && !tainted && fields.clean.has(value)) continue;
    if (part === 'technical') fresh.push(value);
    texts[part] += `${value}${apart}`;
  }
  const before = found.length;
  if (texts.technical !== '') look(texts.technical, 'a header', fields.keeps.technical, none);
  if (found.length === before) for (const value of fresh) remember(fields.clean, value);
  if (texts.credential !== '') look(texts.credential, 'a header', fields.keeps.credential, none);
  // Cookies are percent-encoded as queries are: what hides in one is a layer further.
  const cookies = undoPercent(texts.credential);
  if (cookies !== undefined) look(cookies, 'a header', fields.keeps.credential, none);
  if (texts.place !== '') look(texts.place, 'a header', fields.keeps.place, none);
  if (texts.other !== '') look(texts.other, 'a header', fields.keeps.other);
  return found;
}

/** A part of a path that is long enough for base64. */
const behindSlash = /\/[\w+-]{15}/;
/** The sandbox's own are looked for in all of a head before (head-leaks.ts); where a credential is expected, they stand by placeholder, also inside base64. */
const none: Known = [];

function decodePath(path: string): string {
  return path.includes('%') ? path.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8')) : path;
}
