/** What is found in bodies as their readers would see them, and what they are without it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { inspectBody } from './inspect-body.ts';
import { inspectHead } from './inspect-head.ts';
import { undoEncodings } from './undo-encodings.ts';

const card = '4111 1111 1111 1111';
const mail = 'jane.roe@example.org';
const bare = '4111111111111111';
const found = (body: string | Buffer, type = '', known: readonly string[] = []): string[] => inspectBody(Buffer.from(body), type, known).found.map((one) => `${one.type} in ${one.place}`);
const without = (body: string | Buffer, type = ''): string | undefined => inspectBody(Buffer.from(body), type, []).redacted(() => true)?.toString();
const json = 'application/json';
const form = 'application/x-www-form-urlencoded';
const parts = (...each: readonly string[]): string => `${each.map((part) => `--XyZ\r\n${part}\r\n`).join('')}--XyZ--\r\n`;

test('JSON: values, escapes, numbers, keys, several texts; the place is a pointer', () => {
  assert.deepEqual(found(`{"a":{"cards":["x","${card}"]}}`, json), ['credit-card in the body at /a/cards/1']);
  assert.deepEqual(found('{"to":"jane.roe\\u0040example.org"}', json), ['email in the body at /to']);
  assert.deepEqual(found('{"n":"\\u0034111 1111 1111 1111"}'), ['credit-card in the body at /n'], 'without a content type');
  assert.deepEqual(found(`{"pan":${bare}}`, json), ['credit-card in the body at /pan']);
  assert.deepEqual(found(`{"x":{"${mail}":1}}`, json), ['email in a key of the body at /x']);
  assert.deepEqual(found(`{"a":1}\n{"b":"${mail}"}\n`, 'application/x-ndjson'), ['email in the body at /b']);
  assert.deepEqual(found(`{"${mail} ":{"b":"${card}"}}`, json).at(-1), 'credit-card in the body at /*/b', 'a key that could be a value is not named');
  assert.deepEqual(found('{"broken": "jane.roe@example.org"', json), ['email in the body']);
});

test('a boundary that is a piece of a value hides nothing', () => {
  const key = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n'.repeat(2)}-----END PRIVATE KEY-----\n`;
  assert.deepEqual(found(key, 'multipart/mixed; boundary=-'), ['secret in outside the parts']);
  const own = 'own--b--credential';
  const part = (text: string): string => `--b\r\n\r\n${text}\r\n--b--\r\n`;
  assert.deepEqual(found(part(own), 'multipart/mixed; boundary=b', [own]), ['known-secret in part 1: the body']);
  assert.deepEqual(found(`${part('x')}${own}`, 'multipart/mixed; boundary=b', [own]), ['known-secret in outside the parts']);
  assert.deepEqual(found(part('--b--credential'), 'multipart/mixed; boundary=b', ['--b--credential']), ['known-secret in the body']);
});

test('forms, parts, references, full-width digits, other character sets, one layer of base64', () => {
  assert.deepEqual(found('a=1&to=jane.roe%40example.org', form), ["email in the body's field to"]);
  assert.deepEqual(found(`note=4111+1111+1111+1111`, form), ["credit-card in the body's field note"]);
  const upload = parts('Content-Disposition: form-data; name="a"\r\n\r\nhello', `Content-Disposition: form-data; name="f"; filename="${mail}.txt"\r\nContent-Type: application/json\r\n\r\n{"n":"${card}"}`);
  assert.deepEqual(found(upload, 'multipart/form-data; boundary=XyZ'), ['email in the head of part 2', 'credit-card in part 2: the body at /n']);
  const named = parts(`Content-Disposition: form-data; name="f"; filename*=UTF-8''${encodeURIComponent(card).replaceAll('1', '%31')}\r\n\r\nhello`);
  assert.deepEqual(found(named, 'multipart/form-data; boundary=XyZ'), ['credit-card in the head of part 1']);
  assert.deepEqual(found(`<a>jane.roe&#64;example.org &#x34;111 1111 1111 1111</a>`, 'text/xml'), ['email in the body, as character references', 'credit-card in the body, as character references']);
  assert.deepEqual(found('card ４１１１ １１１１ １１１１ １１１１', 'text/plain'), ['credit-card in the body, in other forms of its characters']);
  assert.deepEqual(found(Buffer.from(`to ${mail}`, 'utf16le'), 'text/plain; charset=utf-16'), ['email in the body']);
  assert.deepEqual(found(Buffer.from(`to ${mail}`, 'utf16le').swap16()), ['email in the body']);
  const encoded = Buffer.from(`the address is ${mail}, and so on`).toString('base64');
  assert.deepEqual(found(`{"data":"${encoded}"}`, json), ['email in the body at /data, in base64']);
  assert.deepEqual(found(`x ${Buffer.from(`aaaaaaaaaaaaaaaa ${mail} ßßß`).toString('base64url')} y`), ['email in the body, in base64']);
  const lines = (Buffer.from(`${'a long text '.repeat(12)} ${mail}`).toString('base64').match(/.{1,76}/g) ?? []).join('\r\n');
  assert.deepEqual(found(lines), ['email in the body, in base64']);
  assert.deepEqual(found('a%20b%20jane.roe%40example.org', 'text/plain'), ['email in the body, percent-encoded']);
  assert.deepEqual([...new Set(found(`{"k":"${Buffer.from('xx the-own-value-1 yy').toString('base64')}"}`, json, ['the-own-value-1']).map((one) => one.split(' ')[0]))], ['known-secret']);
});

