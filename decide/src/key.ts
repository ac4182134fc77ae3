/** The identity of a request: what an approval and a grant bind to. */
import { createHash } from 'node:crypto';
import type { ActionRequest } from '@nemoclaw/contract';
import { canonicalJson } from './canonical.ts';

/**
 * SHA-256 hex over sandbox, task, action and parameters; without an action also over the whole resource. The source is no part of it:
 * a tool call and the HTTP request that posts its arguments as JSON have the same key. Where a body was not JSON fields, put its hash
 * into `params` as `bodyHash`. Throws RangeError for parameters nested deeper than 512.
 */
export function requestKey(request: ActionRequest): string {
  const identity = {
    sandbox: request.sandbox,
    task: request.task,
    action: request.action,
    params: request.params,
    // a file is bound to its object, whatever its action is called
    ...(request.action === '' || request.resource.kind === 'file' ? { resource: request.resource } : {}),
  };
  return createHash('sha256').update(canonicalJson(identity)).digest('hex');
}
