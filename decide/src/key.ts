/** The identity of a request: what an approval and a grant bind to. */
import { createHash } from 'node:crypto';
import type { ActionRequest, Resource } from '@nemoclaw/contract';
import { canonicalJson } from './canonical.ts';

/**
 * SHA-256 hex over sandbox, task, action and parameters; where these do not say all of it, over the whole resource too. A tool call and the HTTP
 * request that the catalogue says carries it out (`$request`: method, scheme, host, port and path, as `resolveTool` and `resolveHttp` find them)
 * have the same key; nothing else does: a request by another scheme, port, method, path, query, or with other values of headers that rules speak of, has another. Where a
 * body was not JSON fields, put its hash into `params` as `bodyHash`. Throws RangeError for parameters nested deeper than 512.
 */
export function requestKey(request: ActionRequest): string {
  const { sandbox, task, action, params, resource } = request;
  const identity = { sandbox, task, action, params, ...boundOf(request), ...(resource.kind === 'http' && resource.headers !== undefined ? { headers: resource.headers } : {}) };
  return createHash('sha256').update(canonicalJson(identity)).digest('hex');
}

/** The identity of one answer to a request, which is never that of a request. `request`: its key; `answer`: SHA-256 hex of the answer. */
export function answerKey(request: string, answer: string): string {
  return createHash('sha256').update(`${request}\nanswer ${answer}`).digest('hex');
}

/** The resource, unless action and parameters name it. */
function boundOf({ source, action, params, resource }: ActionRequest): { readonly resource?: Resource } {
  if (action !== '' && (resource.kind === 'tool' || resource.kind === 'none')) return {};
  // a tool that is called over MCP is one of that server
  if (action !== '' && resource.kind === 'http' && source === 'http' && params.has('$request')) return {};
  return { resource };
}