test('UTF-16 with a byte too many, or that begins in another script; UTF-32; text that is not in the charset it names', () => {
  const wide = (text: string, big = false): Buffer => Buffer.concat([...text].map((c) => {
    const bytes = Buffer.alloc(4);
    bytes[big ? 'writeUInt32BE' : 'writeUInt32LE'](c.codePointAt(0) ?? 0);
    return bytes;
  }));
  const le = Buffer.from(`€€€€ to ${mail}`, 'utf16le');
  const be = Buffer.from(le).swap16();
  const long = Buffer.from(`{"k":"${'語'.repeat(600)}","to":"${mail}"}`, 'utf16le');
  const bodies: readonly (readonly [string, Buffer])[] = [
    ['text/plain; charset=utf-16le', Buffer.concat([le, Buffer.from('x')])], ['text/plain; charset=utf-16', Buffer.concat([be, Buffer.from([0])])], ['', le], ['', be], [json, long], ['', Buffer.from(long).swap16()],
    ['text/plain; charset=utf-32le', wide(mail)], ['text/plain; charset="UTF-32"', wide(mail, true)], ['text/plain; charset=utf-32be', Buffer.concat([wide(mail, true), Buffer.from('xyz')])], ['', wide(`\ufeff${mail}`)], ['', wide(`\ufeff${mail}`, true)],
    ['text/plain; charset=utf-32', Buffer.concat([wide(mail), Buffer.from([255, 255, 255, 255])])], ['text/plain; charset=utf-16le', Buffer.from(`to ${mail}`)], ['application/json; charset=utf-16', Buffer.from('{"to":"jane.roe\\u0040example.org"}')],
    ['text/plain; charset=gbk', Buffer.concat([Buffer.from([0xc4, 0xe3]), Buffer.from(`, ${mail}`)])], ['text/html; charset=iso-8859-1', Buffer.from(`café, ${mail}`, 'latin1')],
  ];
  for (const [type, body] of bodies) assert.deepEqual(inspectBody(body, type, []).found.map((one) => one.type), ['email'], `${type} ${body.toString('hex')}`);
  const fullWidth = Buffer.concat([...card].map((c) => (c === ' ' ? Buffer.from(c) : Buffer.from([0xa3, 0xb0 + Number(c)]))));
  assert.deepEqual(found(fullWidth, 'text/plain; charset=gbk'), ['credit-card in the body, in another character encoding']);
  // Two zeros among few bytes look like UTF-16, and are none.
  for (const hidden of [Buffer.from(`to ${mail}`).toString('base64'), [...mail].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('')]) {
    assert.deepEqual(found(`\0a\0${hidden}`, 'application/octet-stream'), ['email in the body, in another character encoding']);
  }
  // What would not come back as it was is not rewritten.
  assert.equal(inspectBody(bodies[0]?.[1] ?? le, 'text/plain; charset=utf-16le', []).redacted(() => true), undefined);
  assert.equal(inspectBody(wide(mail), '', []).redacted(() => true), undefined);
  assert.equal(inspectBody(le, '', []).redacted(() => true)?.toString('utf16le'), '€€€€ to [redacted:email]');
  assert.equal(inspectBody(Buffer.from(`café, ${mail}`, 'latin1'), 'text/html; charset=iso-8859-1', []).redacted(() => true)?.toString('latin1'), 'café, [redacted:email]');
});

