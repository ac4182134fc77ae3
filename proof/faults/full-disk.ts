/** The file system of state, logs and workspace is full: nothing opens, nothing is stuck, and with room again everything works. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checks } from '../harness/checks.ts';
import { until } from '../harness/instance.ts';
import { Scene, spec } from './scene.ts';

export async function fullDisk(check: Checks): Promise<void> {
  check.section('the disk is full');
  const small = mkdtempSync('/tmp/nc-full-');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m,mode=755', 'none', small]);
  const former = process.env['TMPDIR'];
  process.env['TMPDIR'] = small;
  try {
    await inside(check, small);
  } finally {
    if (former === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = former;
    execFileSync('umount', ['-l', small]);
    rmdirSync(small);
  }
}

async function inside(check: Checks, small: string): Promise<void> {
  const scene = await Scene.open(check);
  const { instance } = scene;
  try {
    const waiting = await scene.waiting('disk');
    const ballast = join(small, 'ballast');
    try {
      writeFileSync(ballast, Buffer.alloc(64 << 20));
    } catch {
      // it takes what there is
    }
    check.that('not a byte is free', statfsSync(small).bfree === 0, statfsSync(small));
    await scene.stayedShut('the disk full');
    const written = await scene.run('/bin/sh', '-c', 'head -c 100000 /dev/zero > /workspace/big; echo $?').catch((error: Error) => ({ stdout: error.message }));
    check.that('the agent is told that there is no room', written.stdout !== '0\n', written);
    const gateway = await scene.gateway();
    const other = await gateway.call('create', 'second', instance.plan(spec()), scene.registration, 'worker:1').then(() => 'made', (error: Error) => error.message);
    check.that('a second sandbox is refused, with the reason', other.includes('No space left on device'), other);
    await instance.killDaemon();
    check.that('the deletion still waits after openshelld was killed, too', waiting.answer() === undefined);
    await scene.stayedShut('the disk full, openshelld killed');
    await scene.answer(waiting, 'deny').catch(() => undefined);
    rmSync(ballast);
    // What the agent said while nothing could be written is lost; that its file is there is what counts.
    const later = await scene.waiting('later');
    await until('the question', async () => ((await scene.answer(later, 'allow').catch(() => undefined)) === undefined ? undefined : true));
    await scene.ended('with room again', later, 'done');
    const fine = await until('a new sandbox', () => gateway.call('create', 'third', instance.plan(spec()), scene.registration, 'worker:1').then(() => true, () => undefined)).catch(() => false);
    check.that('with room again a new sandbox is made', fine === true);
    await scene.stayedShut('with room again');
  } finally {
    await scene.destroy();
  }
}
