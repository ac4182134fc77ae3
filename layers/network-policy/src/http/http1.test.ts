/** Our own readers of HTTP/1.1 beside Node's: what they take, that takes too, and reads the same; and the way a plain connection goes on when something else comes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createServer as createTcp } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { AnswerReader } from './answer-reader.ts';
import { fieldLine } from './field-lines.ts';
import { readPlainRequest } from './plain-request.ts';
import { openDesk, openUpstream, say } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

/** One of the corpus with some bytes set, put in or taken out: those that frame things more often than others. */
function mutated(corpus: readonly string[]): fc.Arbitrary<string> {
  const change = fc.record({ at: fc.nat(200), text: fc.oneof(fc.constantFrom('\r\n', '\n', '\r', '\0', ' ', '\t', ':', ';', ',', '0', '1', 'a', '\x80', '\xa0', '\r\n ', 'chunked'), fc.nat(255).map((code) => String.fromCharCode(code))), way: fc.nat(2) });
  return fc.tuple(fc.constantFrom(...corpus), fc.array(change, { maxLength: 4 })).map(([seed, changes]) => {
    let out = seed;
    for (const { at, text, way } of changes) {
      const here = at % (out.length + 1);
      out = way === 0 ? out.slice(0, here) + text + out.slice(here + text.length) : way === 1 ? out.slice(0, here) + text + out.slice(here) : out.slice(0, here) + out.slice(here + 1);
    }
    return out;
  });
}

interface Read {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
}

/** What Node's server makes of the first request of these bytes; undefined where it takes it for none. */
async function nodeReads(bytes: Buffer): Promise<Read | undefined> {
  const [client, server] = duplexPair();
  const http = createServer({ insecureHTTPParser: false, requireHostHeader: false });
  const read = new Promise<Read | undefined>((resolve) => {
    const take = ({ method = '', url = '', rawHeaders }: IncomingMessage): void => resolve({ method, url, rawHeaders });
    http.on('request', take);
    http.on('checkContinue', take);
    http.on('upgrade', take);
    http.on('connect', take);
    http.on('clientError', () => resolve(undefined));
    http.emit('connection', server);
    client.end(bytes);
    server.once('close', () => resolve(undefined));
  });
  client.resume();
  const result = await read;
  client.destroy();
  server.destroy();
  return result;
}

const requests = [
  'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n', 'GET /a/b?c=d HTTP/1.1\r\nHost: a.test:80\r\nAccept: */*\r\nX-One:  two \t\r\nConnection: keep-alive\r\n\r\n', 'HEAD /x HTTP/1.1\r\nhost:a.test\r\nX:\r\n\r\n',
  'DELETE /x HTTP/1.1\r\nHost: a.test\r\nCookie: a=\x80\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n', 'POST /x HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nX-Y: z\r\n\r\n',
];

test('a request that our reader takes for plain is the same one to Node', async () => {
  let plain = 0;
  await fc.assert(fc.asyncProperty(mutated(requests), async (text) => {
    const read = readPlainRequest(bytesOf(text));
    if (!read) return;
    plain += 1;
    const { method, url, rawHeaders, end } = read;
    assert.deepEqual(await nodeReads(bytesOf(text.slice(0, end))), { method, url, rawHeaders });
  }), { numRuns: 600 });
  assert.ok(plain > 50, `${plain} were plain`);
});

test('what is not plain is left to Node', () => {
  assert.ok(readPlainRequest(bytesOf('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')));
  const head = (line: string, ...fields: string[]): Buffer => bytesOf([line, 'Host: a', ...fields, '', ''].join('\r\n'));
  const none = [
    head('GET /x HTTP/1.0'), head('GET /x HTTP/2.0'), head('GET  /x HTTP/1.1'), head('GET /x  HTTP/1.1'), head('get /x HTTP/1.1'), head('FROB /x HTTP/1.1'), head('CONNECT a:1 HTTP/1.1'), head('OPTIONS * HTTP/1.1'), head('GET http://a/ HTTP/1.1'),
    head('GET /\x80 HTTP/1.1'), head('GET /x\ty HTTP/1.1'), head('GET /x'), bytesOf('\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n'),
    ...['Content-Length: 0', 'content-length:3', 'Transfer-Encoding: chunked', 'transfer-encoding : chunked', 'Expect: 100-continue', 'Upgrade: websocket', 'Connection: close', 'Connection: keep-alive, upgrade', 'Connection: keep-alive\r\nConnection: close', 'HTTP2-Settings: x', 'Trailer: x',
      ' folded', 'X: a\r\n b', 'X: a\nY: b', 'X: a\rb', 'X: a\0b', 'X: a\x7f', ': x', 'X Y: z', 'no colon', 'X\x80: y'].map((field) => head('GET /x HTTP/1.1', field)),
    head('GET /x HTTP/1.1', ...Array.from({ length: 200 }, (_, i) => `X-${i}: y`)), head(`GET /${'x'.repeat(17_000)} HTTP/1.1`), bytesOf('GET /x HTTP/1.1\r\nHost: a\r\n'),
  ];
  for (const bytes of none) assert.equal(readPlainRequest(bytes), undefined, JSON.stringify(bytes.toString('latin1', 0, 120)));
});

