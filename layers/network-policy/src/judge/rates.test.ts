/** What is left of a rate outlives the process that counted it: by a clock that is set by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RateLeft } from '@nemoclaw/contract';
import { Rates } from './rates.ts';

class Life {
  ms = 1_000_000;
  told: readonly RateLeft[] | undefined;
  readonly clock = { now: () => this.ms, monotonic: () => this.ms };

  /** A process that knows what the one before it told. */
  next(known = this.told): Rates {
    return new Rates(this.clock, { known, tell: (rates) => { this.told = rates; } });
  }
}

const hour = [3 / 3600, 3] as const;

test('a process that ends gives nothing back: the next one goes on with what was left, and refills it by the time between', () => {
  const life = new Life();
  const first = life.next([]);
  assert.deepEqual([1, 2, 3, 4].map(() => first.take('a', ...hour)), [true, true, true, false]);
  assert.equal(first.take('b', ...hour), true);
  // The first of several is told at once; the others are, a moment later.
  assert.equal(life.told?.length, 1);
  const second = life.next([{ key: 'a', left: 0, at: life.ms }, { key: 'b', left: 2, at: life.ms }]);
  assert.equal(second.take('a', ...hour), false);
  assert.deepEqual([1, 2, 3].map(() => second.take('b', ...hour)), [true, true, false]);
  assert.equal(second.take('never used', ...hour), true);
  life.ms += 1_200_000;
  assert.deepEqual([1, 2].map(() => life.next([{ key: 'a', left: 0, at: life.ms - 1_200_000 }]).take('a', ...hour)), [true, true]);
});

test('where nobody knows, every rate begins with nothing left and is refilled by time; so it is for the process after that, too', () => {
  const life = new Life();
  const unknown = new Rates(life.clock, { known: undefined, tell: (rates) => { life.told = rates; } });
  assert.equal(unknown.take('a', ...hour), false);
  life.ms += 1_200_000;
  assert.deepEqual([1, 2].map(() => unknown.take('b', ...hour)), [true, false]);
  const after = life.next();
  assert.deepEqual([1, 2].map(() => after.take('c', ...hour)), [true, false]);
  assert.equal(after.take('b', ...hour), false);
});

test('a clock that goes back refills nothing, and no state holds more than the rate', () => {
  const life = new Life();
  assert.equal(life.next([{ key: 'a', left: 0, at: life.ms + 9_999_999 }]).take('a', ...hour), false);
  const rich = life.next([{ key: 'a', left: 1e9, at: 0 }]);
  assert.deepEqual([1, 2, 3, 4].map(() => rich.take('a', ...hour)), [true, true, true, false]);
});

test('without anybody to keep it each begins full', () => {
  const life = new Life();
  const alone = new Rates(life.clock, undefined);
  assert.deepEqual([1, 2, 3, 4].map(() => alone.take('a', ...hour)), [true, true, true, false]);
});
