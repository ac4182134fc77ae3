/** `work.*`: whole pieces of a developer's work, each plain, in bubblewrap, in srt, in a sandbox, and in one whose policy asks about some file operations. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run as runProgram } from '../harness/instance.ts';
import { nowMs } from './api.ts';
import { bwrapped } from './bubblewrap.ts';
import { figure, type Figures } from './figure.ts';
import type { Bench, Group } from './groups.ts';
import { srtWrapped } from './srt.ts';

interface Work {
  readonly figure: string;
  /** The command; `folder` is the workspace as the place names it. */
  readonly command: (folder: string) => readonly string[];
}
const works: readonly Work[] = [
  { figure: 'work.git.status', command: (folder) => ['/usr/bin/git', '-C', `${folder}/repository`, 'status', '--short'] },
  { figure: 'work.compile', command: (folder) => ['/usr/bin/gcc', '-O1', '-S', '-o', `${folder}/program.s`, `${folder}/program.c`] },
];

/** A repository of 1,000 files in 50 folders, and a C program of 40 functions. */
async function prepare(folder: string): Promise<void> {
  const repository = join(folder, 'repository');
  for (let i = 0; i < 50; i += 1) {
    mkdirSync(join(repository, `folder-${i}`), { recursive: true });
    for (let k = 0; k < 20; k += 1) writeFileSync(join(repository, `folder-${i}`, `file-${k}.txt`), `file ${k} of ${i}\n`.repeat(20));
  }
  const git = async (...args: string[]): Promise<void> => {
    const ran = await runProgram('git', ['-C', repository, '-c', 'user.name=bench', '-c', 'user.email=bench@localhost', ...args]);
    if (ran.code !== 0) throw new Error(`git ${args.join(' ')}: ${ran.err}`);
  };
  await git('init', '--quiet');
  await git('add', '.');
  await git('commit', '--quiet', '--message', 'files');
  writeFileSync(join(repository, 'folder-0', 'new.txt'), 'new\n');
  // Files as young as the index are read again by every `git status`: one that is younger than both ends that.
  await sleep(1100);
  await git('status', '--short');
  const functions = Array.from({ length: 40 }, (_, i) => `int f${i}(int x) { for (int i = 0; i < x; i++) x += i * ${i} % (x + 1); return x; }`);
  writeFileSync(join(folder, 'program.c'), `#include <stdio.h>\n${functions.join('\n')}\nint main(void) { printf("%d\\n", f7(3)); return 0; }\n`);
}

async function timed(command: readonly string[]): Promise<number> {
  const [program = '', ...args] = command;
  const start = nowMs();
  const ran = await runProgram(program, args, { timeoutMs: 60_000 });
  if (ran.code !== 0) throw new Error(`${command.join(' ')}: ${ran.err}`);
  return nowMs() - start;
}

async function run(bench: Bench): Promise<Figures> {
  const world = await bench.world();
  const rounds = bench.by(3, 12, 50);
  const figures: Record<string, Figures[string]> = {};
  await world.within('bench', (usual, workspace) =>
    world.within('bench-ruled', async (strict, strictWorkspace) => {
      for (const { path } of [workspace, strictWorkspace]) await prepare(path);
      for (const work of works) {
        if (!bench.wants(work.figure)) continue;
        bench.say(`  ${work.figure}`);
        const times = { plain: [] as number[], bwrap: [] as number[], srt: [] as number[], inside: [] as number[], ruled: [] as number[] };
        const inside = async (name: string): Promise<number> => {
          const exec = await world.api.open(name);
          const start = nowMs();
          return (await exec.run(work.command('/workspace'))) - start;
        };
        for (let round = -1; round < rounds; round += 1) {
          const one = {
            plain: await timed(work.command(workspace.path)),
            bwrap: bench.hasBwrap ? await timed(bwrapped(work.command('/tmp/w'), workspace.path)) : 0,
            srt: bench.hasSrt ? await timed(srtWrapped(work.command(workspace.path), workspace.path)) : 0,
            inside: await inside(usual),
            ruled: await inside(strict),
          };
          // The first round fills caches.
          if (round >= 0) for (const place of ['plain', 'bwrap', 'srt', 'inside', 'ruled'] as const) times[place].push(one[place]);
        }
        const peers = { plain: times.plain, ...(bench.hasBwrap && { bwrap: times.bwrap }), ...(bench.hasSrt && { srt: times.srt }) };
        figures[work.figure] = figure(times.inside, 'ms', peers);
        figures[`${work.figure}.ruled`] = figure(times.ruled, 'ms', peers);
      }
    }),
  );
  return figures;
}

export const work: Group = { names: works.flatMap((one) => [one.figure, `${one.figure}.ruled`]), run };
