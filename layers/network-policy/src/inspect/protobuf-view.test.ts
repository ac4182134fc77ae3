/** A protobuf message without its schema: every text and long number of it, whatever it is nested in; whatever the bytes, what comes out is bounded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { messageText } from './protobuf-view.ts';
import { field, number, varint } from '../testing/testing-protobuf.ts';

const lines = (bytes: Buffer): string[] => messageText(bytes).split('\n');
const has = (bytes: Buffer, ...values: readonly string[]): void => {
  for (const value of values) assert.ok(lines(bytes).includes(value), `${value} in ${JSON.stringify(messageText(bytes))}`);
};

test('texts stand by themselves, whatever letters tags and lengths look like', () => {
  // A length of 48 is the digit 0, the tag of field 6 the digit 2.
  const long = 'CUST-48-20931 and what is said of it in fifty char';
  has(Buffer.concat([field(1, long.slice(0, 48)), field(6, 'CUST-48-20931'), field(6, 'Jörg Müller, Straße€')]), long.slice(0, 48), 'CUST-48-20931', 'Jörg Müller, Straße€');
});

test('messages in messages, groups, numbers, packed or not; a field of bytes that are neither', () => {
  const inner = field(3, Buffer.concat([field(1, 'CUST-48-20931'), number(2, 48209317n)]));
  has(field(9, field(8, field(7, inner))), 'CUST-48-20931', '48209317');
  has(Buffer.concat([varint(0x0bn), field(1, 'CUST-48-20931'), varint(0x0cn), field(2, 'behind it')]), 'CUST-48-20931', 'behind it');
  has(Buffer.concat([number(1, 48209317n), number(2, -48209317n), number(3, 2n ** 63n - 1n)]), '48209317', '-48209317', '9223372036854775807');
  const fixed = Buffer.alloc(9, 0x21);
  fixed.writeBigUInt64LE(48209317n, 1);
  has(Buffer.concat([fixed, Buffer.from([0x25, 1, 2, 3, 4]), field(5, 'the last')]), '48209317', 'the last');
  has(field(4, Buffer.concat([1n, 48209317n, 300n, 77123456n].map(varint))), '48209317', '77123456');
  has(field(9, Buffer.concat([77123456n, 300n].map(varint))), '77123456');
  has(field(2, Buffer.concat([Buffer.from([0xff, 0x00]), Buffer.from(' CUST-48-20931 '), Buffer.from([0xfe])])), '\ufffd\u0000 CUST-48-20931 \ufffd');
  const double = Buffer.alloc(9, 0x09);
  double.writeDoubleLE(48209317.5, 1);
  assert.equal(messageText(double), '', 'a double is no number that anybody would know again');
});

test('what is no message is text; what could be both is read as both', () => {
  for (const text of ['plain text', '{"a":"CUST-48-20931"}', 'CUST-48-20931']) for (const bytes of [Buffer.from(text), field(1, text)]) has(bytes, text);
  // Field 6 with 48 characters is text as well as a message.
  const both = field(6, 'CUST-48-20931'.padEnd(48, ' '));
  has(field(1, both), both.toString(), 'CUST-48-20931'.padEnd(48, ' '));
  const cut = Buffer.concat([field(1, 'CUST-48-20931'), Buffer.from([0x12, 200])]);
  assert.match(messageText(cut), /CUST-48-20931/);
});

test('whatever the bytes, and however deep: bounded, and every byte that is text is there', () => {
  const node: fc.Arbitrary<Buffer> = fc.letrec<{ node: Buffer }>((tie) => ({
    node: fc.oneof({ depthSize: 'small' }, fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)), fc.string({ maxLength: 40 }).map((text) => Buffer.from(text)), fc.array(tie('node'), { maxLength: 4 }).map((all) => Buffer.concat(all.map((one, i) => field(i + 1, one))))),
  })).node;
  fc.assert(fc.property(node, (bytes) => {
    // A varint of 3 bytes has up to 7 digits, and a line.
    assert.ok(messageText(bytes).length <= 4 * bytes.length);
    assert.ok(messageText(field(1, Buffer.concat([field(15, 'CUST-48-20931'), field(6, bytes)]))).split('\n').includes('CUST-48-20931'));
  }), { seed: 7, numRuns: 500 });
  let deep: Buffer = Buffer.from('CUST-48-20931');
  for (let i = 0; i < 5000; i += 1) deep = field(1, deep);
  assert.ok(messageText(deep).length < 3 * deep.length);
  for (const many of [Buffer.alloc(1 << 20, Buffer.from([0x0a, 0x00])), Buffer.alloc(1 << 20, Buffer.from([0x08, 0xff, 0xff, 0x7f])), Buffer.alloc(1 << 20, 0xff), Buffer.alloc(1 << 20, Buffer.from([0xff, 0xff, 0x7f])), Buffer.alloc(1 << 20, 0x0b)]) assert.ok(messageText(many).length <= 3 * many.length);
});
