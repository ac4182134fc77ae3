/** For tests: the races of hostile threads against calls that are asked about, the same in tier B and in C, and how each is judged. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Calls of each way, at least. */
export const raceRounds = 3000;

/**
 * What is asked about below /workspace/prod, the program of ../native/tests, and the words of each of its races. The last word is the way:
 * `flip` the path, `swap` a link, `storm` of renames, `fd` for a descriptor that is redirected, `pass` for one that comes over a socket.
 */
export const races = [
  { on: 'delete, rename', program: 'race', ways: ['flip', 'swap', 'storm', 'fd', 'pass'] },
  {
    on: 'write, create',
    program: 'race-locks',
    ways: [
      ...['flip', 'swap', 'storm', 'fd', 'pass'].map((way) => `write ${way}`),
      ...['swap', 'storm', 'fd', 'pass'].map((way) => `create ${way}`),
      ...['truncate flip', 'truncate swap', 'chmod flip', 'chmod fd', 'utimes flip', 'utimes swap', 'mkdir swap', 'mkdir fd', 'symlink swap', 'link swap'],
    ],
  },
] as const;

/** The command of one race, in the workspace, which it leaves as it was. */
export const raceCommand = (program: string, way: string): string => `./${program} ${way} ${raceRounds}; rm -rf ok other link next; mkdir ok`;

/** Nothing was lost, in at least as many calls as were meant, some of which were done and some refused; `said`: what the program printed. */
export function assertRace(way: string, said: string): void {
  const counts = new Map([...said.matchAll(/(\w+)=(\d+)/g)].map((found) => [found[1], Number(found[2])]));
  const count = (name: string): number => counts.get(name) ?? Number.NaN;
  assert.equal(count('lost'), 0, `${way}: ${said}`);
  assert.ok(count('done') + count('refused') + count('other') >= raceRounds, `${way}: ${said}`);
  assert.ok(count('done') > 0, `${way}: nothing was ever done: ${said}`);
  assert.ok(count('refused') > 0, `${way}: what is asked about was never met: ${said}`);
}

/** Everything below a folder, as text: names, inodes, modes, owners, times, contents. */
export const pictureOf = (at: string): string => readdirSync(at, { withFileTypes: true }).map((entry) => {
  const stat = statSync(join(at, entry.name));
  return `${entry.name} ${stat.ino} ${stat.mode} ${stat.uid} ${stat.mtimeMs} ${entry.isFile() ? readFileSync(join(at, entry.name), 'utf8') : pictureOf(join(at, entry.name))}`;
}).sort().join('\n');