interface Answer {
  readonly heads: { readonly status: number; readonly fields: readonly string[] }[];
  body: string;
  trailers: readonly string[] | undefined;
  reusable: boolean;
}

/** An answer as our reader tells it; undefined where it is none, or not whole. */
function read(pieces: readonly Buffer[], method = 'GET'): Answer | undefined {
  const out: Answer = { heads: [], body: '', trailers: undefined, reusable: false };
  const reader = new AnswerReader(method, {
    head: (status, fields) => void out.heads.push({ status, fields }),
    data: (bytes) => { out.body += bytes.toString('latin1'); },
    end: (trailers) => { out.trailers = trailers; },
  });
  try {
    for (const piece of pieces) reader.push(piece);
    reader.close();
  } catch {
    return undefined;
  }
  out.reusable = reader.reusable;
  return out;
}

/** The same by Node's client. */
async function nodeAnswer(bytes: Buffer, method: string): Promise<{ status: number; fields: readonly string[]; body: string; trailers: readonly string[] } | undefined> {
  const [client, origin] = duplexPair();
  origin.resume();
  const call = request({ method, createConnection: () => client as unknown as Socket, insecureHTTPParser: false, maxHeaderSize: 64 * 1024 });
  const answered = new Promise<IncomingMessage | undefined>((resolve) => {
    call.once('response', resolve);
    call.once('error', () => resolve(undefined));
    call.once('upgrade', () => resolve(undefined));
  });
  call.end();
  origin.end(bytes);
  const answer = await answered;
  call.on('error', () => undefined);
  let result: Awaited<ReturnType<typeof nodeAnswer>>;
  if (answer) {
    let body = '';
    try {
      for await (const chunk of answer) body += (chunk as Buffer).toString('latin1');
      if (answer.complete) result = { status: answer.statusCode ?? 0, fields: answer.rawHeaders, body, trailers: answer.rawTrailers };
    } catch {
      // It is not whole.
    }
  }
  call.destroy();
  client.destroy();
  origin.destroy();
  return result;
}

const answers = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: z\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', 'HTTP/1.0 200 OK\r\n\r\nuntil the end', 'HTTP/1.1 204 No Content\r\n\r\n', 'HTTP/1.1 200\r\nContent-Length:2\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\nok',
];

test('a head, a chunk\'s length or trailers of the longest that is read are read however they are cut; one byte more never', () => {
  const of = (kind: string, longest: number): Buffer => {
    const fill = (text: string): string => text + 'x'.repeat(longest - text.length);
    if (kind === 'head') return Buffer.from(`${fill('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ')}\r\n\r\n`);
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
    return Buffer.from(chunked + (kind === 'size' ? `${fill('1;')}\r\n!\r\n0\r\n\r\n` : `0${fill('\r\nX: ')}\r\n\r\n`));
  };
  for (const [kind, longest] of [['head', 65_536], ['size', 1024], ['trailers', 65_536]] as const) {
    for (const length of [longest, longest + 1]) {
      const bytes = of(kind, length);
      for (const pieces of [[bytes], Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))]) assert.equal(read(pieces) !== undefined, length === longest, `${kind} of ${length} in ${pieces.length}`);
    }
  }
});

test('an answer that our reader takes is the same one to Node, and the same however its bytes are cut', async () => {
  let whole = 0;
  await fc.assert(fc.asyncProperty(mutated(answers), fc.constantFrom('GET', 'HEAD'), fc.array(fc.nat(120), { maxLength: 6 }), async (text, method, cuts) => {
    const bytes = bytesOf(text);
    const once = read([bytes], method);
    const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
    assert.deepEqual(read(places.slice(1).map((to, i) => bytes.subarray(places[i], to)), method), once);
    assert.deepEqual(read([...bytes].map((byte) => Buffer.from([byte])), method), once);
    const final = once?.heads.at(-1);
    if (!once || !final) return;
    whole += 1;
    const node = await nodeAnswer(bytes, method);
    assert.deepEqual(node, { status: final.status, fields: final.fields, body: once.body, trailers: once.trailers });
  }), { numRuns: 500 });
  assert.ok(whole > 50, `${whole} were whole`);
});

