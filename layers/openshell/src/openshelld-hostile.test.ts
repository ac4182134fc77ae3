/** Hostile programs against calls that openshelld does: races, random arguments with dying tasks, storms of signals. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { TestInstance } from './openshelld-test-instance.ts';
import type { TestService } from './openshelld-test-instance.ts';
import { buildTestProgram } from './openshelld-test-program.ts';
import { assertRace, pictureOf, raceCommand, raceRounds, races } from './openshelld-test-races.ts';

const spec = (on: string): string => `isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [${on}] }] }`;

describe('hostile programs against calls that are asked about', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let registration: string;
  let next = 0;
  const run = (sandbox: string, command: string): ReturnType<TestService['run']> => gateway.run(sandbox, `x${(next += 1)}`, ['/bin/sh', '-c', `cd /workspace && ${command}`]);

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 60, asks: 1_000_000 });
    gateway = await instance.service('gateway');
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    registration = workspace.id;
    for (const name of ['prod', 'prod/deep', 'ok']) mkdirSync(join(folder, name));
    for (const name of ['prod/f', 'prod/deep/d', 'ok/f']) writeFileSync(join(folder, name), name);
    for (const name of ['race-locks', 'fuzz-calls', 'signals']) buildTestProgram(name, folder);
  });
  after(async () => {
    await instance?.stop();
  });

  it('a hostile thread wins 0 of 3,000 for every call that is done in a locked folder', async () => {
    const race = races[1];
    await gateway.call('create', 'r', instance.plan(spec(race.on)), registration, 'worker:1');
    await gateway.order({ op: 'auto', verdict: 'deny' });
    const before = pictureOf(join(folder, 'prod'));
    for (const way of race.ways) {
      const { stdout, stderr } = await run('r', raceCommand(race.program, way));
      console.log(`# ${way} ${raceRounds}: ${stdout.trim()}${stderr}`);
      assertRace(way, stdout + stderr);
    }
    assert.equal(pictureOf(join(folder, 'prod')), before);
    await gateway.order({ op: 'auto', verdict: null });
    await gateway.call('destroy', 'r');
  });

  it('random calls, bad pointers and dying tasks change nothing that is asked about, and openshelld goes on', async () => {
    await gateway.call('create', 'f', instance.plan(spec('write, create, delete, rename')), registration, 'worker:1');
    await gateway.order({ op: 'auto', verdict: 'deny' });
    const before = pictureOf(join(folder, 'prod'));
    const daemon = instance.daemonPid;
    const seed = Number(process.env['FUZZ_SEED'] ?? 20_251_122);
    const out = await run('f', `mkdir -p ok; echo x > ok/f; ln -s loop ok/loop; exec ./fuzz-calls ${seed} 5000`);
    console.log(`# seed ${seed}: ${out.stdout.trim()}${out.stderr}`);
    assert.match(out.stdout, /^made=[1-9]\d{2,}$/m);
    assert.equal(pictureOf(join(folder, 'prod')), before);
    assert.equal(instance.daemonPid, daemon, 'openshelld was restarted');
    // What was not asked about is the agent's to spoil.
    chmodSync(folder, 0o755);
    assert.equal((await run('f', 'mkdir after && echo fine > after/f && cat after/f && rm -r after')).stdout, 'fine\n');
    await gateway.order({ op: 'auto', verdict: null });
    await gateway.call('destroy', 'f');
  });

  it('storms of SIGURG, SIGALRM and SIGCHLD do not break a held call, with and without SA_RESTART', async () => {
    await gateway.call('create', 's', instance.plan(spec('delete')), registration, 'worker:1');
    for (const restart of [0, 1]) {
      writeFileSync(join(folder, 'prod/victim'), '');
      const before = gateway.news.length;
      const { hold, out } = await gateway.held(() => run('s', `exec ./signals prod/victim 200 ${restart}`), ({ path }) => path === '/workspace/prod/victim');
      // Each kind of signal comes meanwhile, on a slow machine, too.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      assert.equal(gateway.news.slice(before).filter((m) => m.t === 'hold').length, 1, 'asked once');
      assert.deepEqual(await gateway.call('answerHold', 's', hold.holdId, 'allow'), { outcome: 'performed', errno: 0 });
      assert.equal((await out).stdout, 'ok urgent=1 alarms=1 children=1\n');
    }
    await gateway.call('destroy', 's');
  });
});
