/** Whether a secret of the sandbox stands in the head of a request, where no credential is bound. */
import type { Core } from '../core.ts';
import { withoutPlaceholders } from './credentials.ts';
import type { CheckedRequest } from '../http/request-check.ts';

export function leaksInHead({ secrets, config }: Core, checked: CheckedRequest): boolean {
  if (secrets.inText(checked.target)) return true;
  // A placeholder in its own header has been checked already; what is left must hold no secret.
  let text = withoutPlaceholders(checked.headers.join('\n'), config.credentials);
  const basic = /\bbasic +([A-Za-z0-9+/=_-]+)/i.exec(text)?.[1];
  if (basic !== undefined) {
    const decoded = Buffer.from(basic, 'base64').toString('utf8');
    if (config.credentials.some(({ value }) => value !== '' && decoded.includes(value))) return true;
    text = text.replace(basic, '');
  }
  return secrets.inText(text);
}