test('character references however they are written, and base64 in short lines', () => {
  for (const at of ['&#64;', '&#000000000064;', '&#x000000040;', '&#X40;', '&#64', '&commat;']) assert.deepEqual(found(`<a>jane.roe${at}example.org</a>`, 'text/xml'), ['email in the body, as character references'], at);
  const value = 'ghp_16C7e42F292c6912E7710c838347Ae178B4a';
  const encoded = Buffer.from(`it says: ${value}, and goes on for a while.`).toString('base64');
  for (const length of [20, 30, 40, 57]) {
    for (const end of ['\n', '\r\n']) {
      const lines = (encoded.match(new RegExp(`.{1,${length}}`, 'g')) ?? []).join(end);
      assert.deepEqual(found(`a note:${end}${lines}${end}and more`, 'text/plain'), ['secret in the body, in base64'], lines);
    }
  }
  for (const wide of [Buffer.from(value, 'utf16le').swap16(), Buffer.concat([...value].map((c) => Buffer.from([c.charCodeAt(0), 0, 0, 0])))]) assert.deepEqual(found(wide.toString('base64'), 'text/plain'), ['secret in the body, in base64']);
  const amex = Buffer.from('378282246310005').toString('base64');
  assert.deepEqual([...new Set(found(`${amex}\n${amex}\n${amex}`, 'text/plain'))], ['credit-card in the body, in base64'], 'each line a value');
});

test('what is in no part, what a part says of its encoding, JSON nested deep, strings in strings', () => {
  const multipart = 'multipart/form-data; boundary=XyZ';
  const whole = parts('Content-Disposition: form-data; name="a"\r\n\r\nhello');
  const own = ['the-own-value-1'];
  for (const [hidden, type] of [[card, 'credit-card'], [mail, 'email'], ['the-own-value-1', 'known-secret']] as const) {
    for (const body of [`${hidden}\r\n${whole}`, `${whole}${hidden}`, whole.replace('--XyZ\r', `--XyZ ${hidden}\r`), `${whole}--b\r\n\r\n${hidden}\r\n--b--`]) {
      assert.deepEqual(found(body, multipart, own), [`${type} in outside the parts`]);
      assert.equal(without(body, multipart), type === 'known-secret' ? body : undefined, 'it can only be blocked');
    }
    const encoded = (encoding: string, text: string): string => parts(`Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${text}`);
    assert.deepEqual(found(encoded('base64', hidden), multipart, own), [`${type} in part 1: the body`]);
    const quoted = [...hidden].map((c) => `=${c.charCodeAt(0).toString(16).toUpperCase()}`).join('=\r\n');
    assert.deepEqual(found(encoded('quoted-printable', quoted), multipart, own), [`${type} in the body`]);
    const escaped = `\\u00${hidden.charCodeAt(0).toString(16)}${hidden.slice(1)}`;
    for (const deep of [130, 5000]) assert.deepEqual(found(`${'['.repeat(deep)}"${escaped}"${']'.repeat(deep)}`, json, own).at(-1), `${type} in the body, in escapes`);
    assert.deepEqual(found(JSON.stringify({ query: `mutation { a(x: "${escaped}") }` }), json, own).at(-1), `${type} in the body, in escapes`);
  }
  assert.deepEqual(found(whole, multipart), []);
  // Boundaries as browsers, curl and Python make them are no numbers of anybody.
  for (const boundary of ['---------------------------9051914041544843365972754266', '----WebKitFormBoundary7MA4YWxkTrZu0gW', '------------------------d74496d66958873e', '===============4111111111111111==']) assert.deepEqual(found(whole.replaceAll('XyZ', boundary), `multipart/form-data; boundary="${boundary}"`), []);
});

