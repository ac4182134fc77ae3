/** Raw bytes that try to get past the policy: the denied canary never sees a byte, the allowed one never a foreign Host or a smuggled request. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { openDesk, openUpstream, say } from '../testing/testing-egress.ts';
import type { Desk, DeskOptions, Upstream } from '../testing/testing-egress.ts';

let desk: Desk;
/** Waits for nobody for long. */
let hurried: Desk;
let good: Upstream;
let goodTls: Upstream;
let denied: Server;
let deniedBytes = 0;
let requests: { line: string; host: string; body: string }[] = [];
let deniedPort = 0;

function canary(req: import('node:http').IncomingMessage, res: import('node:http').ServerResponse): void {
  let body = '';
  req.on('data', (chunk: Buffer) => { body += chunk.toString('latin1'); });
  req.on('end', () => {
    requests.push({ line: `${req.method} ${req.url}`, host: req.headers.host ?? '', body });
    res.end('canary');
  });
}

before(async () => {
  good = await openUpstream(canary);
  goodTls = await openUpstream(canary, 'allowed.test');
  denied = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => { deniedBytes += chunk.length; });
  });
  await new Promise<void>((done) => denied.listen(0, '127.0.0.1', done));
  deniedPort = (denied.address() as AddressInfo).port;
  const options: DeskOptions = {
    rules: [
      { host: 'allowed.test', verdict: 'deny', path: '/admin' }, { host: 'allowed.test', verdict: 'allow', methods: ['GET', 'POST'], port: good.port }, { host: 'allowed.test', verdict: 'allow', methods: ['GET', 'POST'], port: goodTls.port },
      { host: 'denied.test', verdict: 'deny' },
    ],
    pins: [{ host: 'allowed.test', caPem: goodTls.caPem ?? '' }, { host: 'denied.test' }],
    ports: [good.port, goodTls.port, deniedPort],
  };
  desk = await openDesk(options);
  hurried = await openDesk({ ...options, limits: { headMs: 1000, helloMs: 1000 } });
});
after(async () => {
  await desk.close();
  await hurried.close();
  await good.close();
  await goodTls.close();
  await new Promise<void>((done) => denied.close(() => done()));
});

