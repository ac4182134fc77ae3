/** The memory is of one size: what is newest stays, what had to go is counted and on record. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wholeCharacters } from '../inspect/read-text.ts';
import { hashesOf, Memory, taintedIn } from './memory.ts';
import { piecesOf, valuesIn } from './pieces.ts';
import { carriesTainted, hashesIn, maskTainted } from './taint.ts';

const key = 'k'.repeat(64);

test('of more values than there is room for the newest stay, the others are counted, and no value is kept', () => {
  const memory = new Memory(key);
  const sought = memory.sought();
  const bytes = sought.slots.byteLength;
  const value = (i: number): string => `value-${i}-x`;
  for (let round = 0; round < 16; round += 1) memory.add(hashesOf(key, Array.from({ length: 10_000 }, (_, i) => value(round * 10_000 + i))), 'confidential');
  assert.ok(memory.forgotten > 160_000 - 131_073 && memory.forgotten < 80_000, String(memory.forgotten));
  assert.equal(memory.sought().slots.byteLength, bytes);
  for (let i = 159_900; i < 160_000; i += 1) assert.equal(taintedIn(`a ${value(i)} b`, sought).length, 1);
  assert.ok(!Buffer.from(sought.slots.buffer).includes('value-'));
  assert.deepEqual(taintedIn(`a ${value(159_999)} b`, { ...sought, key: 'j'.repeat(64) }), [], 'under another key nothing is known');
});

test('a label is the lower of two, whichever came first', () => {
  for (const levels of [['restricted', 'confidential'], ['confidential', 'restricted']] as const) {
    const memory = new Memory(key);
    for (const level of levels) memory.add(hashesOf(key, ['CUST-48-20931']), level);
    assert.equal(memory.forgotten, 0);
    assert.equal(taintedIn('CUST-48-20931', memory.sought()).length, 1);
    assert.equal(taintedIn('CUST-48-20931', memory.sought('restricted')).length, 0);
  }
});

test('pieces are whole values and telling words, and cost no more than the text is long', () => {
  const pieces = (text: string): string[] => [...piecesOf(text)].map(({ start, end }) => text.slice(start, end));
  assert.deepEqual(pieces('{"a":"CUST-48-20931","b":true,"c":100000,"d":"2026-01-02","e":"application","f":123456}'), ['CUST-48-20931', '123456']);
  assert.deepEqual([...new Set(valuesIn('{"line_1_text":"Jane Public, Elm Street","x":{"line_2_text":["4111 1111 1111 1111"]}}'))].toSorted(), ['4111 1111 1111 1111', 'Jane Public, Elm Street']);
  // The square of a MiB would take hours.
  for (const hostile of [`a${'!'.repeat(1 << 20)}b`, `a${'-'.repeat(1 << 20)}!`, '"'.repeat(1 << 20), `"${' '.repeat(1 << 20)}`]) assert.equal([...valuesIn(hostile)].length, 0);
});

test('a sentence behind a date tells something, a date and a time do not', () => {
  const pieces = (text: string): string[] => [...piecesOf(text)].map(({ start, end }) => text.slice(start, end));
  assert.ok(pieces('"2026-03-04 Jane Public, Elm Street"').includes('2026-03-04 Jane Public, Elm Street'));
  for (const time of ['2026-03-04', '20260304', '2026-03-04T10:00:00.123Z', '2026-03-04 10:00:00+02:00']) assert.deepEqual(pieces(`"${time}"`).filter((piece) => piece.startsWith('2026')), [], time);
});

test('a piece of a stream is remembered however it is cut inside its characters, and known in a header of UTF-8', () => {
  const value = 'Jörg Müller, Straße€😀 am Fluss';
  const bytes = Buffer.from(`${value}\n"${value}"\n${value}`);
  for (let from = 0; from < 3; from += 1) {
    for (let to = bytes.length - 12; to <= bytes.length; to += 1) {
      const memory = new Memory(key);
      memory.add(hashesIn(wholeCharacters(Buffer.concat([Buffer.from('€\n').subarray(from), bytes.subarray(0, to)])), '', key), 'confidential');
      const sought = memory.sought();
      assert.equal(taintedIn(value, sought).length, 1, `${from} ${to}`);
      assert.ok(carriesTainted(Buffer.from(value).toString('latin1'), sought));
      assert.equal(maskTainted(`/of/${encodeURIComponent(value)}/x`, sought), '/of/[redacted:tainted]/x');
    }
  }
  for (const short of ['', 'a', '€', 'é']) for (let cut = 0; cut <= Buffer.from(short).length; cut += 1) assert.ok(short.startsWith(wholeCharacters(Buffer.from(short).subarray(0, cut)).toString()));
});