test('parts that only some readers take apart, XML in an encoding of its own, numbers with an exponent', () => {
  const quoted = [...card].map((c) => `=${c.charCodeAt(0).toString(16).toUpperCase()}`).join('');
  const part = (head: string, content: string, end = '\r\n'): string => ['--b', 'content-disposition: form-data; name="a"', head, '', content, '--b--', ''].join(end);
  const form = 'multipart/form-data; boundary=b';
  for (const [type, body] of [
    [form, part('content-transfer-encoding: quoted-printable', quoted, '\n')], [form, part('content-transfer-encoding : Quoted-Printable (so)', quoted)], [form, part('Content-Transfer-Encoding: "quoted-printable"', quoted)],
    [form, part('content-transfer-encoding: quoted-printable', quoted).replace('--b--', '')], ['multipart/form-data, boundary=b', part('content-transfer-encoding: quoted-printable', quoted)],
    ['multipart/mixed; boundary=0', `--0\r\ncontent-type: multipart/mixed; boundary=1\r\n\r\n--1\r\ncontent-type: multipart/mixed; boundary=b\r\n\r\n${part('content-transfer-encoding: quoted-printable', quoted)}--1--\r\n--0--\r\n`],
    [form, part('content-transfer-encoding: base64\r\ncontent-transfer-encoding: base64', Buffer.from(card).toString('base64').replace(/.{4}/g, '$&\r\n'))],
    [json, '{"card":4.111111111111111e15}'], [json, '{"card":41111111111111110e-1,"b":1}'], ['', '[4111111111111111E0]'],
  ] as const) assert.ok(found(body, type).some((one) => one.startsWith('credit-card')), `${type} ${body}`);
  const both = `--b\r\n\r\n${card}\r\n${part('content-transfer-encoding: quoted-printable', quoted)}`;
  assert.equal(inspectBody(Buffer.from(both), form, []).redacted(() => true), undefined, 'what is taken out in one part stands in another');
  assert.ok(!inspectBody(Buffer.from(`--b\r\n\r\n${card}\r\n${part('content-transfer-encoding: quoted-printable', 'a=3Db')}`), form, []).redacted(() => true)?.includes(card));
  for (const [type, body] of [
    [form, part('content-type: text/plain; charset=utf-7', 'x', '\n')], [form, part('content-type : text/plain; charset=utf-7', 'x')], [form, part('content-type: text/plain; charset=utf-7', 'x').replace('--b--', '')],
    ['application/xml', '<?xml version="1.0" encoding="UTF-7"?><a/>'], ['', Buffer.from([0x4c, 0x6f, 0xa7, 0x94])],
  ] as const) assert.equal(inspectBody(Buffer.from(body), type, []).unread, true, `${type} ${body.toString()}`);
  for (const [type, body] of [
    [form, part('content-type: text/plain; charset=utf-8', 'x', '\n')], ['application/xml', '<?xml version="1.0" encoding="ISO-8859-1"?><a/>'], [json, '{"mass":5.972e24,"c":2.998e8,"a":6.02e-3,"v":"1e16.2"}'],
  ] as const) {
    assert.notEqual(inspectBody(Buffer.from(body), type, []).unread, true, body);
    assert.deepEqual(found(body, type), []);
  }
});

test('what is found can be taken out, and the body stays what it was', () => {
  assert.equal(without(`{"to":"x ${mail} y","n":[1.50,"${card}"]}`, json), '{"to":"x [redacted:email] y","n":[1.50,"[redacted:credit-card]"]}');
  assert.equal(without('{"q":"say \\"hi\\" to jane.roe\\u0040example.org"}', json), '{"q":"say \\"hi\\" to [redacted:email]"}');
  assert.equal(without(`{"pan":${bare}}`, json), '{"pan":"[redacted:credit-card]"}');
  assert.equal(without('a=1&to=jane.roe%40example.org&b=%2F', form), 'a=1&to=%5Bredacted%3Aemail%5D&b=%2F');
  assert.equal(without(`to ${mail}\n`, 'text/plain'), 'to [redacted:email]\n');
  const upload = (value: string): string => parts(`Content-Disposition: form-data; name="a"\r\n\r\n${value}`, 'Content-Disposition: form-data; name="b"\r\n\r\nkept');
  assert.equal(without(upload(mail), 'multipart/form-data; boundary=XyZ'), upload('[redacted:email]'));
  assert.equal(inspectBody(Buffer.from(`to ${mail}`, 'utf16le'), '', []).redacted(() => true)?.toString('utf16le'), 'to [redacted:email]');
  for (const whole of [`{"${mail}":1}`, `{"d":"${Buffer.from(`the address is ${mail}, and so on`).toString('base64')}"}`]) assert.equal(without(whole, json), undefined, 'what cannot be taken out says so');
});

