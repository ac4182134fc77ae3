/** What a row of the tables of attacks on the network says. */

/** `refused`: no request at all, or one that two parsers could read differently. `denied`: by the policy. `canonical`: let through, in one form. */
export type Expected = 'refused' | 'denied' | 'canonical';

export interface HttpCase {
  readonly name: string;
  /** Latin-1; `$PORT`, `$TLS` and `$DENIED` are ports. */
  readonly bytes: string;
  readonly expect: Expected;
  /** Requests that may arrive, as `GET /ok` (and ` body`), in order; one of `canonical` arrives as `GET /ok` unless said. */
  readonly through?: readonly string[];
  /** What may arrive instead of that, where the refusal comes with the request that was fine. */
  readonly may?: readonly string[];
  /** What a careless server, given the same bytes without a proxy, takes for a request: the attack works. */
  readonly works?: RegExp;
  /** Sent over TLS. */
  readonly tls?: true;
  /** Sent in this many pieces. */
  readonly pieces?: true;
}

export const host = 'Host: allowed.test\r\n';
/** What must never arrive anywhere. */
export const smuggled = 'GET /admin HTTP/1.1\r\nHost: denied.test\r\nX-Injected: 1\r\n\r\n';

export const get = (path = '/ok', more = ''): string => `GET ${path} HTTP/1.1\r\n${host}${more}\r\n`;
export const post = (more: string, body = ''): string => `POST /ok HTTP/1.1\r\n${host}${more}\r\n${body}`;
