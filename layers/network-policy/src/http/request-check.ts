/** Turns a parsed request into the one that may be forwarded, or says why it is none: everything ambiguous is refused. Pure. */
import { canonicalAddress } from '../dns/address-bytes.ts';
import { allParameters, bareName } from './query-names.ts';
import { readTarget } from './request-target.ts';

/** Where the connection goes: what the capture knows before the first byte of HTTP. */
export interface Place {
  /** Host name, or an address where the agent connected to one. */
  readonly name: string;
  readonly port: number;
  readonly tls: boolean;
  /** Path of the program that opened it, '' where that could not be found out; absent: nobody asked. */
  readonly program?: string | undefined;
}

export interface IncomingFields {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly rawHeaders: readonly string[];
  /** Of HTTP/1: what the request line says. */
  readonly httpVersion?: string | undefined;
  /** A body follows whose length the framing of the protocol gives, as in HTTP/2. */
  readonly streamed?: boolean | undefined;
}

export interface CheckedRequest {
  readonly method: string;
  /** Origin-form, as the client spelled it. */
  readonly target: string;
  readonly paths: readonly string[];
  readonly query: readonly (readonly [string, string])[];
  /** Name, value, name, value…; hop-by-hop fields, Host and Expect are gone. */
  readonly headers: string[];
  readonly hasBody: boolean;
  /** Bytes, or undefined for a chunked body. */
  readonly length: number | undefined;
  readonly contentType: string;
  /** Without `aws-chunked`. */
  readonly contentEncoding: string;
  /** Its body is framed as uploads to AWS are, or says that it is; the framing stands around every other encoding, wherever it is named. */
  readonly awsChunked?: boolean;
}

/** A refusal before any policy is asked. `code` is stable, `why` one plain sentence. */
export interface Problem {
  readonly status: 400 | 405 | 413 | 417 | 421 | 429 | 431 | 501;
  readonly code: string;
  readonly why: string;
}

const hopByHop = new Set(['connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings', 'expect', 'host']);
const connectionOptions = new Set(['keep-alive', 'close', 'te', 'upgrade', 'http2-settings', 'proxy-connection']);
const once = new Set(['host', 'content-length', 'transfer-encoding', 'content-type', 'content-encoding', 'authorization', 'expect']);
const overrides = new Set(['x-http-method-override', 'x-http-method', 'x-method-override', 'http-method-override', 'x-rest-method', 'x-request-method', 'x-original-method', 'x-forwarded-method']);
const overridingNames = new Set(['httpmethod', 'xhttpmethod', 'xhttpmethodoverride', 'xmethodoverride', 'httpmethodoverride']);
/** Some servers take the path from these instead of the request line (IIS, Symfony, Zend). */
const otherPaths = new Set(['x-original-url', 'x-original-uri', 'x-rewrite-url', 'x-override-url', 'x-http-path-override', 'x-forwarded-uri', 'x-forwarded-path', 'x-forwarded-prefix', 'x-envoy-original-path', 'x-ms-original-url', 'x-waws-unencoded-url']);
/** And some the virtual host. */
const otherHosts = new Set(['x-forwarded-host', 'x-original-host', 'x-host', 'x-http-host-override']);
/** What stands in place of a body's hash where the body is framed as uploads to AWS are: not of events, which have a framing of their own. */
const awsFraming = /^\s*STREAMING-(?!.*-EVENTS\s*$)/i;
/** Every name that is looked at below; all others are passed on as they are. */
const meant = new Set([...hopByHop, ...once, ...overrides, ...otherPaths, ...otherHosts, 'forwarded', 'x-amz-content-sha256']);
const bodyless = new Set(['GET', 'HEAD', 'TRACE']);

/** Whether servers take the method from a parameter of this name; a plain `method` is mostly something else. */
function overridesMethod(name: string): boolean {
  const bare = bareName(name);
  return overridingNames.has(bare) || (bare === 'method' && /^\s*_/.test(name));
}

const refuse = (status: Problem['status'], code: string, why: string): Problem => ({ status, code, why });

export function isProblem(result: CheckedRequest | Problem): result is Problem {
  return 'code' in result;
}

