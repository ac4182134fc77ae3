/** What a person is shown of a request that waits: one sentence, and the exact request with its secrets masked. Pure. */
import { maskCredentials } from './credentials.ts';
import type { Credential } from './credentials.ts';
import { authority } from './judge.ts';
import { safeLine } from '@nemoclaw/contract';
import type { CheckedRequest, Place } from './request-check.ts';

const secretHeader = /^(authorization|proxy-authorization|cookie|x-api-key|api-key|x-auth-token)$/i;
const bodyShown = 64 * 1024;

/** Verb and object, e.g. `POST https://api.example.com/v1/charges`. */
export function holdSummary(place: Place, checked: CheckedRequest): string {
  return safeLine(`${checked.method} ${place.tls ? 'https' : 'http'}://${authority(place)}${checked.paths[0] ?? ''}`, 200);
}

/** Request line, headers and body as they would be sent, line by line. */
export function holdDetail(place: Place, checked: CheckedRequest, body: Buffer | undefined, credentials: readonly Credential[]): string {
  const show = (text: string, limit: number): string => safeLine(maskCredentials(text, credentials), limit);
  const lines = [show(`${checked.method} ${checked.target}`, 4096), `host: ${authority(place)}`];
  for (let i = 0; i + 1 < checked.headers.length; i += 2) {
    const name = checked.headers[i] ?? '';
    lines.push(`${safeLine(name)}: ${secretHeader.test(name) ? '(masked)' : show(checked.headers[i + 1] ?? '', 1024)}`);
  }
  if (body && body.length > 0) lines.push('', ...body.toString('utf8').slice(0, bodyShown).split('\n').map((line) => show(line, 4096)));
  return lines.join('\n');
}
