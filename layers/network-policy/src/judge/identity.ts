/** What an approval of an HTTP request is for besides its line, its fields and what rules speak of: the rest of its head, the way its path is written where that can be read in several, and a body that nobody read. Pure but for `once`. */
import { hash } from 'node:crypto';
import type { ActionRequest } from '@nemoclaw/contract';
import { readClaim } from '../credentials/sigv4.ts';
import type { CheckedRequest } from '../http/request-check.ts';

/** Say how to talk, or are new with every attempt: another value makes it no other request. */
const ordinary = new Set([
  'host', 'connection', 'keep-alive', 'te', 'upgrade', 'expect', 'transfer-encoding', 'content-length', 'user-agent', 'accept', 'accept-encoding', 'accept-language', 'accept-charset', 'cache-control', 'pragma', 'priority', 'dnt',
  'date', 'x-amz-date', 'x-ms-date', 'idempotency-key', 'traceparent', 'tracestate', 'baggage', 'b3', 'sentry-trace', 'x-request-id', 'x-correlation-id', 'x-client-request-id', 'x-ms-client-request-id', 'x-amzn-trace-id', 'x-cloud-trace-context', 'amz-sdk-invocation-id', 'amz-sdk-request',
  'sec-websocket-key', 'sec-websocket-version', 'sec-websocket-extensions', 'grpc-timeout', 'grpc-accept-encoding', 'mcp-session-id', 'mcp-protocol-version', 'last-event-id',
]);
const ordinaryToo = /^(?:x-b3-|x-stainless-|sec-ch-|sec-fetch-)/;
/** A tool call that this request carries out has none of these, and its approval is for both. */
const besideTool = new Set(['content-type', 'authorization', 'x-api-key', 'api-key', 'x-auth-token', 'x-goog-api-key']);

/** The request with all that its approval binds to. `bodyRead`: its body, if it has one, is bound already; what nobody read is no other's, so that an approval of it cannot be used later. `once`: a new id each time. */
export function identified(request: ActionRequest, { headers, hasBody, target, paths }: Pick<CheckedRequest, 'headers' | 'hasBody' | 'target' | 'paths'>, bodyRead: boolean, once: () => string): ActionRequest {
  // Of what has no action, a body names its fields as it likes.
  const tool = request.action !== '' && request.params.has('$request');
  const bound: [string, string][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase();
    if (!ordinary.has(name) && !ordinaryToo.test(name) && !(tool && besideTool.has(name))) bound.push([name, name === 'authorization' ? unsigned(headers[i + 1] ?? '') : (headers[i + 1] ?? '')]);
  }
  // A digest: values of headers are nothing to keep.
  const sorted = bound.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const field = request.params.get('$headers');
  const more: [string, unknown][] = bound.length > 0 || field !== undefined ? [['$headers', hash('sha256', JSON.stringify([sorted, field ?? null]), 'hex')]] : [];
  if (hasBody && !bodyRead) more.push(['$body', once()]);
  // One that is read in several ways is decided by one of them, which another path may be as well; a plus in a query is a blank to some servers only (of a tool call nobody saw how it is written).
  const named = request.params.get('$target');
  const at = target.includes('?') ? target.indexOf('?') : target.length;
  const written = [paths.length > 1 ? target.slice(0, at) : null, !tool && target.includes('+', at) ? target.slice(at) : null];
  if (named !== undefined || written.some((part) => part !== null)) more.push(['$target', hash('sha256', JSON.stringify([...written, named ?? null]), 'hex')]);
  return more.length === 0 ? request : { ...request, params: new Map([...request.params, ...more]) };
}

/** Of a signature of AWS its key and what that signs for: the rest is new with every second. */
function unsigned(value: string): string {
  const claim = readClaim(value);
  return claim ? `${claim.accessKeyId}/${claim.region}/${claim.service}` : value;
}
