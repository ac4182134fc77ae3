/** Requests that two parsers read differently: lengths, transfer encodings, chunks, line endings, what follows a refusal. */
import { get, host, post, smuggled, type HttpCase } from './table.ts';

const works = /^GET \/admin/;
const hidden = `0\r\n\r\n${smuggled}`;
const long = `Content-Length: ${hidden.length}\r\n`;

/** A length that covers the hidden request, and a transfer encoding that some servers see and others do not. */
const encodings: readonly (readonly [string, string])[] = [
  ['plain', 'Transfer-Encoding: chunked\r\n'],
  ['in small letters', 'transfer-encoding: chunked\r\n'],
  ['after a tab', 'Transfer-Encoding:\tchunked\r\n'],
  ['after a vertical tab', 'Transfer-Encoding:\x0bchunked\r\n'],
  ['before a blank', 'Transfer-Encoding : chunked\r\n'],
  ['before a tab', 'Transfer-Encoding\t: chunked\r\n'],
  ['of an unknown name', 'Transfer-Encoding: xchunked\r\n'],
  ['in quotes', 'Transfer-Encoding: "chunked"\r\n'],
  ['with an unknown one before', 'Transfer-Encoding: cow, chunked\r\n'],
  ['with identity behind', 'Transfer-Encoding: chunked, identity\r\n'],
  ['twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
  ['twice, the second unknown', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n'],
  ['twice, the first unknown', 'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n'],
  ['folded', 'Transfer-Encoding:\r\n chunked\r\n'],
  ['behind a line feed', 'X: x\nTransfer-Encoding: chunked\r\n'],
  ['behind a carriage return', 'X: x\rTransfer-Encoding: chunked\r\n'],
  ['as a folded line', 'X: x\r\n Transfer-Encoding: chunked\r\n'],
  ['ended by a line feed', 'Transfer-Encoding: chunked\n'],
  ['with a NUL behind', 'Transfer-Encoding: chunked\0\r\n'],
  ['with a byte above 127', 'Transfer-Encoding: chunked\xff\r\n'],
  ['with a parameter', 'Transfer-Encoding: chunked;x=y\r\n'],
  ['with an underscore', 'Transfer_Encoding: chunked\r\n'],
];

const lengths: readonly (readonly [string, string])[] = [
  ['two different', 'Content-Length: 3\r\nContent-Length: 0\r\n'], ['two equal', 'Content-Length: 3\r\nContent-Length: 3\r\n'], ['a list', 'Content-Length: 3, 3\r\n'], ['a list of different ones', 'Content-Length: 3, 0\r\n'],
  ['hexadecimal', 'Content-Length: 0x3\r\n'], ['with a plus', 'Content-Length: +3\r\n'], ['with a minus', 'Content-Length: -3\r\n'], ['with a blank inside', 'Content-Length: 1 3\r\n'], ['empty', 'Content-Length:\r\n'],
  ['with a point', 'Content-Length: 3.0\r\n'], ['with an exponent', 'Content-Length: 3e0\r\n'], ['with a letter', 'Content-Length: 3a\r\n'], ['in quotes', 'Content-Length: "3"\r\n'], ['beyond 64 bits', 'Content-Length: 18446744073709551619\r\n'],
  ['before a blank', 'Content-Length : 3\r\n'], ['with a line feed', 'X: y\nContent-Length: 3\r\n'], ['with an underscore beside', 'Content-Length: 3\r\nContent_Length: 0\r\n'], ['with an underscore alone', 'Content_Length: 3\r\n'],
];

const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body);
const chunks: readonly (readonly [string, string])[] = [
  ['a size in 0x', '0x3\r\nabc\r\n0\r\n\r\n'], ['a size with a plus', '+3\r\nabc\r\n0\r\n\r\n'], ['a size with a minus', '-1\r\nabc\r\n0\r\n\r\n'], ['a blank before the size', ' 3\r\nabc\r\n0\r\n\r\n'], ['an underscore in the size', '0_3\r\nabc\r\n0\r\n\r\n'],
  ['a size that ends in a line feed', '3\nabc\r\n0\r\n\r\n'], ['a line feed in an extension', `3;a\nabc\r\n0\r\n\r\n${smuggled}`], ['a carriage return in an extension', `3;a\rb\r\nabc\r\n0\r\n\r\n${smuggled}`], ['data longer than its size', `3\r\nabcdef\r\n${hidden}`],
  ['no line end after the data', '3\r\nabc0\r\n\r\n'], ['a line feed after the data', '3\r\nabc\n0\r\n\r\n'], ['two blanks for a line end', `3\r\nabc  0\r\n\r\n`], ['a size beyond 64 bits', '10000000000000003\r\nabc\r\n0\r\n\r\n'], ['no size', '\r\nabc\r\n0\r\n\r\n'],
  ['a NUL in the size', '3\0\r\nabc\r\n0\r\n\r\n'], ['an endless extension', `3;${'a'.repeat(70_000)}\r\nabc\r\n0\r\n\r\n`],
];

export const smuggling: readonly HttpCase[] = [
  { name: 'control: a request', bytes: get(), expect: 'canonical' },
  { name: 'control: a body with a length', bytes: post('Content-Length: 3\r\n', 'abc'), expect: 'canonical', through: ['POST /ok abc'] },
  { name: 'control: a body in chunks', bytes: chunked('3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n'), expect: 'canonical', through: ['POST /ok abcde'] },
  { name: 'control: two requests on one connection', bytes: get('/1') + get('/2'), expect: 'canonical', through: ['GET /1', 'GET /2'] },
  ...encodings.map(([name, header]): HttpCase => ({ name: `a length and a transfer encoding ${name}`, bytes: post(`${long}${header}`, hidden), expect: 'refused', works })),
  { name: 'a transfer encoding first, then a length', bytes: post(`Transfer-Encoding: chunked\r\nContent-Length: 3\r\n`, `8\r\nSMUGGLED\r\n${hidden}`), expect: 'refused', works },
  ...lengths.map(([name, header]): HttpCase => ({ name: `lengths: ${name}`, bytes: post(header, `abc${smuggled}`), expect: 'refused', ...(name === 'empty' ? {} : { works }) })),
  { name: 'a length with zeroes before it is written anew', bytes: post('Content-Length: 0003\r\n', 'abc'), expect: 'canonical', through: ['POST /ok abc'] },
  ...chunks.map(([name, body]): HttpCase => ({ name: `chunks: ${name}`, bytes: chunked(body), expect: 'refused' })),
  { name: 'chunks: a length hides in the trailers', bytes: chunked(`3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n`), expect: 'refused' },
  { name: 'chunks: another Host in the trailers', bytes: chunked(`3\r\nabc\r\n0\r\nHost: denied.test\r\n\r\n`), expect: 'canonical', through: ['POST /ok abc'] },
  { name: 'chunks: a request for a trailer', bytes: chunked(`3\r\nabc\r\n0\r\n${smuggled}`), expect: 'refused', works },
  { name: 'GET with a length hides a request', bytes: get('/ok', `Content-Length: ${smuggled.length}\r\n`) + smuggled, expect: 'refused', works },
  { name: 'GET in chunks hides a request', bytes: get('/ok', 'Transfer-Encoding: chunked\r\n') + hidden, expect: 'refused', works },
  { name: 'HEAD with a body', bytes: `HEAD /ok HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`, expect: 'refused' },
  { name: 'a second request to another host', bytes: get('/1') + smuggled, expect: 'refused', through: ['GET /1'], works },
  { name: 'a second request to a denied path', bytes: get('/1') + get('/admin'), expect: 'denied', through: ['GET /1'], works },
  { name: 'a request behind one that is refused', bytes: get('/x\\y') + get('/2'), expect: 'refused' },
  { name: 'a request behind one that says it is the last', bytes: get('/1', 'Connection: close\r\n') + smuggled, expect: 'refused', may: ['GET /1'], works },
  { name: 'a body with a request in it stays a body', bytes: post(`Content-Length: ${smuggled.length}\r\n`, smuggled), expect: 'canonical', through: [`POST /ok ${smuggled}`], works },
  { name: 'a request behind an upgrade', bytes: get('/ok', 'Connection: Upgrade\r\nUpgrade: websocket\r\n') + smuggled, expect: 'refused', works },
  { name: 'a request behind an upgrade to h2c', bytes: get('/ok', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n') + smuggled, expect: 'refused', through: ['GET /ok'], works },
  { name: 'a request behind an upgrade that is denied', bytes: get('/admin', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n') + smuggled, expect: 'denied', works },
  { name: 'a request behind an expectation that is not met', bytes: post(`Expect: 200-ok\r\nContent-Length: ${smuggled.length}\r\n`, smuggled), expect: 'refused', works },
  { name: 'line feeds for line ends', bytes: `GET /ok HTTP/1.1\nHost: allowed.test\n\n${smuggled.replaceAll('\r', '')}`, expect: 'refused', works },
  { name: 'carriage returns for line ends', bytes: `GET /ok HTTP/1.1\rHost: allowed.test\r\r${smuggled.replaceAll('\n', '')}`, expect: 'refused', works },
  { name: 'the head ends in two line feeds', bytes: `GET /ok HTTP/1.1\r\nHost: allowed.test\r\n\n${smuggled}`, expect: 'refused', works },
  { name: 'HTTP/0.9', bytes: 'GET /admin\r\n', expect: 'refused', works },
  { name: 'HTTP/1.2', bytes: `GET /ok HTTP/1.2\r\n${host}\r\n`, expect: 'refused' },
  { name: 'HTTP/2.0 in a request line', bytes: `GET /ok HTTP/2.0\r\n${host}\r\n`, expect: 'refused' },
  { name: 'HTTP/11.1', bytes: `GET /ok HTTP/11.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'http/1.1 in small letters', bytes: `GET /ok http/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'two blanks in the request line', bytes: `GET  /ok HTTP/1.1\r\n${host}\r\n`, expect: 'canonical' },
  { name: 'a tab in the request line', bytes: `GET\t/ok\tHTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'two targets', bytes: `GET /ok /admin HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'two versions', bytes: `GET /admin HTTP/1.1 /ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused', works },
  { name: 'a carriage return in the target', bytes: `GET /ok\rX HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a method that is none', bytes: `G=T /ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a method in small letters', bytes: `get /ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
  { name: 'a method that begins with a blank', bytes: ` GET /ok HTTP/1.1\r\n${host}\r\n`, expect: 'refused' },
];
