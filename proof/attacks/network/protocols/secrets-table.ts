/** Placeholders out of their place, credentials that a server sends back, and what hides a value from one who searches for it. */
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';

export const placeholder = 'nemo-placeholder-for-keys-0001';
export const real = 'sk-live-R3alV4lueOfKeysTest-77xQ';
/** Bound to another host. */
export const otherPlaceholder = 'nemo-placeholder-for-other-0002';
export const otherReal = 'sk-live-An0therV4lue-88zT-otherHost';

/** Bytes of requests to one origin; `host` is the name that is connected to. */
export interface SecretRow {
  readonly name: string;
  readonly host: 'keys.test' | 'other.test' | 'scan.test';
  readonly bytes: Buffer;
  /** What the origin answers, byte for byte. */
  readonly answers?: Buffer;
  /** `stopped`: nothing arrives. `cut`: no whole request, and no piece of the value. `real`: the request arrives with the value in `x-api-key`, and only there. `without`: it arrives, without any real value. */
  readonly expect: 'stopped' | 'real' | 'without' | 'cut';
}

const latin = (text: string): Buffer => Buffer.from(text, 'latin1');
const request = (host: string, line: string, headers = '', body: Buffer | string = ''): Buffer => {
  const content = typeof body === 'string' ? Buffer.from(body) : body;
  return Buffer.concat([latin(`${line} HTTP/1.1\r\nHost: ${host}\r\n${headers}${content.length > 0 ? `Content-Length: ${content.length}\r\n` : ''}\r\n`), content]);
};
const keys = (line: string, headers = '', body: Buffer | string = ''): Buffer => request('keys.test', line, headers, body);
const mine = `X-Api-Key: ${placeholder}\r\n`;
const percent = (text: string): string => [...text].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('');

const theft: readonly SecretRow[] = [
  { name: 'control: in its header, host and path', host: 'keys.test', bytes: keys('GET /v1/x', mine), expect: 'real' },
  ...([
    ['in a body', keys('POST /v1/x', 'Content-Type: text/plain\r\n', placeholder)], ['in a form', keys('POST /v1/x', 'Content-Type: application/x-www-form-urlencoded\r\n', `k=${placeholder}`)], ['backwards', keys('GET /v1/x', `X-Api-Key: ${[...placeholder].toReversed().join('')}\r\n`)], ['in base64', keys('GET /v1/x', `X-Api-Key: ${Buffer.from(placeholder).toString('base64')}\r\n`)], ['in another header', keys('GET /v1/x', `X-Other: ${placeholder}\r\n`)], ['in Authorization', keys('GET /v1/x', `Authorization: Bearer ${placeholder}\r\n`)], ['in a cookie', keys('GET /v1/x', `Cookie: a=${placeholder}\r\n`)], ['in Basic', keys('GET /v1/x', `Authorization: Basic ${Buffer.from(`u:${placeholder}`).toString('base64')}\r\n`)], ['in a referer', keys('GET /v1/x', `Referer: https://keys.test/${placeholder}\r\n`)], ['in its header and another', keys('GET /v1/x', `${mine}X-Copy: ${placeholder}\r\n`)],
    ['on another path', keys('GET /v2/x', mine)], ['on a path that begins so', keys('GET /v1x', mine)], ['on a path above', keys('GET /', mine)], ['on a path with an encoded slash', keys('GET /v1%2f..%2fv2', mine)], ['on a path with a parameter', keys('GET /v1;/../v2', mine)], ['on a path with two readings', keys('GET /v1;x/y', mine)], ['in the query', keys(`GET /v1/x?k=${placeholder}`)], ['in the query, encoded', keys(`GET /v1/x?k=${percent(placeholder)}`)], ['in the query beside its header', keys(`GET /v1/x?k=${placeholder}`, mine)], ['in the path', keys(`GET /v1/${placeholder}`)],
    ['in its header, encoded', keys('GET /v1/x', `X-Api-Key: ${percent(placeholder)}\r\n`)], ['in its header with underscores', keys('GET /v1/x', `X_Api_Key: ${placeholder}\r\n`)], ['to another host', request('other.test', 'GET /v1/x', mine)], ['of another host', keys('GET /v1/x', `X-Api-Key: ${otherPlaceholder}\r\n`)], ['of another host beside its own', keys('GET /v1/x', `${mine}Authorization: Bearer ${otherPlaceholder}\r\n`)],
  ] as const).map(([name, bytes]): SecretRow => ({ name, host: bytes.includes('Host: other.test') ? 'other.test' : 'keys.test', bytes, expect: 'stopped' })),
  ...([
    ['in two halves', keys('GET /v1/x', `X-Api-Key: ${placeholder.slice(0, 10)}\r\nX-Api-Rest: ${placeholder.slice(10)}\r\n`)], ['in capitals', keys('GET /v1/x', `X-Api-Key: ${placeholder.toUpperCase()}\r\n`)], 
  ] as const).map(([name, bytes]): SecretRow => ({ name: `placeholder, ${name}`, host: 'keys.test', bytes, expect: 'without' })),
];

