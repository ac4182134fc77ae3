/** Answers that nobody reads: how many may stand still, who waits for them, and who gives way. On a clock that is set by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stalled } from './stalled.ts';

class Answers {
  ms = 0;
  readonly stalled = new Stalled(() => this.ms);
  readonly ended: number[] = [];

  begin(count: number): { giveWay(): void }[] {
    return Array.from({ length: count }, (_, i) => {
      const one = { giveWay: () => void this.ended.push(i) };
      this.stalled.begin(one);
      return one;
    });
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((next) => setTimeout(next, 2));
}

test('many answers that stop for a moment keep nobody waiting; those that stand still do, until one goes on', () => {
  const answers = new Answers();
  const all = answers.begin(90);
  let asked = 0;
  answers.stalled.whenFewer(() => { asked += 1; });
  assert.deepEqual([asked, answers.stalled.full], [1, false]);
  answers.ms = 2000;
  answers.stalled.whenFewer(() => { asked += 1; });
  assert.deepEqual([asked, answers.stalled.full], [1, true]);
  for (const one of all.slice(0, 26)) answers.stalled.end(one);
  assert.equal(asked, 1);
  for (const one of all.slice(26, 27)) answers.stalled.end(one);
  assert.deepEqual([asked, answers.stalled.full], [2, false]);
  answers.stalled.close();
});

test('more than so many at once are too many, however short', () => {
  const answers = new Answers();
  answers.begin(95);
  assert.equal(answers.stalled.full, false);
  answers.begin(1);
  assert.equal(answers.stalled.full, true);
  answers.stalled.close();
});

test('where others wait for too long, the ones that have stood still longest give way, no more than there are waiting', async () => {
  const answers = new Answers();
  answers.begin(70);
  answers.ms = 2000;
  let asked = 0;
  for (let i = 0; i < 10; i += 1) answers.stalled.whenFewer(() => { asked += 1; });
  assert.deepEqual([asked, answers.ended], [0, []]);
  answers.ms = 30_000;
  // The timer was set for the patience that was left by that clock.
  answers.stalled.tick();
  await until(() => asked === 10);
  assert.deepEqual(answers.ended, Array.from({ length: 10 }, (_, i) => i));
  answers.stalled.close();
});

test('who has left is forgotten: nothing of what waited is kept', () => {
  const answers = new Answers();
  const [first] = answers.begin(64);
  answers.ms = 2000;
  let asked = 0;
  const forget = Array.from({ length: 1000 }, () => answers.stalled.whenFewer(() => { asked += 1; }));
  assert.equal(answers.stalled.waiting, 1000);
  for (const one of forget.slice(1)) one?.();
  assert.equal(answers.stalled.waiting, 1);
  assert.ok(first);
  answers.stalled.end(first);
  assert.deepEqual([asked, answers.stalled.waiting], [1, 0]);
  assert.equal(answers.stalled.whenFewer(() => { asked += 1; }), undefined, 'what is done at once is not kept');
  answers.stalled.close();
});

test('a task that throws is its own matter; closed, nothing is done', () => {
  const answers = new Answers();
  const [first] = answers.begin(64);
  answers.ms = 2000;
  let asked = 0;
  answers.stalled.whenFewer(() => { throw new Error('this one only'); });
  answers.stalled.whenFewer(() => { asked += 1; });
  assert.ok(first);
  answers.stalled.end(first);
  assert.equal(asked, 1);
  answers.begin(1);
  answers.ms = 4000;
  answers.stalled.whenFewer(() => { asked += 1; });
  answers.stalled.close();
  answers.stalled.end(first);
  assert.equal(asked, 1);
});
