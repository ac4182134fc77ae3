/** Like events of connections that nothing was decided on: the first few at once, the rest as one with their number, and none is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LedgerEvent } from '@nemoclaw/contract';
import { connectionRecord } from '../records.ts';
import { Folded } from './folded.ts';
import { testClock } from '../testing/testing-egress.ts';

const events: LedgerEvent[] = [];
const audit = { emit: (event: LedgerEvent) => void events.push(event), commit: async () => undefined };
const silent = (name: string, time: number): LedgerEvent => connectionRecord({ sandbox: 's', time, correlation: `c${time}` }, { name, port: 443, tls: false }, 'deny', 'nothing was sent in time');
const countOf = (event: LedgerEvent): number => Number(event.data?.['count'] ?? 1);

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((next) => setTimeout(next, 5));
}

test('a flood of one kind becomes the first few events and a sum with first and last time; another kind is not mixed with it', async () => {
  events.length = 0;
  const folded = new Folded(audit, { now: () => 99_000, monotonic: testClock.monotonic });
  for (let i = 0; i < 10_000; i += 1) folded.emit('silent', 'a.test:443', silent('a.test', i));
  folded.emit('late', 'a.test:443', silent('a.test', 10_000));
  folded.emit('silent', 'b.test:443', silent('b.test', 10_001));
  assert.deepEqual(events.map(({ time }) => time), [0, 1, 2, 3, 4, 5, 6, 7, 10_000, 10_001]);
  await until(() => events.length > 10);
  assert.equal(events.length, 11);
  const sum = events.at(-1);
  assert.deepEqual(sum?.data, { host: 'a.test', port: 443, count: 9992, first: 8, last: 99_000 });
  assert.equal(sum?.message, 'connection to a.test:443: nothing was sent in time (9992 such connections)');
  folded.close();
  assert.equal(events.length, 11);
});

test('whatever number of places: few events, every connection counted, also what was gathered when it ends', () => {
  events.length = 0;
  const folded = new Folded(audit, testClock);
  for (let i = 0; i < 50_000; i += 1) folded.emit('silent', `h${i % 700}.test:443`, silent(`h${i % 700}.test`, i));
  assert.ok(events.length <= 72 * 8, `${events.length}`);
  folded.close();
  assert.ok(events.length <= 72 * 9, `${events.length}`);
  assert.equal(events.reduce((sum, event) => sum + countOf(event), 0), 50_000);
  assert.ok(events.some(({ message }) => message.startsWith('connections to several places: nothing was sent in time (')));
});
