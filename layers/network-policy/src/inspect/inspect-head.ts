/** What is found in the target and the headers of a request. */
import type { Known } from '@nemoclaw/detect';
import { base64Runs, foldForms } from './encoded-runs.ts';
import type { Found } from './findings.ts';
import { findIn } from './inspect-body.ts';
import type { Sought } from '../taint/memory.ts';
import { carriesTainted } from '../taint/taint.ts';

export interface Head {
  /** Path and query as they are sent. */
  readonly target: string;
  readonly query: readonly (readonly [string, string])[];
  /** Name, value, name, value… */
  readonly headers: readonly string[];
}

/** Where a service expects the caller's own credential. A session's token may stand there; one of a known issuer's format may not, since such are put in outside. */
const credentialHeader = /^(?:authorization|cookie|x-api-key|api-key|x-auth-token|x-csrf-token|x-goog-api-key)$/i;
const sessionKinds: ReadonlySet<string> = new Set(['jwt', 'assignment', 'entropy', 'authorization']);
/** Say how to talk, not what. */
const technical = /^(?:accept|accept-.*|content-(?:length|type|encoding)|user-agent|cache-control|pragma|sec-.*|if-.*|range|dnt|date|connection|priority|traceparent|tracestate)$/i;

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

/** Findings of the URL and of each header's value; places are words, never values. `tainted`: what may not go there, looked for in all headers. */
export function inspectHead(head: Head, secrets: Known, tainted?: Sought): Found[] {
  const found: Found[] = [];
  const lookTainted = (text: string, place: string): void => {
    if (carriesTainted(text, tainted)) found.push({ type: 'tainted', kind: 'tainted', confidence: 1, place });
  };
  const look = (text: string, place: string, keep: (kind: string) => boolean, known = secrets): void => {
    const looked = { known, tainted: undefined };
    lookTainted(text, place);
    for (const { type, kind, confidence } of findIn(text, looked)) if (keep(kind)) found.push({ type, kind, confidence, place });
    const folded = foldForms(text);
    if (folded !== undefined) for (const { type, kind, confidence } of findIn(folded, looked)) found.push({ type, kind, confidence, place });
    // In a path the slash before it is not of it.
    for (const run of [...base64Runs(text), ...(text.startsWith('/') ? base64Runs(text.replaceAll('/', '\t')) : [])]) for (const { type, kind, confidence } of findIn(run.text, looked)) found.push({ type, kind, confidence, place: `${place}, in base64` });
  };
  const mark = head.target.indexOf('?');
  look(decodePath(mark < 0 ? head.target : head.target.slice(0, mark)), 'the path of the URL', all);
  if (head.query.length > 0) look(head.query.map(([name, value]) => `${name}=${value}`).join('\n'), 'the query of the URL', all);
  let values = '';
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    const value = head.headers[i + 1] ?? '';
    const part = partOf(name);
    if (part === 'technical') {
      lookTainted(value, 'a header');
      continue;
    }
    if (part === 'credential') look(value, 'a header', issued, none);
    else values += `${value}\n`;
  }
  if (values !== '') look(values, 'a header', all);
  return found;
}

/** The sandbox's own stand there by placeholder, also inside base64, and have been checked where they are put in. */
const none: Known = [];
const all = (): boolean => true;
const issued = (kind: string): boolean => !sessionKinds.has(kind);

function decodePath(path: string): string {
  return path.includes('%') ? path.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8')) : path;
}
