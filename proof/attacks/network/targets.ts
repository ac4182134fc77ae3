/** Requests that mean another host, path or method than they seem to, and headers that are more than one. */
import { get, host, post, smuggled, type HttpCase } from './table.ts';

const hosts: readonly (readonly [string, string])[] = [
  ['another host', 'denied.test'], ['another port', 'allowed.test:$DENIED'], ['port zero', 'allowed.test:0'], ['a port beyond 65535', 'allowed.test:65616'], ['a trailing dot', 'allowed.test.'], ['a suffix of it', 'evilallowed.test'], ['a name below it', 'allowed.test.evil.test'], ['its parent', 'test'],
  ['a user before it', 'denied.test@allowed.test'], ['a user behind it', 'allowed.test@denied.test'], ['a list', 'allowed.test, denied.test'], ['two names', 'allowed.test denied.test'], ['an address', '127.0.0.1'], ['a number', '2130706433'], ['hexadecimal', '0x7f000001'], ['octal', '0177.0.0.1'],
  ['a short address', '127.1'], ['a mapped address', '[::ffff:127.0.0.1]'], ['a loopback of IPv6', '[::1]'], ['a zone', '[fe80::1%25eth0]'], ['a NUL, encoded', 'allowed.test%00.denied.test'], ['percent-encoding', '%61llowed.test'], ['a NUL', 'allowed.test\0.denied.test'], ['a slash', 'allowed.test/denied.test'], ['a hash', 'denied.test#allowed.test'],
  ['a question mark', 'denied.test?allowed.test'], ['a backslash', 'denied.test\\allowed.test'], ['nothing', ''], ['a blank', ' '], ['full-width letters', '\xef\xbd\x81llowed.test'], ['a full stop of Chinese', 'allowed\xe3\x80\x82test'], ['Punycode of a look-alike', 'xn--llowed-4ve.test'], ['a Cyrillic letter', '\xd0\xb0llowed.test'],
  ['a soft hyphen', 'al\xc2\xadlowed.test'], ['a zero-width joiner', 'allowed\xe2\x80\x8d.test'], ['two dots', 'allowed..test'], ['a port with a plus', 'allowed.test:+$PORT'], ['a port with a letter', 'allowed.test:$PORTa'], ['no port behind the colon', 'allowed.test:'], ['two ports', 'allowed.test:$PORT:$PORT'],
];

const refusedPaths: readonly (readonly [string, string])[] = [
  ['dot segments', '/public/../admin'], ['dot segments, encoded', '/public/%2e%2e/admin'], ['half encoded', '/public/.%2e/admin'], ['with a parameter', '/public/..;/admin'], ['with a parameter of its own', '/public/..;x=y/admin'], ['encoded twice', '/public/%252e%252e/admin'], ['a dot segment', '/./admin'], ['an encoded slash and dots', '/public%2f..%2fadmin'],
  ['a backslash', '/public\\..\\admin'], ['a backslash, encoded', '/public%5c..%5cadmin'], ['overlong UTF-8', '/%c0%ae%c0%ae/admin'], ['an overlong slash', '/..%c0%afadmin'], ['a NUL', '/admin%00.png'], ['a line break', '/ok%0d%0aX-Injected:%201'], ['a line feed', '/ok%0aadmin'], ['bytes above 127', '/\xc0\xae\xc0\xae/admin'],
  ['letters encoded twice', '/%2561dmin'], ['broken encoding', '/%zz/admin'], ['%u encoding', '/%u0061dmin'], ['a hash', '/ok#/admin'], ['a tab', '/ok%09admin'], ['an asterisk', '*'], ['no slash', 'admin'], ['only a query', '?x=/admin'],
];
const deniedPaths: readonly (readonly [string, string])[] = [
  ['as it is', '/admin'], ['below it', '/admin/users'], ['with a query', '/admin?x=/ok'], ['a letter encoded', '/%61dmin'], ['all encoded', '/%61%64%6d%69%6e'], ['two slashes', '//admin'], ['three slashes', '///admin'], ['a slash behind', '/admin/'], ['a parameter', '/admin;x=y'], ['an empty parameter', '/admin;'], ['an encoded slash', '/admin%2fusers'],
  ['an encoded slash in front', '/%2fadmin'], ['an encoded parameter', '/admin%3bx'],
];

