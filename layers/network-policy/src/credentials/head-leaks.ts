/** Whether a secret of the sandbox stands in the head of a request, where no credential is bound. */
import type { Core } from '../core.ts';
import { withoutPlaceholders } from './credentials.ts';
import type { CheckedRequest } from '../http/request-check.ts';

export function leaksInHead({ secrets, values, config: { credentials } }: Core, checked: CheckedRequest): boolean {
  if (secrets.inText(checked.target)) return true;
  let leaks = false;
  // A placeholder in its own header has been checked already; what is left must hold no secret.
  const text = withoutPlaceholders(checked.headers.join('\n'), credentials).replace(/\bbasic +([A-Za-z0-9+/=_-]+)/gi, (whole: string, run: string) => {
    const decoded = Buffer.from(run, 'base64').toString('utf8');
    const left = withoutPlaceholders(decoded, credentials);
    leaks ||= secrets.inText(left) || values.inText(run);
    return left === decoded ? whole : '';
  });
  return leaks || secrets.inText(text);
}