/** Checks method, target, authority and framing of one request that arrived for `place`. */
export function checkRequest(incoming: IncomingFields, place: Place): CheckedRequest | Problem {
  const method = incoming.method ?? '';
  if (method === 'CONNECT' || method === 'TRACE') return refuse(405, 'method', `${method} is not served here; connect to the destination directly`);
  // llhttp takes 0.9 and 2.0 as well.
  if (incoming.httpVersion !== undefined && incoming.httpVersion !== '1.1' && incoming.httpVersion !== '1.0') return refuse(400, 'version', 'the request line names another version than HTTP/1.0 or HTTP/1.1');
  const raw = incoming.rawHeaders;
  const headers: string[] = [];
  const seen: string[] = [];
  let host: string | undefined;
  let length: number | undefined;
  let chunked = false;
  let contentType = '';
  let contentEncoding = '';
  let awsChunked = false;
  let awsStreamed = false;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const key = name.toLowerCase();
    if (!meant.has(key) && !key.includes('_')) {
      headers.push(name, value);
      continue;
    }
    if (once.has(key)) {
      if (seen.includes(key)) return refuse(400, 'duplicate-header', `the ${key} header comes twice`);
      seen.push(key);
    }
    switch (key) {
      case 'host': host = value; continue;
      case 'content-length':
        // llhttp lets only digits through; the header is written anew from the number.
        if (!/^\d{1,15}$/.test(value)) return refuse(400, 'content-length', 'the content-length is not a number');
        length = Number(value);
        break;
      case 'transfer-encoding':
        if (value.trim().toLowerCase() !== 'chunked') return refuse(501, 'transfer-encoding', 'only chunked transfer encoding is understood');
        chunked = true;
        continue;
      case 'connection':
        for (const option of value.split(',')) {
          if (!connectionOptions.has(option.trim().toLowerCase()) && option.trim() !== '') return refuse(400, 'connection-option', 'the connection header names a field that is not hop-by-hop');
        }
        continue;
      case 'content-type': contentType = value.toLowerCase(); break;
      case 'content-encoding': [contentEncoding, awsChunked] = withoutFraming(value.trim().toLowerCase()); break;
      // S3 goes by this, and older SDKs say nothing else.
      case 'x-amz-content-sha256': awsStreamed ||= awsFraming.test(value); break;
      default:
    }
    if (hopByHop.has(key)) continue;
    const dashed = key.includes('_') ? key.replaceAll('_', '-') : key;
    // CGI and its heirs (WSGI, Rack, PHP) read both spellings as one.
    if (dashed !== key && (once.has(dashed) || hopByHop.has(dashed))) return refuse(400, 'header-name', `some servers read ${key} as ${dashed}`);
    if (overrides.has(dashed) && value.trim().toUpperCase() !== method) return refuse(400, 'method-override', 'a header asks for another method than the request line');
    if (otherPaths.has(dashed)) return refuse(400, 'path-override', 'a header asks for another path than the request line');
    if (namesAnotherHost(dashed, value, place)) return refuse(421, 'host-override', 'a header names another place than the connection was made to');
    headers.push(name, value);
  }
  if (chunked && length !== undefined) return refuse(400, 'framing', 'the request has both a length and a transfer encoding');
  // Nobody agrees on where such a body ends (RFC 9112 §6.1).
  if (chunked && incoming.httpVersion === '1.0') return refuse(400, 'framing', 'HTTP/1.0 has no transfer encoding');

  const problem = checkAuthority(host, place);
  if (problem) return problem;
  const target = originForm(incoming.url ?? '', place);
  if (typeof target !== 'string') return target;
  const read = readTarget(target);
  if (typeof read === 'string') return refuse(400, 'target', read);
  for (const [name, value] of allParameters(read.query)) {
    if (overridesMethod(name) && value.trim().toUpperCase() !== method) return refuse(400, 'method-override', 'the query asks for another method than the request line');
  }
  const hasBody = chunked || (length ?? 0) > 0 || (incoming.streamed ?? false);
  if (hasBody && bodyless.has(method)) return refuse(400, 'body-not-expected', `${method} with a body is refused: the body would pass no rule`);
  return { method, target, paths: read.paths, query: read.query, headers, hasBody, length: chunked ? undefined : length, contentType, contentEncoding, ...(awsChunked || awsStreamed ? { awsChunked: true } : {}) };
}

/** Named twice it is no framing that anybody knows. */
function withoutFraming(encodings: string): [string, boolean] {
  const names = encodings.split(',').map((name) => name.trim());
  const others = names.filter((name) => name !== 'aws-chunked');
  return others.length === names.length - 1 ? [others.join(), true] : [encodings, false];
}

/** The Host header has to name exactly the place the connection was made to. */
function checkAuthority(host: string | undefined, place: Place): Problem | undefined {
  if (host === undefined) return refuse(400, 'host-missing', 'the request has no Host header');
  if (!authorityForm(place).test(host)) return refuse(400, 'host-malformed', 'the Host header is malformed');
  return sameAuthority(host, place) ? undefined : refuse(421, 'misdirected', 'the Host header names another place than the connection was made to');
}

function namesAnotherHost(key: string, value: string, place: Place): boolean {
  if (otherHosts.has(key)) return !sameAuthority(value.trim(), place);
  if (key !== 'forwarded') return false;
  return [...value.matchAll(/\bhost\s*=\s*"?([^";,\s]*)/gi)].some(([, host = '']) => !sameAuthority(host, place));
}

/** An IPv6 address stands in brackets, and only where the connection was made to one. */
const addressForm = /^\[[0-9A-Fa-f:.]+\](:\d{1,5})?$/;
const nameForm = /^[A-Za-z0-9._-]+(:\d{1,5})?$/;
const authorityForm = (place: Place): RegExp => (place.name.includes(':') ? addressForm : nameForm);

function sameAuthority(authority: string, place: Place): boolean {
  if (place.name.includes(':')) {
    const [, address = '', port = String(place.port)] = /^\[([^\]]*)\](?::(\d+))?$/.exec(authority) ?? [];
    return canonicalAddress(address) === place.name && Number(port) === place.port;
  }
  const colon = authority.indexOf(':');
  if (colon < 0) return authority.toLowerCase() === place.name;
  return authority.slice(0, colon).toLowerCase() === place.name && Number(authority.slice(colon + 1)) === place.port;
}

/** Reduces absolute-form to origin-form if it names the same place. */
function originForm(url: string, place: Place): string | Problem {
  if (url.startsWith('/')) return url;
  const match = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(.*)$/s.exec(url);
  if (!match) return refuse(400, 'target', 'the request target is neither a path nor a full URL');
  const [, scheme = '', authority = '', rest = ''] = match;
  if (scheme.toLowerCase() !== (place.tls ? 'https' : 'http')) return refuse(400, 'scheme', 'the scheme is not the one of this connection');
  if (!authorityForm(place).test(authority)) return refuse(400, 'authority-malformed', 'the host in the request target is malformed');
  if (!sameAuthority(authority, place)) return refuse(421, 'misdirected', 'the request target names another place than the connection was made to');
  return rest.startsWith('/') ? rest : `/${rest}`;
}
