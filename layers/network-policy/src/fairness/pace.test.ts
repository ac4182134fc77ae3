/** Turns of the sandboxes that share one thread: by a clock that is set by hand, and what is not done when nobody waits for it any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '@nemoclaw/contract';
import { Pace } from './pace.ts';

class HandClock implements Clock {
  ms = 1000;
  /** Of it, what this thread had the processor for. */
  busy = 0;
  work(ms: number): void {
    this.ms += ms;
    this.busy += ms;
  }
  now(): number {
    return this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((next) => setTimeout(next, 2));
}

test('a sandbox that is alone never waits, however much it does', () => {
  const clock = new HandClock();
  const alone = new Pace(clock, () => clock.busy);
  let done = 0;
  for (let i = 0; i < 1000; i += 1) assert.ok(alone.run(() => { clock.work(5); done += 1; }));
  assert.deepEqual([done, alone.waited], [1000, 0]);
  alone.close();
});

test('beside another one a sandbox rests when it has used its credit; the other one does not, and what waits comes in its order', async () => {
  const clock = new HandClock();
  const [greedy, modest] = [new Pace(clock, () => clock.busy), new Pace(clock, () => clock.busy)];
  const order: number[] = [];
  modest.run(() => undefined);
  greedy.run(() => { clock.work(100); });
  modest.run(() => undefined);
  assert.ok(greedy.rests && !modest.rests);
  for (let i = 0; i < 20; i += 1) greedy.run(() => { order.push(i); clock.ms += 1; });
  assert.deepEqual([order.length, greedy.waited, modest.waited], [0, 20, 0]);
  const pushing = setInterval(() => {
    clock.ms += 20;
    modest.run(() => undefined);
  }, 1);
  await until(() => order.length === 20);
  clearInterval(pushing);
  assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => i));
  assert.equal(modest.waited, 0);
  // The other one has gone quiet: nothing is held back any more.
  clock.ms += 1000;
  assert.equal(greedy.rests, false);
  greedy.close();
  modest.close();
});

test('so much waits and no more; a task that throws is its own matter; closed, nothing is done', async () => {
  const clock = new HandClock();
  const [greedy, modest] = [new Pace(clock, () => clock.busy), new Pace(clock, () => clock.busy)];
  modest.run(() => undefined);
  greedy.run(() => { clock.work(100); });
  let done = 0;
  greedy.run(() => { throw new Error('this one only'); });
  for (let i = 1; i < 4096; i += 1) assert.ok(greedy.run(() => { done += 1; }));
  assert.equal(greedy.run(() => { done += 1; }), false);
  assert.equal(greedy.refused, 1);
  clock.ms += 1000;
  await until(() => done === 4095);
  modest.run(() => undefined);
  greedy.run(() => { clock.work(100); });
  greedy.run(() => { done += 1; });
  greedy.close();
  modest.close();
  clock.ms += 1000;
  await new Promise((next) => setTimeout(next, 5));
  assert.equal(done, 4095);
});

test('beside hundreds that work, one slow task keeps its sandbox waiting for two seconds and no more', () => {
  const clock = new HandClock();
  const [slow, ...others] = Array.from({ length: 500 }, () => new Pace(clock, () => clock.busy));
  const all = (): void => others.forEach((one) => one.run(() => undefined));
  all();
  slow?.run(() => { clock.work(100); });
  let rested = 0;
  for (; rested < 10_000; rested += 100) {
    all();
    if (slow?.rests === false) break;
    clock.ms += 100;
  }
  assert.ok(rested >= 1000 && rested <= 2200, `${rested} ms`);
  for (const one of [slow, ...others]) one?.close();
});

test('time in which the machine did something else is nobody\'s', () => {
  const clock = new HandClock();
  let thread = 0;
  const [busy, other] = [new Pace(clock, () => thread), new Pace(clock, () => thread)];
  other.run(() => undefined);
  busy.run(() => { clock.ms += 100; thread += 1; });
  other.run(() => undefined);
  assert.equal(busy.rests, false);
  busy.run(() => { clock.ms += 100; thread += 90; });
  other.run(() => undefined);
  assert.equal(busy.rests, true);
  busy.close();
  other.close();
});

test('in one turn of the loop a sandbox does so much and no more while others work; what is left comes in the next ones', async () => {
  const clock = new HandClock();
  const [greedy, modest] = [new Pace(clock, () => clock.busy), new Pace(clock, () => clock.busy)];
  modest.run(() => undefined);
  clock.ms += 50;
  modest.run(() => undefined);
  let done = 0;
  for (let i = 0; i < 12; i += 1) {
    greedy.run(() => {
      clock.work(1);
      // The time that passes gives credit for all of them: what is looked at is the turn alone.
      clock.ms += 9;
      done += 1;
      modest.measure(() => undefined);
    });
  }
  assert.equal(done, 2);
  const inOne: number[] = [];
  while (done < 12) {
    const before = done;
    await new Promise((next) => setImmediate(next));
    inOne.push(done - before);
  }
  assert.ok(inOne.every((count) => count <= 2), inOne.join());
  greedy.close();
  modest.close();
});