const headers: readonly (readonly [string, string])[] = [
  ['another method', 'X-HTTP-Method-Override: DELETE\r\n'], ['another method, second spelling', 'X-HTTP-Method: PUT\r\n'], ['another method, third spelling', 'X-Method-Override: DELETE\r\n'], ['another method with underscores', 'X_HTTP_Method_Override: DELETE\r\n'], ['another path', 'X-Original-URL: /admin\r\n'], ['another path, second spelling', 'X-Rewrite-URL: /admin\r\n'],
  ['another host forwarded', 'X-Forwarded-Host: denied.test\r\n'], ['another host, second spelling', 'X-Host: denied.test\r\n'], ['another host of RFC 7239', 'Forwarded: host=denied.test\r\n'], ['another host of RFC 7239 in quotes', 'Forwarded: for=x;host="denied.test"\r\n'], ['Connection names Authorization', 'Authorization: x\r\nConnection: authorization\r\n'],
  ['Connection names Cookie', 'Cookie: a=b\r\nConnection: close, cookie\r\n'], ['Connection names the length', 'Content-Length: 0\r\nConnection: content-length\r\n'], ['Connection names Host', 'Connection: host\r\n'], ['two Authorizations', 'Authorization: a\r\nAuthorization: b\r\n'], ['two content types', 'Content-Type: text/plain\r\nContent-Type: application/json\r\n'],
  ['a second Host', 'Host: denied.test\r\n'], ['a second Host that is equal', 'Host: allowed.test\r\n'], ['Host folded', ' Host: denied.test\r\n'], ['a line feed and a header', 'X: y\nX-Injected: 1\r\n'], ['a carriage return and a header', 'X: y\rX-Injected: 1\r\n'], ['a NUL in a value', 'X: a\0b\r\n'], ['a NUL in a name', 'X\0: a\r\n'], ['a blank in a name', 'X Y: a\r\n'],
  ['no name', ': a\r\n'], ['no colon', 'X-Injected\r\n'], ['a byte above 127 in a name', 'X\xff: a\r\n'], ['a folded value', 'X: a\r\n b\r\n'], ['a control byte in a value', 'X: a\x01b\r\n'], ['a backspace in a value', 'X: a\x08\r\n'], ['more headers than fit', `${'X: y\r\n'.repeat(300)}`], ['a header longer than fits', `X: ${'a'.repeat(40_000)}\r\n`],
];

/** The header is dropped or rewritten; the request arrives without it. */
const dropped: readonly (readonly [string, string])[] = [
  ['Proxy-Authorization', 'Proxy-Authorization: Basic eDp5\r\n'], ['Proxy-Connection', 'Proxy-Connection: keep-alive\r\n'], ['Keep-Alive', 'Keep-Alive: timeout=99\r\n'], ['TE', 'TE: trailers, gzip\r\nConnection: TE\r\n'], ['Trailer', 'Trailer: X-Injected\r\n'], ['HTTP2-Settings', 'HTTP2-Settings: AAMAAABk\r\n'],
];