const answer = (headers: string, body: Buffer | string = 'ok', status = '200 OK'): Buffer => {
  const content = typeof body === 'string' ? Buffer.from(body) : body;
  return Buffer.concat([latin(`HTTP/1.1 ${status}\r\ncontent-length: ${content.length}\r\n${headers}\r\n`), content]);
};
const chunks = (...all: readonly string[]): string => `${all.map((one) => `${one.length.toString(16)}\r\n${one}\r\n`).join('')}0\r\n`;
const page = `{"you sent":"${real}"}`;
const echoes: readonly (readonly [string, Buffer])[] = [
  ['in the body', answer('', page)], ['in the body of an error', answer('', page, '401 Unauthorized')], ['in chunks of one byte', latin(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks(...page)}\r\n`)], ['in two chunks', latin(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks(page.slice(0, 25), page.slice(25))}\r\n`)], ['in a trailer', latin(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-key\r\n\r\n${chunks('ok')}x-key: ${real}\r\n\r\n`)], ['in a trailer in base64', latin(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-key\r\n\r\n${chunks('ok')}x-key: ${Buffer.from(real).toString('base64')}\r\n\r\n`)], ['in the name of a trailer', latin(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks('ok')}x-${real}: 1\r\n\r\n`)], ['in a header in base64', answer(`x-echo: ${Buffer.from(page).toString('base64')}\r\n`)], ['in a header in hexadecimal', answer(`x-echo: ${Buffer.from(page).toString('hex')}\r\n`)], ['in a header', answer(`x-echo: ${real}\r\n`)], ['in a cookie', answer(`set-cookie: k=${real}; Path=/\r\n`)], ['in a redirect', answer(`location: https://evil.test/?k=${real}\r\n`, '', '302 Found')],
  ['in the reason of the status', answer('', 'ok', `200 ${real}`)], ['in early hints', Buffer.concat([latin(`HTTP/1.1 103 Early Hints\r\nlink: <https://evil.test/${real}>; rel=preload\r\n\r\n`), answer('')])], ['in early hints in base64', Buffer.concat([latin(`HTTP/1.1 103 Early Hints\r\nlink: <https://evil.test/${Buffer.from(real).toString('base64')}>; rel=preload\r\n\r\n`), answer('')])], ['in the name of a header', answer(`x-${real}: 1\r\n`)], ['in base64', answer('', Buffer.from(`x${page}`).toString('base64'))], ['in base64 for URLs', answer('', Buffer.from(`xy${page}`).toString('base64url'))], ['in hexadecimal', answer('', Buffer.from(page).toString('hex'))], ['encoded for a URL', answer('', encodeURIComponent(page))],
  ['in gzip that nobody asked for', answer('content-encoding: gzip\r\n', gzipSync(page))], ['in brotli that nobody asked for', answer('content-encoding: br\r\n', brotliCompressSync(page))], ['in deflate that nobody asked for', answer('content-encoding: deflate\r\n', deflateSync(page))], ['in zstd that nobody asked for', answer('content-encoding: zstd\r\n', zstdCompressSync(page))], ['in gzip in gzip', answer('content-encoding: gzip, gzip\r\n', gzipSync(gzipSync(page)))], ['in an encoding that is none', answer('content-encoding: x-none\r\n', page)],
  ['in the authentication that is asked for', answer(`www-authenticate: Basic realm="${real}"\r\n`, '', '401 Unauthorized')], ['in an event stream', latin(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunks('data: ', real, '\n\n')}\r\n`)],
];

/** A number that is a card's (the schemes' own test number), and its hiding places. */
const card = '4111111111111111';
const scan = (headers: string, body: Buffer | string, line = 'POST /x'): Buffer => request('scan.test', line, headers, body);
const json = 'Content-Type: application/json\r\n';
const text = 'Content-Type: text/plain\r\n';
const long = `card ${card} of nobody in particular`;
const wide = [...card].map((c) => String.fromCharCode(0xff10 + Number(c))).join('');
const multipart = (head: string, body: string): string => `--b\r\nContent-Disposition: form-data; name="f"\r\n${head}\r\n${body}\r\n--b--\r\n`;
const swapped = (value: string): Buffer => Buffer.from(`\ufeff${value}`, 'utf16le').swap16();
const hidden: readonly (readonly [string, Buffer])[] = [
  ['plainly', scan(text, long)], ['with blanks', scan(text, 'card 4111 1111 1111 1111 .')], ['with dashes', scan(text, 'card 4111-1111-1111-1111 .')], ['as JSON', scan(json, JSON.stringify({ a: [card] }))], ['as JSON, escaped', scan(json, `{"a":"${[...card].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join('')}"}`)], ['as a number of JSON', scan(json, `{"a":${card}}`)], ['as a key of JSON', scan(json, `{"${card}":1}`)], ['in a form, encoded', scan('Content-Type: application/x-www-form-urlencoded\r\n', `a=${percent(card)}`)], ['in the query', scan('', '', `GET /x?c=${card}`)], ['in the query, encoded', scan('', '', `GET /x?c=${percent(card)}`)],
  ['in the path', scan('', '', `GET /x/${card}`)], ['in the path of a collection, as it is printed', scan('', '', 'GET /cases/4111-1111-1111-1111')], ['in a header', scan(`X-A: ${card}\r\n`, '', 'GET /x')], ['in base64 in a header', scan(`X-A: ${Buffer.from(long).toString('base64')}\r\n`, '', 'GET /x')], ['in base64', scan(text, Buffer.from(long).toString('base64'))], ['in base64, one off', scan(text, Buffer.from(`x${long}`).toString('base64'))], ['in base64 for URLs', scan(text, Buffer.from(`??>${long}`).toString('base64url'))], ['in base64 in JSON', scan(json, JSON.stringify({ a: Buffer.from(long).toString('base64') }))], ['in base64 in lines', scan(text, Buffer.from(`${long} `.repeat(5)).toString('base64').replace(/.{76}/g, '$&\r\n'))],
  ['encoded in text', scan(text, percent(long))], ['as references of XML', scan('Content-Type: application/xml\r\n', `<a>${[...card].map((c) => `&#${c.charCodeAt(0)};`).join('')}</a>`)], ['as references in hexadecimal', scan('Content-Type: text/html\r\n', [...card].map((c) => `&#x${c.charCodeAt(0).toString(16)};`).join(''))], ['in wide digits', scan(text, `card ${wide} .`)], ['with zero-width blanks', scan(text, `card ${[...card].join('\u200b')} .`)], ['with soft hyphens', scan(text, `card ${[...card].join('\u00ad')} .`)], ['in UTF-16', scan('Content-Type: text/plain; charset=utf-16\r\n', Buffer.from(`\ufeff${long}`, 'utf16le'))], ['in UTF-16, the other way', scan('Content-Type: text/plain; charset=utf-16\r\n', swapped(long))],
  ['in gzip', scan(`${text}Content-Encoding: gzip\r\n`, gzipSync(long))], ['in brotli', scan(`${text}Content-Encoding: br\r\n`, brotliCompressSync(long))], ['in zstd', scan(`${text}Content-Encoding: zstd\r\n`, zstdCompressSync(long))], ['in deflate', scan(`${text}Content-Encoding: deflate\r\n`, deflateSync(long))], ['in deflate without a head', scan(`${text}Content-Encoding: deflate\r\n`, deflateRawSync(long))], ['in gzip in brotli', scan(`${text}Content-Encoding: gzip, br\r\n`, brotliCompressSync(gzipSync(long)))], ['in a part', scan('Content-Type: multipart/form-data; boundary=b\r\n', multipart('', long))], ['in a part in base64', scan('Content-Type: multipart/form-data; boundary=b\r\n', multipart('Content-Transfer-Encoding: base64\r\n', Buffer.from(long).toString('base64')))], ['in the name of a part', scan('Content-Type: multipart/form-data; boundary=b\r\n', multipart(`X-A: ${card}\r\n`, 'x'))],
  ['in chunks of one byte', Buffer.concat([latin('POST /x HTTP/1.1\r\nHost: scan.test\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n'), latin(`${chunks(...long)}\r\n`)])], ['in a type that is none', scan('Content-Type: application/x-what\r\n', long)], ['without a type', scan('', long)], ['behind a NUL', scan(text, `\0\0${long}`)], ['behind 100 KB of blanks', scan(text, `${' '.repeat(100_000)}${long}`)],
];

/** The sandbox's own credential, by whatever way a program came to it. */
const own = `take ${real} away`;
const ownHidden: readonly (readonly [string, Buffer])[] = [
  ['plainly', scan(text, own)], ['in the query', scan('', '', `GET /x?k=${real}`)], ['in the path', scan('', '', `GET /x/${real}`)], ['in a header', scan(`X-A: ${real}\r\n`, '', 'GET /x')], ['in base64', scan(text, Buffer.from(own).toString('base64'))], ['in base64, one off', scan(text, Buffer.from(`x${own}`).toString('base64'))], ['in base64, two off', scan(text, Buffer.from(`xy${own}`).toString('base64'))], ['in hexadecimal', scan(text, Buffer.from(own).toString('hex'))], ['in hexadecimal, capitals', scan(text, Buffer.from(own).toString('hex').toUpperCase())], ['in a number', scan(json, `{"a":"${[...real].map((c) => `\\u00${c.charCodeAt(0).toString(16)}`).join('')}"}`)],
  ['in gzip', scan(`${text}Content-Encoding: gzip\r\n`, gzipSync(own))], ['in a form', scan('Content-Type: application/x-www-form-urlencoded\r\n', `a=${percent(real)}`)], ['in a part', scan('Content-Type: multipart/form-data; boundary=b\r\n', multipart('', own))], ['in a file of bytes', scan('Content-Type: application/octet-stream\r\n', Buffer.concat([Buffer.from([0, 255, 1]), Buffer.from(own)]))], ['in UTF-16', scan('Content-Type: text/plain; charset=utf-16\r\n', Buffer.from(`\ufeff${own}`, 'utf16le'))],
];

/** A stream cannot be held back: its head has left when the value comes, and nothing of the value follows. */
const streamed = Buffer.concat([latin('POST /x HTTP/1.1\r\nHost: scan.test\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n'), latin(`${chunks(...own)}\r\n`)]);

export const secretRows: readonly SecretRow[] = [
  ...theft,
  ...echoes.map(([name, answers]): SecretRow => ({ name: `a credential that comes back ${name}`, host: 'keys.test', bytes: keys('GET /v1/x', `${mine}Accept-Encoding: gzip, br, zstd\r\n`), answers, expect: 'real' })),
  { name: 'control: what is nothing of the kind', host: 'scan.test', bytes: scan(text, 'hello 4111111111111112'), expect: 'without' },
  ...hidden.map(([name, bytes]): SecretRow => ({ name: `a card ${name}`, host: 'scan.test', bytes, expect: 'stopped' })),
  ...ownHidden.map(([name, bytes]): SecretRow => ({ name: `the sandbox’s own credential ${name}`, host: 'scan.test', bytes, expect: 'stopped' })),
  ...echoes.filter((_, i) => i % 3 === 0).map(([name, answers]): SecretRow => ({ name: `a credential that comes back unasked ${name}`, host: 'keys.test', bytes: keys('GET /v1/x'), answers, expect: 'without' })),
  { name: 'the sandbox’s own credential in a stream of one byte each', host: 'scan.test', bytes: streamed, expect: 'cut' },
];
