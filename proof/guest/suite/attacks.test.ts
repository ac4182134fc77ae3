/** Both tables of attacks on local things (proof/attacks), whole, in tier A: none works, judged by what the world shows; and what must keep working there. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createSandbox } from '@nemoclaw/openshell';
import { controlList } from '../../attacks/controls.ts';
import { attempts } from '../../attacks/more/index.ts';
import { attacks } from '../../attacks/table.ts';
import { World } from '../../attacks/world.ts';
import { isPlain, Lane, policyWith, type Entry } from './attack-lane.ts';
import { programs } from './kept.ts';

/** What a table says of tier A: where nothing else is said, what stops it in tier B stops it there. None is admitted to work. */
const smaller: readonly Entry[] = attacks.map((one) => ({ ...one, ends: one.stops.includes('protect'), ofProject: false }));
const larger: readonly Entry[] = attempts.map((one) => ({ ...one, ends: (one.byIn?.A ?? one.by).includes('release'), ofProject: true }));
/** Side by side: much of an attempt's time is waiting. */
const lanes = 3;
/** In one sandbox at most: if one of them ends it the others go on in another. */
const atOnce = 60;

type Job = (lane: Lane) => Promise<void>;

function jobs(list: readonly Entry[]): Job[] {
  const plain = list.filter(isPlain), others = list.filter((one) => !isPlain(one));
  const batches: Job[] = [];
  for (let at = 0; at < plain.length; at += atOnce) batches.push((lane) => lane.batch(plain.slice(at, at + atOnce)));
  const withPrograms = new Set(others.map(({ spec }) => spec).filter((spec) => spec?.includes('exec: {')));
  const groups = [...withPrograms].map((spec): Job => (lane) => lane.inTurn(others.filter((one) => one.spec === spec)));
  const alone = others.filter(({ spec, ends }) => !withPrograms.has(spec) && !ends).map((one): Job => (lane) => lane.alone(one));
  const ending = others.filter(({ ends }) => ends);
  // What hostile names do to each other at the end is an attempt of its own in the larger table.
  const ends: Job[] = ending.some(({ ofProject }) => ofProject) ? ending.map((one) => (lane) => lane.alone(one)) : [(lane) => lane.toTheEnd(ending)];
  return [...batches, ...groups, ...alone, ...ends];
}

describe('the attacks, in tier A', { timeout: 2_400_000 }, () => {
  test('none of either table works', async (t) => {
    const queue = [...jobs(larger), ...jobs(smaller)];
    const worlds = Array.from({ length: lanes }, (_, i) => new World(join(programs, 'tries'), 0x7a100000 + i));
    const made = worlds.map((world) => new Lane(world));
    try {
      for (const world of worlds) await world.open();
      await Promise.all(
        made.map(async (lane) => {
          for (let job = queue.shift(); job !== undefined; job = queue.shift()) await job(lane);
        }),
      );
    } finally {
      for (const world of worlds) await world.close();
    }
    const won = made.flatMap((lane) => lane.won);
    for (const one of won) console.log(`# WORKED: ${one}`);
    assert.deepEqual(won, []);
    const tried = made.reduce((sum, lane) => sum + lane.tried, 0);
    assert.equal(tried, smaller.length + larger.length);
    t.diagnostic(`${smaller.length} of the smaller and ${larger.length} of the larger table tried`);
  });

  test('what must work works', async () => {
    const folder = mkdtempSync('/tmp/controls-');
    mkdirSync(join(folder, 'vault'));
    for (const path of ['', 'vault']) chownSync(join(folder, path), 1000, 1000);
    const sandbox = await createSandbox(policyWith(undefined), { workspace: folder });
    const wrong: string[] = [];
    try {
      for (const { title, command, code, out, left } of controlList) {
        const end = await (await sandbox.exec(command)).output();
        const file = left && join(folder, left[0]);
        const good = out.test(end.stdout.trim()) && (code === 137 ? end.signal === 'SIGKILL' || end.code === 137 : end.code === (code ?? 0)) && (left === undefined || (file !== undefined && existsSync(file) && left[1].test(readFileSync(file, 'utf8'))));
        if (!good) wrong.push(`${title}: ${end.code ?? end.signal} ${end.stdout}${end.stderr}`);
      }
      assert.deepEqual(wrong, []);
    } finally {
      await sandbox.destroy();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
