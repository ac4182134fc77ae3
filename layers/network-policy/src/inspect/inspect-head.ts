/** What is found in the target and the headers of a request. */
import type { Known } from '@nemoclaw/detect';
import { base64Runs, foldForms } from './encoded-runs.ts';
import type { Found, FoundType } from './findings.ts';
import { findIn } from './inspect-body.ts';
import type { Sought } from '../taint/memory.ts';
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

/** Where a service expects the caller's own credential. A session's token may stand there; one of a known issuer's format may not, since such are put in outside. */
const credentialHeader = /^(?:authorization|cookie|x-api-key|api-key|x-auth-token|x-csrf-token|x-goog-api-key)$/i;
const sessionKinds: ReadonlySet<string> = new Set(['jwt', 'assignment', 'entropy', 'authorization']);
/** Say how to talk, not what: versions, dates and lengths in them look like addresses and phone numbers. */
const technical = /^(?:accept|accept-(?:charset|encoding|language)|content-(?:length|type|encoding)|user-agent|cache-control|pragma|sec-ch-ua(?:-full-version|-full-version-list|-platform-version)?|sec-websocket-(?:key|version)|if-(?:match|none-match|modified-since|unmodified-since|range)|range|date|priority|traceparent|tracestate)$/i;
const weak: ReadonlySet<FoundType> = new Set(['ip', 'phone', 'email']);
/** Such values in which nothing was found: the same few come with every request. */
const clean = new Set<string>();
const cleanAtMost = 1024;

function remember(value: string): void {
  if (value.length > 256) return;
  if (clean.size >= cleanAtMost) clean.clear();
  clean.add(value);
}

type Part = 'technical' | 'credential' | 'other';
/** The same few names come with every request. */
const parts = new Map<string, Part>();
const partsAtMost = 1024;

function partOf(name: string): Part {
  const known = parts.get(name);
  if (known !== undefined) return known;
  const part = technical.test(name) ? 'technical' : credentialHeader.test(name) ? 'credential' : 'other';
  if (name.length > 64) return part;
  if (parts.size >= partsAtMost) parts.clear();
  parts.set(name, part);
  return part;
}

/** Findings of the URL and of each header; places are words, never values. `tainted`: what may not go there, looked for in all headers. */
export function inspectHead(head: Head, secrets: Known, tainted?: Sought): Found[] {
  const found: Found[] = [];
  const look = (text: string, place: string, keep: Keep, known = secrets): void => {
    if (carriesTainted(text, tainted)) found.push({ type: 'tainted', kind: 'tainted', confidence: 1, place });
    const note = (plain: string, where: string): void => {
      for (const one of findIn(plain, { known, tainted: undefined })) if (keep(one)) found.push({ type: one.type, kind: one.kind, confidence: one.confidence, place: where });
    };
    note(text, place);
    const folded = foldForms(text);
    if (folded !== undefined) note(folded, place);
    // In a path the slash before it is not of it.
    for (const run of [...base64Runs(text), ...(text.startsWith('/') ? base64Runs(text.replaceAll('/', '\t')) : [])]) note(run.text, `${place}, in base64`);
  };
  if (head.host !== undefined) look(head.host, 'the name of the host', sound);
  const mark = head.target.indexOf('?');
  look(decodePath(mark < 0 ? head.target : head.target.slice(0, mark)), 'the path of the URL', all);
  if (head.query.length > 0) look(head.query.map(([name, value]) => `${name}=${value}`).join('\n'), 'the query of the URL', all);
  // An empty line between them: base64 goes on in the next line, but not behind that.
  let others = '';
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    const value = head.headers[i + 1] ?? '';
    const part = partOf(name);
    if (part === 'technical') {
      if (!tainted && clean.has(value)) continue;
      const before = found.length;
      look(value, 'a header', sound, none);
      if (found.length === before) remember(value);
    } else if (part === 'credential') look(value, 'a header', issued, none);
    else others += mayHold.test(name) ? `${name}\n\n${value}\n\n` : labels.test(name) ? `${name}: ${value}\n\n` : `${value}\n\n`;
  }
  if (others !== '') look(others, 'a header', all);
  return found;
}

/** Names that say what kind of number stands behind them, as the detectors understand it. */
const labels = /(?:^|[-_])id$/i;
/** Names that are long enough for a card or account number. */
const mayHold = /^(?=.*\d).{11}/;
type Keep = (found: Pick<Found, 'type' | 'kind'>) => boolean;
/** The sandbox's own are looked for in all of a head before (head-leaks.ts); where a credential is expected, they stand by placeholder, also inside base64. */
const none: Known = [];
const all: Keep = () => true;
const sound: Keep = ({ type }) => !weak.has(type);
const issued: Keep = ({ kind }) => !sessionKinds.has(kind);

function decodePath(path: string): string {
  return path.includes('%') ? path.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8')) : path;
}