test('any JSON: after redaction it is JSON of the same shape, and nothing is left to find', () => {
  const word = fc.constantFrom(mail, card, bare, 'plain', 'ключ', 'a"b\\c', 'DE89 3704 0044 0532 0130 00', '\u0001', '😀');
  const value = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, word, fc.integer(), fc.boolean(), fc.constant(null), fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(fc.constantFrom('a', 'b', 'c_d'), tie('value'), { maxKeys: 3 })),
  })).value;
  const shape = (one: unknown): unknown => (Array.isArray(one) ? one.map(shape) : typeof one === 'object' && one !== null ? Object.fromEntries(Object.entries(one).map(([key, inner]) => [key, shape(inner)])) : typeof one === 'string' ? '' : one);
  fc.assert(
    fc.property(value, (one) => {
      const text = JSON.stringify(one);
      const inspected = inspectBody(Buffer.from(text), json, []);
      const out = inspected.redacted(() => true)?.toString() ?? '';
      assert.deepEqual(shape(JSON.parse(out)), shape(one));
      assert.deepEqual(inspectBody(Buffer.from(out), json, []).found, []);
      if (inspected.found.length === 0) assert.equal(out, text);
    }),
    { numRuns: 500 },
  );
});

test('any bytes, any type: no throw, and places never hold what was found', () => {
  const types = ['', json, form, 'multipart/form-data; boundary=a', 'text/xml', 'text/plain; charset=utf-16', 'MULTIPART/mixed; boundary="a b"'];
  const piece = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('--a', '--a--', '\r\n\r\n', '{"', '":', '[', ']', '%40', '&', '=', '\\u', 'Content-Disposition: form-data; name="', mail, card, '&#64;', 'YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE='));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }).map((p) => p.join('')), fc.constantFrom(...types), (text, type) => {
      const inspected = inspectBody(Buffer.from(text), type, []);
      for (const { place } of inspected.found) assert.ok(!place.includes(mail) && !place.includes('4111'), place);
      inspected.redacted(() => true);
    }),
    { numRuns: 1500 },
  );
});

test('the URL and headers: decoded, and where a service expects a credential, a session is none', () => {
  const head = (target: string, headers: readonly string[] = []): string[] => inspectHead({ target, query: [...new URLSearchParams(target.split('?')[1] ?? '')], headers }, []).map((one) => `${one.type} in ${one.place}`);
  assert.deepEqual(head('/users/jane.roe%40example.org/x'), ['email in the path of the URL']);
  assert.deepEqual(head('/x?card=4111+1111+1111+1111'), ['credit-card in the query of the URL']);
  assert.deepEqual(head(`/x?d=${Buffer.from(`the address is ${mail}, and so on`).toString('base64url')}`), ['email in the query of the URL, in base64']);
  assert.deepEqual(head('/', ['X-Note', card]), ['credit-card in a header']);
  const confidence = (path: string, headers: readonly string[]): number[] => inspectHead({ target: path, query: [], headers }, []).map((one) => one.confidence);
  assert.deepEqual([confidence('/', ['X-Datadog-Trace-Id', bare]), confidence(`/api/tasks/${bare}`, []), confidence(`/${bare}`, []), confidence('/', ['X-Note', bare])], [[0.4], [0.4], [0.93], [0.93]]);
  assert.deepEqual(head('/', ['Authorization', 'Bearer ghp_16C7e42F292c6912E7710c838347Ae178B4a']), ['secret in a header']);
  assert.deepEqual(head('/', ['Cookie', `a=1; note=${encodeURIComponent(`\uff14${bare.slice(1)}`)}`]), ['credit-card in a header']);
  assert.deepEqual(head('/', ['Cookie', 'session=0a1b2c3d4e5f60718293a4b5c6d7e8f9', 'User-Agent', 'x/1.2.3.4']), []);
});

