/** Server-sent events: any cutting of the bytes gives the same events. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseEvents } from './events.ts';

const text =
  ': hello\n\nid: 5\nevent: audit\ndata: {"message":"Grüße €"}\n\nid: 6\r\ndata: {"sequence":6,\r\ndata: "event":{"message":"two"}}\r\n\r\ndata: {"message":"no id"}\n\nid: 9\ndata: {"cut":true}';
const bytes = Buffer.from(text);

async function parsed(cuts: readonly number[]): Promise<unknown[]> {
  const places = [0, ...[...new Set(cuts)].sort((a, b) => a - b), bytes.length];
  async function* chunks(): AsyncGenerator<Buffer> {
    for (let i = 1; i < places.length; i += 1) yield bytes.subarray(places[i - 1], places[i]);
  }
  const found: unknown[] = [];
  for await (const view of parseEvents(chunks())) found.push(view);
  return found;
}

test('events are read whole, and an unfinished one is not shown', async () => {
  assert.deepEqual(await parsed([]), [
    { sequence: 5, event: { message: 'Grüße €' } },
    { sequence: 6, event: { message: 'two' } },
    { sequence: 6, event: { message: 'no id' } },
  ]);
});

test('however the bytes are cut', async () => {
  const whole = await parsed([]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 40 }), async (cuts) => {
      assert.deepEqual(await parsed(cuts), whole);
    }),
    { numRuns: 300 },
  );
});
