/** Reading a large record: every page follows the one before, from memory and from the files, and the last one is not missed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LedgerReader, type TailQuery } from './reader.ts';
import type { RecentRecord } from './recent.ts';
import { bench, event, type Bench } from './test-kit.ts';
import type { LedgerWriter } from './writer.ts';

const events = 30_000;
/** Of many sizes, so that pages by length end anywhere. */
const padding = (i: number): string => 'x'.repeat((i * 7919) % 1500);
const name = (i: number): string => `e${i} ${padding(i)}`;
const sandboxOf = (i: number): string => (i % 1000 === 999 ? 'rare' : 'sbx_1');

let b: Bench;
let writer: LedgerWriter;
let reader: LedgerReader;

before(async () => {
  b = bench();
  const first = await b.open({ segmentSize: 6 * 1024 * 1024 });
  await new Promise<void>((resolve) => {
    const handle = first.connect('worker:1', (seq) => {
      if (seq < events) return;
      handle.close();
      resolve();
    });
    for (let i = 0; i < events; i += 1) handle.receive(i + 1, event(name(i), { sandbox: sandboxOf(i) }), false);
  });
  await first.close();
  // After a restart only the last segment is in memory.
  writer = await b.open({ segmentSize: 6 * 1024 * 1024 });
  reader = new LedgerReader(writer);
});
after(async () => {
  await writer.close();
  b.remove();
});

/** All pages from `from` on, until an empty one. */
async function pages(from: number, query: Omit<TailQuery, 'after'>): Promise<RecentRecord[][]> {
  const out: RecentRecord[][] = [];
  for (let at = from; ; ) {
    const page = await reader.tail({ ...query, after: at });
    const last = page.at(-1);
    if (last === undefined) return out;
    out.push(page);
    at = last.sequence;
  }
}
const told = (records: readonly RecentRecord[]): number[] =>
  records.flatMap(({ line }) => {
    const found = /^e(\d+) /.exec((JSON.parse(line) as { message: string }).message);
    return found === null ? [] : [Number(found[1])];
  });
const all = Array.from({ length: events }, (_, i) => i);

test('30,000 events come whole, once and in order, however long a page is', async () => {
  assert.ok(writer.recent.first > 1000, 'most of it is in files only');
  assert.ok(b.files().length > 4, `${b.files().length} segments`);
  for (const query of [{ limit: 1000 }, { limit: 1000, characters: 1024 * 1024 }, { limit: 10_000, characters: 300_000 }]) {
    const found = await pages(0, query);
    assert.deepEqual(told(found.flat()), all, JSON.stringify(query));
    const sequences = found.flat().map(({ sequence }) => sequence);
    assert.deepEqual(sequences, Array.from({ length: sequences.length }, (_, i) => i + 1));
  }
});

test('a page keeps to its length, and has one record in any case', async () => {
  const found = await pages(0, { limit: 10_000, characters: 100_000 });
  assert.ok(found.every((page) => page.length === 1 || page.reduce((sum, { line }) => sum + line.length, 0) <= 100_000));
  const tiny = await reader.tail({ after: 10, limit: 10, characters: 1 });
  assert.deepEqual(tiny.map(({ sequence }) => sequence), [11]);
  assert.deepEqual(await reader.tail({ after: 10, limit: 0 }), []);
});

test('readers who page at the same time do not disturb each other', async () => {
  const starts = Array.from({ length: 5 }, (_, i) => i * 5000);
  const found = await Promise.all(starts.map((start) => pages(start, { limit: 900, characters: 500_000 })));
  const whole = (await pages(0, { limit: 10_000 })).flat().map(({ sequence }) => sequence);
  found.forEach((one, i) => assert.deepEqual(one.flat().map(({ sequence }) => sequence), whole.slice(starts[i]), String(i)));
});

test('one sandbox’s events are found wherever they lie, and the newest of all', async () => {
  const rare = all.filter((i) => sandboxOf(i) === 'rare');
  assert.deepEqual(told((await pages(0, { sandbox: 'rare', limit: 7 })).flat()), rare);
  assert.deepEqual(told(await reader.tail({ sandbox: 'rare', after: -1, limit: 25 })), rare.slice(-25));
  assert.deepEqual(told(await reader.tail({ sandbox: 'rare', after: -1, limit: 1000 })), rare);
  const newest = await reader.tail({ after: -1, limit: 9000, characters: 200_000 });
  assert.equal(newest.at(-1)?.sequence, writer.durable);
  assert.ok(newest.length > 50 && newest.reduce((sum, { line }) => sum + line.length, 0) <= 200_000);
});
