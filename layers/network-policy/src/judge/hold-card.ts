/** What a person is shown of a request that waits: one sentence, and the exact request with its secrets masked. Pure. */
import { redactForCard, shownOnCards } from '@nemoclaw/detect';
import { maskCredentials } from '../credentials/credentials.ts';
import { maskTarget } from '../inspect/shown-path.ts';
import type { Credential } from '../credentials/credentials.ts';
import { authority } from './judge.ts';
import { safeLine } from '@nemoclaw/contract';
import type { CheckedRequest, Place } from '../http/request-check.ts';

const secretHeader = /^(authorization|proxy-authorization|cookie|x-api-key|api-key|x-auth-token)$/i;

/** Verb and object, e.g. `POST https://api.example.com/v1/charges`. */
export function holdSummary(place: Place, method: string, shownPath: string): string {
  return safeLine(`${method} ${place.tls ? 'https' : 'http'}://${authority(place)}${shownPath}`, 200);
}

/** Request line, headers and body as they would be sent, line by line; credentials, cards, account and social security numbers are masked, and so is what `hidden` names. */
export function holdDetail(place: Place, checked: CheckedRequest, body: Buffer | undefined, credentials: readonly Credential[], hidden: ReadonlySet<string> = new Set()): string {
  const keep = new Set([...shownOnCards.http].filter((type) => !hidden.has(type)));
  const mask = (text: string): string => redactForCard(maskCredentials(text, credentials), [], keep);
  const show = (text: string, limit: number): string => safeLine(mask(text), limit);
  const lines = [safeLine(`${checked.method} ${maskTarget(mask(checked.target), [], keep)}`, 4096), `host: ${authority(place)}`];
  for (let i = 0; i + 1 < checked.headers.length; i += 2) {
    const name = checked.headers[i] ?? '';
    lines.push(`${safeLine(name)}: ${secretHeader.test(name) ? `(masked, ${checked.headers[i + 1]?.length ?? 0} characters)` : show(checked.headers[i + 1] ?? '', 1024)}`);
  }
  if (body && body.length > 0) lines.push('', ...bodyLines(body, mask, hidden));
  else if (checked.hasBody) lines.push('', `(a body of ${checked.length ?? 'unknown'} bytes; it is not inspected, and not shown)`);
  return lines.join('\n');
}

/** The request line of a request, and the answer to it that a person decides on. */
export function holdAnswer(place: Place, checked: CheckedRequest, { status, contentType, body, hidden }: { readonly status: number; readonly contentType: string; readonly body: Buffer | undefined; readonly hidden: ReadonlySet<string> }, credentials: readonly Credential[]): string {
  const keep = new Set([...shownOnCards.http].filter((type) => !hidden.has(type)));
  const mask = (text: string): string => redactForCard(maskCredentials(text, credentials), [], keep);
  const lines = [safeLine(`${checked.method} ${maskTarget(mask(checked.target), [], keep)}`, 4096), `host: ${authority(place)}`, '', `answer ${status} ${safeLine(mask(contentType), 200)}`];
  return [...lines, ...(body === undefined ? ['(its body is not shown)'] : bodyLines(body, mask, hidden))].join('\n');
}

/** A body in which something stands that is not shown, and that hides in an encoding, is not shown at all. */
function bodyLines(body: Buffer, mask: (text: string) => string, hidden: ReadonlySet<string>): string[] {
  if (hidden.has('decoded')) return [`(a body of ${body.length} bytes; what stands in it is encoded and not shown)`];
  return mask(body.toString('utf8')).split('\n').map((line) => safeLine(line, 4096));
}