const others: readonly HttpCase[] = [
  { name: 'a full URL of another host', bytes: `GET http://denied.test:$DENIED/ HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL of this host, Host of another', bytes: 'GET http://allowed.test:$PORT/ok HTTP/1.1\r\nHost: denied.test\r\n\r\n', expect: 'refused' },
  { name: 'a full URL with a user', bytes: `GET http://allowed.test:$PORT@denied.test/ HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL with a backslash', bytes: `GET http://denied.test\\@allowed.test/ HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL with a hash', bytes: `GET http://allowed.test#@denied.test/ HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL without a host', bytes: `GET http:///ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL with dot segments', bytes: `GET http://allowed.test:$PORT/public/../admin HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a full URL of a denied path', bytes: `GET http://allowed.test:$PORT/admin HTTP/1.1\r\n${host}\r\n`, expect: 'denied' },
  { name: 'another scheme', bytes: `GET https://allowed.test:$PORT/ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'the scheme of files', bytes: `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'the scheme of gopher', bytes: `GET gopher://denied.test:$DENIED/_x HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'control: a full URL of this place', bytes: 'GET HTTP://Allowed.TEST:$PORT/ok HTTP/1.1\r\nHost: ALLOWED.test:$PORT\r\n\r\n', expect: 'canonical' },
  { name: 'no Host', bytes: 'GET /ok HTTP/1.1\r\nX: y\r\n\r\n', expect: 'refused' },
  { name: 'no Host in HTTP/1.0', bytes: 'GET /ok HTTP/1.0\r\n\r\n', expect: 'refused' },
  { name: 'the method in the query', bytes: post('Content-Length: 0\r\n').replace('/ok', '/ok?_method=DELETE'), expect: 'refused' },
  { name: 'a method that the policy does not allow', bytes: `DELETE /ok HTTP/1.1\r\n${host}\r\n`, expect: 'denied' },
  { name: 'a method of WebDAV', bytes: `PROPFIND /ok HTTP/1.1\r\n${host}\r\n`, expect: 'denied' },
  { name: 'TRACE', bytes: `TRACE /ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'CONNECT on a captured connection', bytes: `CONNECT denied.test:$DENIED HTTP/1.1\r\nHost: denied.test:$DENIED\r\n\r\n${smuggled}`, expect: 'refused' },
  { name: 'control: a path that only looks like the denied one', bytes: get('/administrator'), expect: 'canonical', through: ['GET /administrator'] },
  { name: 'a host that is fine in capitals is written plainly', bytes: 'GET /ok HTTP/1.1\r\nHost: ALLOWED.TEST\r\n\r\n', expect: 'canonical' },
  { name: 'TLS: control', bytes: get(), expect: 'canonical', tls: true },
  { name: 'TLS: one host greeted, another asked for', bytes: 'GET /ok HTTP/1.1\r\nHost: denied.test\r\n\r\n', expect: 'refused', tls: true },
  { name: 'TLS: another host on the second request', bytes: get('/1') + smuggled, expect: 'refused', through: ['GET /1'], tls: true },
  { name: 'TLS: a full URL of another host', bytes: `GET https://denied.test/ HTTP/1.1\r\n${host}\r\n`, expect: 'refused', tls: true },
  { name: 'TLS: a full URL without TLS', bytes: `GET http://allowed.test:$TLS/ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused', tls: true },
  { name: 'TLS: a length and a transfer encoding', bytes: post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`), expect: 'refused', tls: true },
  { name: 'TLS: an encoded path', bytes: get('/%61dmin'), expect: 'denied', tls: true },
];

export const targets: readonly HttpCase[] = [
  ...hosts.map(([name, value]): HttpCase => ({ name: `Host: ${name}`, bytes: `GET /ok HTTP/1.1\r\nHost: ${value}\r\n\r\n`, expect: 'refused', works: /^GET \/ok/ })),
  ...refusedPaths.map(([name, path]): HttpCase => ({ name: `path: ${name}`, bytes: get(path), expect: 'refused', works: /^GET / })),
  ...deniedPaths.map(([name, path]): HttpCase => ({ name: `denied path: ${name}`, bytes: get(path), expect: 'denied', works: /^GET / })),
  ...headers.map(([name, header]): HttpCase => ({ name: `headers: ${name}`, bytes: post(`${header}Content-Length: 0\r\n`.replace(/(Content-Length: 0\r\n)(.*)\1/s, '$1$2')), expect: 'refused', works: /^POST / })),
  ...dropped.map(([name, header]): HttpCase => ({ name: `for one hop: ${name}`, bytes: get('/ok', header), expect: 'canonical' })),
  ...others,
];