test('an answer of two opinions is none', () => {
  const none = [
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na', 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na', 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na', 'HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na', 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', 'HTTP/1.1 200 OK\r\nX : a\r\n\r\n', 'HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n', 'HTTP/2 200\r\n\r\n', 'HTTP/1.1 99 X\r\n\r\n', 'HTTP/1.1 2000 X\r\n\r\n', 'ICY 200 OK\r\n\r\n', 'HTTP/1.1 101 Switching\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na', 'HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    ...['5 \r\nhello\r\n0\r\n\r\n', '-5\r\nhello\r\n0\r\n\r\n', '0x5\r\nhello\r\n0\r\n\r\n', '5\nhello\n0\n\n', '5\r\nhello0\r\n\r\n', '4\r\nhello\r\n0\r\n\r\n', '5;a\nb\r\nhello\r\n0\r\n\r\n', 'fffffffffffff\r\n', '5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n', '5\r\nhello\r\n', '5\r\nhello\r\n0\r\n', `1;${'x'.repeat(5000)}\r\na\r\n0\r\n\r\n`].map((body) => `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`),
    'HTTP/1.1 103 Early\r\n\r\n'.repeat(20) + 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`,
  ];
  for (const text of none) assert.equal(read([bytesOf(text)]), undefined, JSON.stringify(text.slice(0, 120)));
  assert.equal(read([bytesOf('HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n')])?.reusable, false);
  assert.equal(read([bytesOf('HTTP/1.1 200 OK\r\n\r\n')])?.reusable, false);
  assert.equal(read([bytesOf('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')])?.reusable, false);
  assert.equal(read([bytesOf('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')])?.reusable, true);
});

test('a field that would be two lines is not written', () => {
  for (const [name, value] of [['x', 'a\r\nb: c'], ['x', 'a\nb'], ['x', 'a\0'], ['x', '\u2028'], ['x\r\ny', 'a'], ['', 'a'], ['x y', 'a']] as const) assert.throws(() => fieldLine(name, value));
  assert.equal(fieldLine('x', '\ta \xff'), 'x: \ta \xff\r\n');
});

let desk: Desk;
let origin: Upstream;
let raw: { readonly port: number; answer: (socket: Socket, head: string) => void; close(): Promise<void> };
before(async () => {
  origin = await openUpstream((req, res) => {
    let size = 0;
    req.on('data', (chunk: Buffer) => { size += chunk.length; });
    req.on('end', () => res.end(`${req.method} ${req.url} ${size};`));
  });
  const sockets = new Set<Socket>();
  const server = createTcp((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => raw.answer(socket, chunk.toString('latin1')));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  raw = {
    port: (server.address() as AddressInfo).port, answer: () => undefined,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
  desk = await openDesk({ rules: [{ host: 'a.test', verdict: 'allow' }, { host: 'raw.test', verdict: 'allow' }], pins: [{ host: 'a.test' }, { host: 'raw.test' }], ports: [origin.port, raw.port] });
});
after(async () => {
  await desk.close();
  await origin.close();
  await raw.close();
});

test('plain and other requests come one after the other on one connection, and are answered in order', async () => {
  const plain = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`;
  const other = 'POST /3 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc';
  const text = await say(await desk.tcp('a.test', origin.port), plain('/1') + plain('/2') + other + plain('/4') + 'GET /5 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n');
  assert.deepEqual(text.match(/(?:GET|POST) \S+ \d;/g), ['GET /1 0;', 'GET /2 0;', 'POST /3 3;', 'GET /4 0;', 'GET /5 0;']);
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 5);
});

test('a head in pieces, and one that follows a plain request in pieces, are read', async () => {
  const socket = await desk.tcp('a.test', origin.port);
  socket.setNoDelay(true);
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString('latin1'); });
  const until = async (what: RegExp): Promise<void> => {
    while (!what.test(text)) await once(socket, 'data');
  };
  socket.write('GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HT');
  await until(/GET \/1 0;/);
  socket.write('TP/1.1\r\nHost: a.test\r\n\r\n');
  await until(/GET \/2 0;/);
  socket.destroy();
});

test('what an origin sends unasked, or after its answer, is not taken for the next one', async () => {
  const used = new Set<Socket>();
  raw.answer = (socket, head) => {
    used.add(socket);
    const path = head.split(' ')[1] ?? '';
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled`);
  };
  const client = await desk.tcp('raw.test', raw.port);
  const text = await say(client, Array.from({ length: 4 }, (_, i) => `GET /${i} HTTP/1.1\r\nHost: raw.test\r\n\r\n`).join(''), (so) => so.includes('/3'));
  assert.doesNotMatch(text, /smuggled/);
  assert.deepEqual(text.match(/\r\n\r\n\/\d/g), ['\r\n\r\n/0', '\r\n\r\n/1', '\r\n\r\n/2', '\r\n\r\n/3']);
  assert.equal(used.size, 4);
});

test('an answer that is cut off is cut off for the client too, and one that is none is a 502', async () => {
  const ask = async (bytes: string, enough?: (text: string) => boolean): Promise<string> => {
    raw.answer = (socket) => void socket.end(bytes);
    return say(await desk.tcp('raw.test', raw.port), 'GET / HTTP/1.1\r\nHost: raw.test\r\n\r\n', enough);
  };
  assert.match(await ask('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'), /half$/);
  const chunked = await ask('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n');
  assert.match(chunked, /half\r\n$/);
  assert.match(await ask('HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n', (text) => text.includes('upstream_failed')), /^HTTP\/1\.1 502/);
  assert.match(await ask('HTTP/1.1 200 OK\r\n\r\nuntil the end', (text) => text.endsWith('0\r\n\r\n')), /until the end\r\n0\r\n\r\n$/);
});