test('a value alone in base64 is found however short it is, wherever it stands; words that look like base64 are none', () => {
  const values = { 'credit-card': ['4111111111111111', '378282246310005', '4111 1111 1111 1111'], 'us-ssn': ['536-22-8145'], iban: ['DE89370400440532013000', 'NO9386011117947'], secret: ['AKIAIOSFODNN7EXAMPLE'], email: ['jane.roe@example.org'] };
  for (const [type, all] of Object.entries(values)) {
    for (const value of all) {
      for (const base64 of [Buffer.from(value).toString('base64'), Buffer.from(value).toString('base64url'), Buffer.from(value, 'utf16le').toString('base64')]) {
        const bodies: readonly (readonly [string, string])[] = [[JSON.stringify({ d: base64 }), json], [`a=1&d=${encodeURIComponent(base64)}&b=2`, form], [`it is ${base64}, he said`, 'text/plain'], [base64, '']];
        for (const [body, contentType] of bodies) {
          const found = inspectBody(Buffer.from(body), contentType, []).found;
          assert.deepEqual(found.map((one) => [one.type, one.place.endsWith('in base64')]), [[type, true]], `${body} ${contentType}`);
        }
        for (const head of [{ target: `/a/${encodeURIComponent(base64)}`, query: [], headers: [] }, { target: '/', query: [['q', base64]] as const, headers: [] }, { target: '/', query: [], headers: ['x-a', base64] }]) {
          assert.ok(inspectHead(head, []).some((one) => one.type === type), JSON.stringify(head));
        }
      }
    }
  }
  for (const word of ['internationalization', 'getElementsByClassName', 'ABCDEFabcdefABCDEFabcdef', 'eyJhbGciOiJIUzI1NiJ9', 'aaaaaaaaaaaaaaaaaaaaaaaa', '4bf92f35-77b3-4da6-a3ce-929d0e0e4736']) assert.deepEqual(inspectBody(Buffer.from(word), '', []).found, [], word);
});

test('a value in base64 is found behind a long line, or beside a long header, that looks like its beginning', () => {
  const card = Buffer.from('4111 1111 1111 1111').toString('base64');
  const digest = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const words = Buffer.from('so many words, and at the end of them stands a 9').toString('base64');
  for (const first of [digest, digest.slice(1), digest.slice(4), `${digest}a`, words.slice(0, -1)]) {
    for (const end of ['\n', '\r\n']) {
      for (const last of ['', `${end}${digest}`]) assert.deepEqual(inspectBody(Buffer.from(`${first}${end}${card}${last}`), 'text/plain', []).found.map(({ type }) => type), ['credit-card'], `${first}${end}${last}`);
    }
  }
  for (const first of [digest, digest.slice(1), words]) assert.deepEqual(inspectHead({ target: '/', query: [], headers: ['x-a', first, 'x-b', card, 'x-c', digest] }, []).map(({ type }) => type), ['credit-card'], first);
});

test('a value in base64 is found behind letters that do not belong to it', () => {
  const hidden = Buffer.from(`card ${card}`).toString('base64');
  for (const before of ['b', 'ab', 'abc', '4', '_', '/']) for (const body of [`${before}${hidden}`, JSON.stringify({ a: `${before}${hidden}` })]) assert.ok(found(body).some((one) => one.startsWith('credit-card')), body);
});

test('what stands in base64 is found however much of it stands before', () => {
  const before = `${Buffer.from(`${'z'.repeat(47)}\n`).toString('base64')} `.repeat(90_000);
  const { found } = inspectBody(Buffer.from(`${before}${Buffer.from('4111 1111 1111 1111').toString('base64')}`), 'text/plain', []);
  assert.deepEqual(found.map(({ type, place }) => [type, place]), [['credit-card', 'the body, in base64']]);
});

