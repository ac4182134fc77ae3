/** Attacks side by side: each lane is a world of its own, and takes the next attack when it has judged one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { World } from './world.ts';

/**
 * Judges each of `attacks` in one of `lanes` worlds, whose attackers have the uids from `firstUid` on. `onInterrupt` gets what takes the worlds away early.
 * Gives the folders that it made and removed again.
 */
export async function inLanes<T>(lanes: number, firstUid: number, tries: string, attacks: readonly T[], onInterrupt: (clean: () => void | Promise<void>) => void, judge: (world: World, attack: T) => Promise<void>): Promise<string[]> {
  const queue = [...attacks];
  const worlds = Array.from({ length: lanes }, (_, lane) => new World(tries, firstUid + lane));
  const close = async (): Promise<void> => void (await Promise.all(worlds.map((world) => world.close())));
  onInterrupt(close);
  try {
    await Promise.all(worlds.map((world) => world.open()));
    await Promise.all(
      worlds.map(async (world) => {
        for (let next = queue.shift(); next !== undefined; next = queue.shift()) await judge(world, next);
      }),
    );
  } finally {
    await close();
  }
  return worlds.flatMap((world) => [world.hidden, world.scratch, world.shown, world.beside]);
}

/** Runs a script in the world's workspace without a sandbox; what it said, when it has ended. */
export async function plainly(world: World, uid: number, script: string): Promise<string> {
  const child = spawn('/bin/sh', ['-c', script], { uid, gid: uid, cwd: world.workspace, env: { PATH: '/usr/bin:/bin', ...world.variables(world.workspace) }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
  await once(child, 'exit');
  return said;
}
