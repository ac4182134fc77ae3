/** Pieces that are kept until they are whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pieces } from './pieces.ts';

test('whatever the pieces, the whole is what came; countless small ones are few when they are kept', () => {
  const pieces = new Pieces();
  const came: Buffer[] = [];
  for (let i = 0; i < 3000; i += 1) {
    const piece = Buffer.alloc([1, 0, 7, 4095, 4096, 20_000][(i * 31) % 6] ?? 1, i);
    came.push(piece);
    pieces.add(piece);
  }
  assert.equal(pieces.size, Buffer.concat(came).length);
  assert.ok(pieces.whole().equals(Buffer.concat(came)));
  pieces.add(Buffer.from('more'));
  assert.ok(Buffer.concat(pieces.take()).equals(Buffer.concat([...came, Buffer.from('more')])));
  assert.deepEqual([pieces.size, pieces.whole().length, pieces.take()], [0, 0, []]);
  const byte = Buffer.from('x');
  for (let i = 0; i < 100_000; i += 1) pieces.add(byte);
  assert.equal(pieces.whole().length, 100_000);
  assert.ok(pieces.take().length < 10);
});