test('no header is left out: each class is found in each, but addresses and phone numbers where versions and lengths stand', () => {
  const classes = { secret: 'ghp_16C7e42F292c6912E7710c838347Ae178B4a', 'credit-card': '4111 1111 1111 1111', 'us-ssn': '536-22-8145', iban: 'DE89370400440532013000', email: 'jane.roe@example.org', phone: '+44 20 7946 0018', ip: '203.0.113.77' };
  const weak = new Set(['email', 'phone', 'ip']);
  const technical = ['user-agent', 'accept', 'accept-language', 'if-none-match', 'if-range', 'range', 'date', 'priority', 'tracestate', 'sec-ch-ua', 'cache-control', 'content-type'];
  for (const name of [...technical, 'sec-x', 'accept-x', 'if-x', 'x-y', 'sec-websocket-protocol', 'sec-fetch-mode', 'dnt']) {
    for (const [type, value] of Object.entries(classes)) {
      const found = inspectHead({ target: '/', query: [], headers: [name, `a, ${value}`] }, []).map((one) => one.type);
      assert.deepEqual(found, technical.includes(name) && weak.has(type) ? [] : [type], `${type} in ${name}`);
    }
  }
  for (const name of ['4111111111111111', '536-22-8145', 'DE89370400440532013000']) assert.equal(inspectHead({ target: '/', query: [], headers: [name, '1'] }, []).length, 1, name);
  const browser = ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.71 Safari/537.36', 'Sec-CH-UA-Full-Version', '"120.0.6099.71"', 'Accept', 'text/html,*/*;q=0.8', 'Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ==',
    'If-None-Match', 'W/"33a64df551425fcc55e4d42a148795d9f25f89d4"', 'Date', 'Sun, 06 Nov 1994 08:49:37 GMT', 'traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'Range', 'bytes=5551234567-5551235567', 'Content-Type', 'multipart/form-data; boundary=---------------------------9051914041544843365972754266'];
  for (let i = 0; i < 2; i += 1) assert.deepEqual(inspectHead({ target: '/', query: [], headers: browser }, []), []);
});

test('encodings are undone, stacked too, and bombs are stopped before they grow', () => {
  const body = Buffer.from('hello '.repeat(50));
  for (const [name, encode] of [['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync], ['deflate', deflateSync], ['deflate', deflateRawSync]] as const) {
    const done = undoEncodings(encode(body), name, 1e6);
    assert.ok(done.state === 'done' && done.body.equals(body), name);
  }
  const stacked = undoEncodings(brotliCompressSync(gzipSync(body)), 'gzip, br', 1e6);
  assert.ok(stacked.state === 'done' && stacked.body.equals(body));
  const large = Buffer.alloc(64 << 20);
  for (const [name, encode] of [['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync]] as const) {
    const before = process.memoryUsage().arrayBuffers;
    assert.equal(undoEncodings(encode(large), name, 256 << 20).state, 'bomb', name);
    assert.ok(process.memoryUsage().arrayBuffers - before < 48 << 20, 'the bomb did not go off');
  }
  assert.equal(undoEncodings(gzipSync(gzipSync(large)), 'gzip, gzip', 1 << 20).state, 'bomb');
  assert.equal(undoEncodings(body, 'gzip', 1e6).state, 'damaged');
  assert.equal(undoEncodings(Buffer.concat([deflateSync(body), Buffer.from('behind')]), 'deflate', 1e6).state, 'damaged');
  assert.equal(undoEncodings(body, 'lzma', 1e6).state, 'unknown');
  assert.equal(undoEncodings(body, 'gzip,gzip,gzip,gzip', 1e6).state, 'bomb');
});

test('a mebibyte full of findings, cut off, escaped, nested or in fields, is read in one go: no finding costs another look at all of it', { timeout: 240_000 }, () => {
  const rows = Array.from({ length: 17_000 }, (_, i) => `"user${i}@example.com, ${card}"`).join(',');
  const key = 'k'.repeat(60);
  // What costs a look each takes minutes here, and a way kept for each token takes gigabytes.
  const bodies: readonly (readonly [string, string, number])[] = [
    [`[${rows}`, json, 30_000], [`["\\u0041",${rows}]`, json, 30_000], [JSON.stringify({ a: rows }), json, 30_000],
    [`{"${key}":`.repeat(100) + `["\\u0041 ${card}"${',1'.repeat(450_000)}]${'}'.repeat(100)}`, json, 1],
    [Array.from({ length: 40_000 }, (_, i) => `f${i}=u${i}%40example.com`).join('&'), form, 30_000],
  ];
  for (const [text, type, least] of bodies) {
    const inspected = inspectBody(Buffer.from(text), type, []);
    assert.ok(inspected.found.length >= least, `${type} ${inspected.found.length}`);
    const rewritten = inspected.redacted(() => true);
    assert.equal(rewritten === undefined, text.startsWith(`[${rows}`) && !text.endsWith(']'));
    assert.ok(rewritten === undefined || inspectBody(rewritten, type, []).found.length === 0);
  }
  assert.ok(process.memoryUsage().rss < 2 ** 31, `${process.memoryUsage().rss}`);
});