const P = (text: string): string => text.replaceAll('PORT', String(good.port)).replaceAll('DENIED', String(deniedPort));
/** `through`: requests that may reach the allowed canary (0 unless said). `late`: it never comes to its end. */
interface Case { readonly name: string; readonly bytes: string | (() => string); readonly through?: number; readonly answer: RegExp; readonly late?: true }
const closed = /^$/;
const cases: readonly Case[] = [
  { name: 'CONTROL: a plain request', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'CONTROL: absolute-form of the same place', bytes: () => P('GET http://allowed.test:PORT/ok HTTP/1.1\r\nHost: allowed.test:PORT\r\nConnection: close\r\n\r\n'), through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'CONTROL: scheme and host in capitals', bytes: () => P('GET HTTP://AlLoWeD.TeSt:PORT/ok HTTP/1.1\r\nHost: ALLOWED.test\r\nConnection: close\r\n\r\n'), through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'denied host, absolute-form', bytes: () => P('GET http://denied.test:DENIED/ HTTP/1.1\r\nHost: denied.test\r\n\r\n'), answer: /^HTTP\/1\.1 421/ },
  { name: 'Host allowed, absolute-form denied', bytes: () => P('GET http://denied.test:DENIED/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), answer: /^HTTP\/1\.1 421/ },
  { name: 'absolute-form allowed, Host denied', bytes: () => P('GET http://allowed.test:PORT/ HTTP/1.1\r\nHost: denied.test\r\n\r\n'), answer: /^HTTP\/1\.1 421/ },
  { name: 'CONNECT to a denied host', bytes: () => P('CONNECT denied.test:DENIED HTTP/1.1\r\nHost: denied.test:DENIED\r\n\r\n'), answer: /^HTTP\/1\.1 405/ },
  { name: 'CONNECT to the allowed host', bytes: () => P('CONNECT allowed.test:PORT HTTP/1.1\r\nHost: allowed.test:PORT\r\n\r\nGET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), answer: /^HTTP\/1\.1 405/ },
  { name: 'CONNECT with NUL in the host', bytes: 'CONNECT denied.test\0.allowed.test:80 HTTP/1.1\r\nHost: x\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'CONNECT to the proxy itself', bytes: 'CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', answer: /^HTTP\/1\.1 405/ },
  { name: 'Host is an address', bytes: 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'Host is a hex address', bytes: 'GET / HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'Host is an octal address', bytes: 'GET / HTTP/1.1\r\nHost: 0177.0.0.1\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'Host is a mapped IPv6 address', bytes: 'GET / HTTP/1.1\r\nHost: [::ffff:127.0.0.1]\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'fullwidth digits in Host', bytes: 'GET / HTTP/1.1\r\nHost: 127\u3002 0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'two Host headers', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: denied.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'two equal Host headers', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nhost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'no Host', bytes: 'GET / HTTP/1.1\r\nX: y\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'HTTP/1.0 without Host', bytes: 'GET / HTTP/1.0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'empty Host', bytes: 'GET / HTTP/1.1\r\nHost:\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'Host with a list', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test, denied.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'userinfo confusion in absolute-form', bytes: () => P('GET http://allowed.test:PORT@denied.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), answer: /^HTTP\/1\.1 400/ },
  { name: 'userinfo confusion in Host', bytes: 'GET / HTTP/1.1\r\nHost: denied.test@allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'suffix confusion', bytes: 'GET / HTTP/1.1\r\nHost: evilallowed.test\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'prefix confusion', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test.evil.test\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'trailing dot', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test.\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'another port in Host', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test:1\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: '%00 in Host', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test%00.denied.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'keep-alive switch to a denied host', bytes: 'GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: denied.test\r\n\r\n', through: 1, answer: /200 OK[^]*421/ },
  { name: 'pipelined, the second to a denied path', bytes: 'GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', through: 1, answer: /200 OK[^]*403/ },
  { name: 'CL.TE', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG', answer: /^HTTP\/1\.1 400/ },
  { name: 'TE.CL, obfuscated', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nTransfer-Encoding: xchunked\r\n\r\nabc', answer: /^HTTP\/1\.1 (400|501)/ },
  { name: 'TE obfuscated by a tab', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nTransfer-Encoding:\tchunked\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'TE with a space before the colon', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'TE twice', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'TE gzip, chunked', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
  { name: 'another path in a header', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nX-Original-URL: /admin\r\n\r\n', answer: /^HTTP\/1\.1 400[\s\S]*path-override/ },
  { name: 'another host in X-Forwarded-Host', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nX-Forwarded-Host: denied.test\r\n\r\n', answer: /^HTTP\/1\.1 421[\s\S]*host-override/ },
  { name: 'another host in Forwarded', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nForwarded: for=1.2.3.4;Host="denied.test"\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'another path in a header with underscores', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nX_Rewrite_URL: /admin\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'duplicate Content-Length', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', answer: /^HTTP\/1\.1 400/ },
  { name: 'signed Content-Length', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: +3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'a length with an underscore', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nContent_Length: 0\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'a transfer encoding with an underscore', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\nTransfer_Encoding: chunked\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'a request behind one that is none', bytes: 'GET /x\\y HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /ok HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400(?![^]*HTTP\/1)/ },
  { name: 'an upgrade behind one that is none', bytes: 'GET /x\\y HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /ok HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n', answer: /^(?![^]*(200 OK|101))/ },
  { name: 'bare LF line endings', bytes: 'GET / HTTP/1.1\nHost: allowed.test\n\nGET /admin HTTP/1.1\nHost: denied.test\n\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'LF hidden in a header value', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\nHost: denied.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'CR alone in a header value', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\rb\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'header folding', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\r\n Host: denied.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'LF in a chunk extension', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'CRLF in the path, encoded', bytes: 'GET /%0d%0aHost:%20denied.test HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'NUL in the path, encoded', bytes: 'GET /admin%00 HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'file scheme', bytes: 'GET file:///etc/passwd HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'gopher scheme', bytes: 'GET gopher://denied.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'https scheme on a plain connection', bytes: () => P('GET https://allowed.test:PORT/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n'), answer: /^HTTP\/1\.1 400/ },
  { name: 'asterisk target', bytes: 'OPTIONS * HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'an offer of HTTP/2 in the clear is left out', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'an offer of HTTP/2 with a body', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABk\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'an offer of HTTP/2 on a denied path', bytes: 'GET /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'HTTP/2 at once behind its offer', bytes: 'GET /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', answer: /^HTTP\/1\.1 403(?![^]*101)/ },
  { name: 'a request to a denied path behind an offer of HTTP/2', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\nabcGET /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200[^]*HTTP\/1\.1 403/ },
  { name: 'an offer of HTTP/2 hides a length', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, Content-Length\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'an offer of HTTP/2 with two lengths', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'HTTP/2 or WebSocket', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABk\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
  { name: 'HTTP/2 and WebSocket in two fields', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
  { name: 'an upgrade to HTTP/2 over TLS', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: h2\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
  { name: 'CONTROL: a WebSocket handshake, to an origin that knows none', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'WebSocket handshake to a denied path', bytes: 'GET /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'WebSocket handshake without a key', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
  { name: 'HTTP/2 preface, then HTTP/1.1', bytes: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /ok HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^(?!HTTP)/ },
  { name: 'HTTP/2 preface, damaged', bytes: 'PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n', answer: /^(?!HTTP)/ },
  { name: 'HTTP/2 preface of another version', bytes: 'PRI * HTTP/1.1\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'TRACE', bytes: 'TRACE / HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 405/ },
  { name: 'method not allowed', bytes: 'DELETE / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'method in lower case', bytes: 'get / HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: closed },
  { name: 'method override header', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nX-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'method override with underscores', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nX_HTTP_Method_Override: DELETE\r\nContent-Length: 0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'method override in the query', bytes: 'POST /?_method=DELETE HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'GET with a body', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'path /public/%2e%2e/admin', bytes: 'GET /public/%2e%2e/admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path /public/../admin', bytes: 'GET /public/../admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path /./admin', bytes: 'GET /./admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path //admin', bytes: 'GET //admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'path /%61dmin', bytes: 'GET /%61dmin HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'path /%2561dmin', bytes: 'GET /%2561dmin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path /admin;x', bytes: 'GET /admin;x HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'path /..;/admin', bytes: 'GET /x/..;/admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path /admin%2Fx', bytes: 'GET /admin%2Fx HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 403/ },
  { name: 'path with a backslash', bytes: 'GET /x\\..\\admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path with %5c', bytes: 'GET /x%5c..%5cadmin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'path with overlong UTF-8', bytes: 'GET /%c0%ae%c0%ae/admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'raw high bytes in the path', bytes: 'GET /\xc0\xae HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'huge header block', bytes: `GET / HTTP/1.1\r\nHost: allowed.test\r\n${'X: ' + 'a'.repeat(8000) + '\r\n'}`.repeat(1) + `${'Y: ' + 'a'.repeat(8000) + '\r\n'}`.repeat(16) + '\r\n', answer: /^HTTP\/1\.1 431/ },
  { name: 'hop-by-hop abuse', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close, Authorization\r\nAuthorization: x\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'two Authorization headers', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'unknown expectation', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nExpect: 200-ok\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', answer: /^HTTP\/1\.1 417/ },
  { name: 'TE, chunked twice', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 (400|501)|^$/ },
  { name: 'TE in quotes', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 (400|501)|^$/ },
  { name: 'TE with a vertical tab', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 (400|501)|^$/ },
  { name: 'TE identity', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc', answer: /^HTTP\/1\.1 (400|501)|^$/ },
  { name: 'TE in HTTP/1.0', bytes: 'POST / HTTP/1.0\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 (400|501)|^$/ },
  { name: 'a chunk size beyond all bounds', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a negative chunk size', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a chunk size in another notation', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a chunk longer than its size', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a length in a list', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3, 3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'a length in another notation', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 0x3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'an empty length', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length:\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'a blank before the colon', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX : y\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'a header name with an odd byte', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX\xff: y\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'a header without a name', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\n: y\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'a header without a colon', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'NUL in a header value', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nX: a\0b\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'folding of the first header', bytes: 'GET / HTTP/1.1\r\n X: y\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'host named as hop-by-hop', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close, Host\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'length named as hop-by-hop', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close, Content-Length\r\nContent-Length: 3\r\n\r\nabc', answer: /^HTTP\/1\.1 400/ },
  { name: 'two blanks in the request line', bytes: 'GET  /admin HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', answer: /^HTTP\/1\.1 40[03]/ },
  { name: 'a tab in the request line', bytes: 'GET\t/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a request line without a version', bytes: 'GET /\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'a version from the future', bytes: 'GET / HTTP/3.0\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'HTTP/2.0 in the request line', bytes: 'GET / HTTP/2.0\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'method override, the short name', bytes: 'POST / HTTP/1.1\r\nHost: allowed.test\r\nX-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'an unknown method', bytes: 'EVIL / HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400|^$/ },
  { name: 'SOCKS5 greeting', bytes: '\x05\x01\x00', answer: closed },
  { name: 'SOCKS5 with a NUL domain', bytes: '\x05\x01\x00\x05\x01\x00\x03\x0cdenied.test\0\x00\x50', answer: closed },
  { name: 'slow head', bytes: 'GET / HTTP/1.1\r\nHost: allowed', answer: /^HTTP\/1\.1 408|^$/, late: true },
  { name: 'SSH banner on an HTTP port', bytes: 'SSH-2.0-OpenSSH_9.2\r\n', answer: /^HTTP\/1\.1 400/ },
];

for (const each of cases) {
  test(`plain: ${each.name}`, async () => {
    requests = [];
    const bytes = Buffer.from(typeof each.bytes === 'string' ? each.bytes : each.bytes(), 'latin1');
    const socket = await (each.late ? hurried : desk).tcp('allowed.test', good.port);
    const text = await say(socket, bytes);
    assert.match(text, each.answer);
    assert.equal(requests.length, each.through ?? 0, JSON.stringify(requests));
    for (const { host } of requests) assert.match(host, /^allowed\.test(:\d+)?$/);
    assert.equal(deniedBytes, 0);
  });
}

const tlsCases: readonly Case[] = [
  { name: 'CONTROL: a request', bytes: 'GET /ok HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n', through: 1, answer: /^HTTP\/1\.1 200/ },
  { name: 'SNI allowed, Host denied (fronting)', bytes: 'GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'Host switches on the second request', bytes: 'GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: denied.test\r\n\r\n', through: 1, answer: /200 OK[^]*421/ },
  { name: 'absolute-form denied inside TLS', bytes: 'GET https://denied.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 421/ },
  { name: 'http scheme inside TLS', bytes: 'GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n', answer: /^HTTP\/1\.1 400/ },
  { name: 'WebSocket upgrade inside TLS', bytes: 'GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', answer: /^HTTP\/1\.1 501/ },
];
for (const each of tlsCases) {
  test(`TLS: ${each.name}`, async () => {
    requests = [];
    const text = await say(await desk.tls('allowed.test', goodTls.port), Buffer.from(String(each.bytes)));
    assert.match(text, each.answer);
    assert.equal(requests.length, each.through ?? 0);
  });
}

async function handshake(options: import('node:tls').ConnectionOptions): Promise<string> {
  const socket = connectTls({ socket: await desk.tcp('allowed.test', goodTls.port), ca: desk.rootPem, rejectUnauthorized: false, ...options });
  return new Promise((done) => {
    socket.once('secureConnect', () => { socket.destroy(); done('secure'); });
    socket.once('error', (error) => done(error.message));
    socket.once('close', () => done('closed'));
  });
}

test('TLS: another server name, none, or only an unknown protocol gets no handshake', async () => {
  assert.notEqual(await handshake({ servername: 'denied.test' }), 'secure');
  assert.notEqual(await handshake({ servername: '' }), 'secure');
  assert.notEqual(await handshake({ servername: 'allowed.test', ALPNProtocols: ['spdy/3'] }), 'secure');
  assert.equal(await handshake({ servername: 'allowed.test', ALPNProtocols: ['h2', 'http/1.1'] }), 'secure');
  assert.ok(desk.audit.events.some((event) => event.message.includes('the server name is not the name that was looked up')));
});

test('TLS: a damaged or endless ClientHello is cut', async () => {
  assert.match(await say(await desk.tcp('allowed.test', goodTls.port), Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0])), /^\x15|^$/);
  assert.equal((await say(await hurried.tcp('allowed.test', goodTls.port), Buffer.from([0x16, 3, 1, 0, 200, 1]))).length, 0);
});

test('denied names have no address, whatever the port', async () => {
  assert.equal(await desk.resolve('denied.test'), undefined);
  assert.equal(deniedBytes, 0);
});
