/** Rates between two looks, classes of calls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callClass, ratesBetween, topRows, totalOf, type SeenView } from './seen.ts';

const view = (at: number, counts: NonNullable<SeenView['report']>['counts'], withheld = 0): SeenView => ({ sandbox: 'a', at, report: { counts, ended: 0, withheld, ringFull: 0 }, why: '', waiting: 2 });

test('rates are differences by time, busiest call first, and what did not happen is left out', () => {
  const [rate] = ratesBetween([view(1000, { openat: [10, 1, 0, 0, 0, 0, 0], kill: [5, 0, 0, 0, 0, 0, 0] }, 1)], [view(3000, { openat: [30, 1, 2, 0, 0, 0, 0], kill: [5, 0, 0, 0, 0, 0, 0], unlink: [0, 0, 0, 0, 0, 100, 0] }, 4)]);
  assert.deepEqual(rate?.calls.map((one) => one.call), ['unlink', 'openat']);
  assert.deepEqual(rate?.total, { done: 10, denied: 0, failed: 1, filtered: 0, interrupted: 0, heldDenied: 50, approved: 0 });
  assert.equal(rate?.notTold, 3);
});

test('the first look has no rates; counters that went back begin at 0', () => {
  assert.equal(ratesBetween([], [view(1000, { openat: [10, 0, 0, 0, 0, 0, 0] })])[0]?.calls.length, 0);
  assert.equal(ratesBetween([view(0, { openat: [10, 0, 0, 0, 0, 0, 0] })], [view(1000, { openat: [4, 0, 0, 0, 0, 0, 0] })])[0]?.total.done, 4);
});

test('rows: one for each sandbox, then its calls, each with as many cells as the heading', () => {
  const rates = ratesBetween([view(0, {})], [view(1000, { openat: [4, 0, 0, 0, 0, 0, 0], kill: [2, 0, 0, 0, 0, 0, 0] })]);
  const { heading, rows } = topRows(rates, 1);
  assert.deepEqual(rows.map((row) => row[1]), ['all calls', 'openat']);
  for (const row of rows) assert.equal(row.length, heading.length);
});

test('every call has a class', () => {
  const expected = { openat: 'file', renameat2: 'file', newfstatat: 'file', statx: 'file', close: 'file', lsetxattr: 'file', connect: 'network', recvfrom: 'network', kill: 'signal', rt_sigaction: 'signal', mmap: 'memory', execve: 'process', clone3: 'process', getpid: 'other', futex: 'other', call_999: 'other' };
  for (const [call, is] of Object.entries(expected)) assert.equal(callClass(call), is, call);
  assert.deepEqual(totalOf({ counts: { a: [1, 2, 3, 4, 5, 6, 7], b: [1, 1, 1, 1, 1, 1, 1] }, ended: 0, withheld: 0, ringFull: 0 }), [2, 3, 4, 5, 6, 7, 8]);
});
