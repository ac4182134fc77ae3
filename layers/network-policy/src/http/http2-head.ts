/** Turns the head of an HTTP/2 stream into the fields that the common check reads, or says why it is none. Pure. */
import type { IncomingFields, Place, Problem } from './request-check.ts';

const pseudo = new Set([':method', ':scheme', ':authority', ':path']);
// Connection-specific fields have no place in HTTP/2 (RFC 9113 §8.2.2); passed on to HTTP/1.1 they would frame another request.
const forbidden = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'http2-settings']);
const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
// Some servers read small letters as capitals, as no parser of HTTP/1.1 here takes them: by them a request would pass what a rule denies.
const methodToken = /^[!#$%&'*+.^_`|~0-9A-Z-]+$/;
// Visible bytes, space, tab and obs-text; no blank at either end.
const fieldValue = /^(?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\t\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

export interface Http2Head extends IncomingFields {
  readonly expects: boolean;
  /** `te: trailers` was said. */
  readonly trailers: boolean;
}

/** `raw`: name, value, name, value… as the stream gave it, pseudo-header fields first. `ended`: no body follows. */
export function readHttp2Head(raw: readonly string[], ended: boolean, place: Place): Http2Head | Problem {
  const said = new Map<string, string>();
  const rawHeaders: string[] = [];
  const cookies: string[] = [];
  let host: string | undefined;
  let plain = false;
  let expects = false;
  let trailers = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    if (!fieldValue.test(value)) return problem(400, 'field-value', 'a header value has a character that HTTP/1.1 could not carry');
    if (name.startsWith(':')) {
      if (plain || !pseudo.has(name) || said.has(name)) return problem(400, 'pseudo-header', 'a pseudo-header field is unknown, comes twice or comes late');
      said.set(name, value);
      continue;
    }
    plain = true;
    if (!token.test(name)) return problem(400, 'field-name', 'a header name is no lower-case token');
    if (forbidden.has(name)) return problem(400, 'connection-field', `the field ${name} has no place in HTTP/2`);
    if (name === 'te') {
      if (value.toLowerCase() !== 'trailers') return problem(400, 'te', 'TE may only say trailers in HTTP/2');
      trailers = true;
    } else if (name === 'host') {
      if (host !== undefined) return problem(400, 'duplicate-header', 'the host header comes twice');
      host = value;
    } else if (name === 'cookie') cookies.push(value);
    else {
      if (name === 'expect') {
        if (value.toLowerCase() !== '100-continue') return problem(417, 'expectation', 'only 100-continue may be expected');
        expects = true;
      }
      rawHeaders.push(name, value);
    }
  }
  // Split for compression (RFC 9113 §8.2.3); HTTP/1.1 has one.
  if (cookies.length > 0) rawHeaders.push('cookie', cookies.join('; '));
  const method = said.get(':method');
  const authority = said.get(':authority');
  if (method === undefined || (method !== 'CONNECT' && (said.get(':path') === undefined || said.get(':scheme') === undefined))) return problem(400, 'pseudo-header', 'a pseudo-header field is missing');
  if (!methodToken.test(method)) return problem(400, 'method', 'the method is no token in capital letters');
  if (method !== 'CONNECT' && said.get(':scheme') !== (place.tls ? 'https' : 'http')) return problem(400, 'scheme', 'the scheme is not the one of this connection');
  if (host !== undefined && authority !== undefined && host.toLowerCase() !== authority.toLowerCase()) return problem(400, 'host-conflict', 'the host header and :authority differ');
  const named = authority ?? host;
  if (named !== undefined) rawHeaders.push('host', named);
  return { method, url: said.get(':path') ?? '', rawHeaders, expects, trailers, streamed: !ended };
}

const problem = (status: Problem['status'], code: string, why: string): Problem => ({ status, code, why });
