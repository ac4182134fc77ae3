/** What a client begins with is told from its bytes, wherever they are cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstWords } from './first-words.ts';

const rows: readonly (readonly [string, ReturnType<typeof firstWords>])[] = [
  ['\x16\x03\x01', 'tls'], ['\x16', 'tls'],
  ['GET / HTTP/1.1\r\n', 'http'], ['POST /x', 'http'], ['\r\n\r\nPOST /x HTTP/1.1\r\n', 'http'], [' \tGET /x HTTP/1.0\n', 'http'], ['get / http/1.1\r\n', 'http'], ['FOO / HTTP/1.1\r\n', 'http'], ['!a /x\tHTTP/1.1\n', 'http'], ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http'], ['CONNECT a.test:443 HTTP/1.1\r\n', 'http'],
  ['', 'more'], ['\r\n', 'more'], ['P', 'more'], ['POST', 'more'], ['FOO /x HTTP/', 'more'], ['PRI * HT', 'more'], ['EHLO a.test', 'more'], ['FOO /\xe4 x', 'more'],
  ['EHLO a.test\r\n', 'other'], ['SSH-2.0-OpenSSH_9.6\r\n', 'other'], ['CONNECT {"verbose":false}\r\n', 'other'], ['CONNECT {', 'other'], ['a1 LOGIN u p\r\n', 'other'], ['USER u\r\n', 'other'], ['*1\r\n$4\r\nPING\r\n', 'other'], ['\x10\x1a\0\x04MQTT', 'other'], ['AMQP\0\0\x09\x01', 'other'], ['\0\0\0\x08\x04\xd2\x16\x2f', 'other'], ['\xfe\x01', 'other'], ['123 <34>1 no line ends here', 'other'], ['@RSYNCD: 31.0\n', 'other'], ['example.com\r\n', 'other'],
];

test('TLS, HTTP in any spelling that a careless server takes, and what is neither', () => {
  for (const [text, expected] of rows) assert.equal(firstWords(Buffer.from(text, 'latin1')), expected, JSON.stringify(text));
});

test('a request of HTTP is nothing else at any length, and what has ended is not waited for', () => {
  for (const [text] of rows.filter(([, kind]) => kind === 'http')) {
    for (let length = 1; length < text.length; length += 1) assert.notEqual(firstWords(Buffer.from(text.slice(0, length), 'latin1')), 'other', JSON.stringify(text.slice(0, length)));
  }
  assert.deepEqual(['', 'POST', 'question', 'FOO / HTTP/1.1', 'GET /x'].map((text) => firstWords(Buffer.from(text), true)), ['other', 'other', 'other', 'http', 'http']);
  assert.equal(firstWords(Buffer.from(`A /${'a'.repeat(20_000)}`)), 'http', 'a line without an end is for who refuses it');
});
