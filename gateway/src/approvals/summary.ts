/** What a held request is, in the gateway's own words: the first line of the card is never taken from whoever holds the request. */
import { safeLine, type ActionRequest, type FileOp, type SyscallHold } from '@nemoclaw/contract';
import { withoutPayload } from './kept-request.ts';
import { asRequest, type ApprovalRecord } from './record.ts';

const longest = 80;
/** Which request it is, and digests of its head, path and body. */
const unshown = new Set(['$request', '$headers', '$body', '$target']);
const verbs: Readonly<Record<FileOp, string>> = { read: 'Read', write: 'Change', create: 'Create', delete: 'Delete', rename: 'Rename', exec: 'Run', connect: 'Connect to' };

function value(given: unknown): string {
  const text = typeof given === 'string' ? given : (JSON.stringify(given) ?? '');
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}

/** A part of an address, as it is sent: with blanks in it, it could go on like the sentence behind it; and however long, that is not pushed out. */
const inAddress = (text: string): string => value(text.replace(/\s/gu, (blank) => encodeURIComponent(blank)));

/** Verb and object, one line, escaped. `action`: the catalogue's name, '' where it has none. */
export function summaryOf(request: ActionRequest, action: string): string {
  const { resource, params } = request;
  // The catalogue's attributes often repeat an argument under another name; once is enough to read.
  const seen = new Set<string>();
  // Nor is what the sentence says anyway, which request it is, nor what nobody can read.
  const shown = [...params].filter(([name]) => !unshown.has(name) && (resource.kind !== 'http' || name !== '$path')).map(([name, given]) => [name, value(given)] as const).filter(([, text]) => !seen.has(text) && seen.add(text));
  const args = shown.slice(0, 4).map(([name, text]) => `${name} ${text}`).join(', ');
  const more = shown.length > 4 ? `, and ${shown.length - 4} more` : '';
  const named = action === '' ? '' : `${action}: `;
  switch (resource.kind) {
    case 'tool':
      return safeLine(`${named === '' ? `${resource.name}: ` : named}${args === '' ? 'without arguments' : args}${more}`);
    case 'http': {
      const port = resource.port === (resource.tls ? 443 : 80) ? '' : `:${resource.port}`;
      const query = resource.query.length === 0 ? '' : inAddress(`?${resource.query.map(([name, given]) => `${name}=${given}`).join('&')}`);
      return safeLine(`${named}${resource.method} ${resource.tls ? 'https' : 'http'}://${resource.host}${port}${inAddress(resource.path)}${query}${args === '' ? '' : ` with ${args}${more}`}`);
    }
    case 'file':
      return safeLine(resource.toPath === undefined ? `${verbs[resource.op]} ${resource.path}` : resource.op === 'rename' ? `Rename ${resource.path} to ${resource.toPath}` : `${verbs[resource.op]} ${resource.toPath} as a link to ${resource.path}`);
    case 'host':
      return safeLine(`${named}connect to ${resource.host}:${resource.port}`);
    case 'call':
      return safeLine(`System call ${resource.name}${resource.args === '' ? '' : `: ${resource.args}`}`);
    case 'none':
      return safeLine(`${named}${args}${more}`);
  }
}

/** The question whether the answer to a request, which was made, is delivered. */
export const ofAnswer = (summary: string): string => `Deliver the answer to ${summary}`;

/** The same for the record and for what stays after the decision: it says what was asked and has nothing of what a request or a tool call carries. */
export function summaryOnRecord({ kind, request, decision, summary, ofAnswer: answers }: Pick<ApprovalRecord, 'kind' | 'request' | 'decision' | 'summary' | 'ofAnswer'>): string {
  if (kind === 'syscall') return summary;
  const { action } = decision;
  if (request.resource.kind === 'tool') return safeLine(`${action === '' ? '' : `${action}: `}tool call ${request.resource.name}`);
  const asked = summaryOf(asRequest(withoutPayload(request)), action);
  return answers ? ofAnswer(asked) : asked;
}

/** The exact system call, for the folded part of the card. */
export function syscallDetail(hold: SyscallHold): string {
  return JSON.stringify({ syscall: hold.syscall, path: hold.path, ...(hold.toPath === null ? {} : { toPath: hold.toPath }), object: { device: hold.dev, inode: hold.ino }, process: { pid: hold.pid, program: hold.exe } }, null, 2);
}
