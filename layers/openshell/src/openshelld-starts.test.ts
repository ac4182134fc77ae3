/** Programs that a person decides on, in tier B on the real kernel: started or opened only after a yes, whoever is killed meanwhile. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { CreateResult, FromOpenshelld, LaunchPlan, SyscallHold } from '@nemoclaw/contract';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';

const program = '/usr/bin/factor';
const spec = `isolation: { network: restricted, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }, { path: /workspace/tools/**, on: [exec] }] }, process: { exec: { escalate: [${program}, /usr/bin/awk] } }`;
const skip = process.getuid?.() === 0 ? false : 'needs root';
const plan = (instance: TestInstance, policy = spec): LaunchPlan => instance.plan(policy);
const running = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe('programs that a person decides on', { skip }, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: string;
  let registration: string;
  let made: CreateResult;
  let next = 0;
  const id = (): string => `x${(next += 1)}`;
  const sh = async (script: string, sandbox = 's'): Promise<string> => {
    const out = await gateway.run(sandbox, id(), ['/bin/sh', '-c', script]);
    return `${out.signal ?? ''}${out.stdout}${out.stderr}`.trim();
  };
  /** Starts a script that will wait; `out` is all it says. */
  const held = (script: string, path: string, sandbox = 's'): ReturnType<typeof gateway.held<string>> => gateway.held(() => sh(script, sandbox), (hold) => hold.path === path && hold.sandbox === sandbox);
  const answer = (hold: SyscallHold, verdict: 'allow' | 'deny'): Promise<unknown> => gateway.call('answerHold', hold.sandbox, hold.holdId, verdict);
  const ended = (hold: SyscallHold): Promise<Extract<FromOpenshelld, { t: 'hold.ended' }>> => gateway.saw('hold.ended', (m) => m.holdId === hold.holdId);

  before(async () => {
    instance = await TestInstance.start({ holdSeconds: 30 });
    gateway = await instance.service('gateway');
    const workspace = await instance.workspace('project');
    folder = workspace.path;
    registration = workspace.id;
    for (const name of ['tools', 'prod', 'other']) mkdirSync(join(folder, name));
    for (const name of ['tools/run', 'other/run']) {
      writeFileSync(join(folder, name), '#!/bin/sh\necho ran "$@"\n');
      chmodSync(join(folder, name), 0o755);
    }
    made = (await gateway.call('create', 's', plan(instance), registration, 'worker:1')) as CreateResult;
  });
  after(async () => {
    await instance?.stop();
  });

  it('waits, shows the object, and starts on approval; everything else goes on meanwhile', async () => {
    const { hold, out } = await held(`${program} 6`, program);
    assert.equal(hold.op, 'exec');
    assert.equal(hold.syscall, 'execve');
    assert.equal(hold.rule, 2);
    assert.equal(hold.ino, statSync(program).ino);
    assert.match(hold.exe, /sh$/);
    assert.equal(await sh('/workspace/other/run on; date > /dev/null'), 'ran on');
    // The host's own start of the same file meets no question.
    assert.equal(spawnSync(program, ['6'], { encoding: 'utf8', timeout: 60_000 }).stdout, '6: 2 3\n');
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    assert.equal(await out, '6: 2 3');
    assert.equal((await ended(hold)).outcome, 'performed');
    await assert.rejects(answer(hold, 'allow'), { code: 'no-hold' });
  });

  it('denies with EPERM', async () => {
    const { hold, out } = await held(`${program} 6; echo $?`, program);
    assert.deepEqual(await answer(hold, 'deny'), { outcome: 'denied', errno: 1 });
    assert.match(await out, /^126\n[^]*Operation not permitted$/);
  });

  it('asks for every way in: a link, the loader, a copy, a descriptor, the command itself, a script and its interpreter', async () => {
    const ways: readonly (readonly [string, string])[] = [
      [`ln -sf ${program} /tmp/link; /tmp/link 6`, program],
      [`/lib64/ld-linux-x86-64.so.2 ${program} 6`, program],
      [`cp ${program} /tmp/copy && /tmp/copy 6`, program],
      [`/usr/bin/python3 -c "import os; os.execve(os.open('${program}', os.O_PATH), ['f','6'], {})"`, program],
      [`/bin/awk 'BEGIN { print 6 }'`, statSync('/usr/bin/awk').ino === statSync('/usr/bin/mawk', { throwIfNoEntry: false })?.ino ? '/usr/bin/mawk' : '/usr/bin/awk'],
      [`/workspace/tools/run 6`, '/workspace/tools/run'],
      [`sh /workspace/tools/run 6`, '/workspace/tools/run'],
      [`mv /workspace/tools /workspace/moved; mv /workspace/moved /workspace/tools & wait; /workspace/tools/run 6`, '/workspace/tools/run'],
      [`printf '#!${program}\\n' > /tmp/script; chmod +x /tmp/script; /tmp/script`, program],
    ];
    for (const [script, path] of ways) {
      const { hold, out } = await held(script, path);
      await answer(hold, 'deny');
      assert.doesNotMatch(await out, /2 3|^ran|^6$/m, script);
    }
    const { hold, out } = await gateway.held(() => gateway.run('s', id(), [program, '6']), ({ path }) => path === program);
    assert.equal(await sh('echo others start'), 'others start');
    await answer(hold, 'allow');
    assert.equal((await out).stdout, '6: 2 3\n');
  });

  it('gives the agent no mounts of its own, on which nothing would be asked', async () => {
    assert.match(await sh(`unshare -Umr sh -c 'mount --bind /usr /mnt; factor 6' 2>&1`), /not permitted|Invalid|failed|No space/i);
  });

  it('tells two sandboxes apart, and other rules of calls work beside it', async () => {
    await gateway.call('create', 'free', plan(instance, 'isolation: { network: none, filesystem: workspace, syscalls: standard }'), registration, 'worker:1');
    await gateway.call('create', 'second', plan(instance), registration, 'worker:1');
    const first = await held(`${program} 6`, program);
    const second = await held(`${program} 10`, program, 'second');
    assert.equal(await sh(`${program} 15`, 'free'), '15: 3 5');
    await answer(second.hold, 'deny');
    assert.doesNotMatch(await second.out, /2 5/);
    await answer(first.hold, 'allow');
    assert.equal(await first.out, '6: 2 3');
    writeFileSync(join(folder, 'prod/a'), '');
    const file = await held('rm -f /workspace/prod/a', '/workspace/prod/a');
    await answer(file.hold, 'deny');
    await file.out;
    assert.ok(existsSync(join(folder, 'prod/a')));
    for (const name of ['free', 'second']) await gateway.call('destroy', name);
  });

  it('keeps its question through kill -9 of openshelld', async () => {
    // Answered as started before the daemon goes: a request on its way would end with it.
    const asked = gateway.newHold(({ path }) => path === program);
    await gateway.call('exec', 's', 'kept', { argv: ['/bin/sh', '-c', `${program} 6 > /workspace/kept 2>&1`], env: ['PATH=/usr/bin:/bin'], cwd: '/', tty: null });
    const hold = await asked;
    await instance.killDaemon();
    const inventory = await gateway.saw('inventory', (m) => m.holds.some((h) => h.holdId === hold.holdId));
    assert.deepEqual(inventory.holds.find((h) => h.holdId === hold.holdId), hold);
    assert.deepEqual(await answer(hold, 'allow'), { outcome: 'performed', errno: 0 });
    await gateway.saw('exec.exited', (m) => m.execId === 'kept');
    assert.equal(readFileSync(join(folder, 'kept'), 'utf8').trim(), '6: 2 3');
    const again = await held(`${program} 6`, program);
    await answer(again.hold, 'deny');
    assert.doesNotMatch(await again.out, /2 3/);
  });

  it('asks no more when the agent is gone', async () => {
    const asked = gateway.newHold(({ path }) => path === program);
    await gateway.call('exec', 's', 'gone', { argv: ['/bin/sh', '-c', `${program} 6; true`], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
    const hold = await asked;
    await gateway.call('execSignal', 's', 'gone', 9);
    assert.equal((await ended(hold)).outcome, 'agent-gone');
  });

  it('keeps its rules on programs while it runs', async () => {
    const { limits, recordRules } = plan(instance);
    await assert.rejects(gateway.call('update', 's', { escalate: [], limits, recordRules }), { code: 'protocol' });
  });

  it('ends with its shim, and what waited never starts', async () => {
    const script = (n: number): string => `rm -f ${folder}/ran${n}; cd /workspace; ${program} 6 > ran${n}.tmp && mv ran${n}.tmp ran${n}`;
    for (let n = 0; n < 5; n++) {
      const name = `kill${n}`;
      const { init } = (await gateway.call('create', name, plan(instance), registration, 'worker:1')) as CreateResult;
      void gateway.run(name, id(), ['/bin/sh', '-c', script(n)]).catch(() => undefined);
      await gateway.saw('hold', (m) => m.hold.sandbox === name);
      const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${init}/status`, 'utf8'))?.[1]);
      assert.equal(readFileSync(`/proc/${shim}/comm`, 'utf8').trim(), 'openshell-shim');
      process.kill(shim, 'SIGKILL');
      await gateway.saw('sandbox.gone', (m) => m.sandbox === name);
      for (const end = Date.now() + 60_000; running(init) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 10));
      assert.ok(!running(init));
      assert.ok(!existsSync(join(folder, `ran${n}`)) && !(existsSync(join(folder, `ran${n}.tmp`)) && statSync(join(folder, `ran${n}.tmp`)).size > 0), 'the program ran');
      rmSync(join(folder, `ran${n}.tmp`), { force: true });
    }
    assert.ok(running(made.init));
  });

  it('tells and lets go on under a policy that only watches', async () => {
    await gateway.call('create', 'watch', plan(instance, `${spec}, mode: monitor`), registration, 'worker:1');
    assert.equal(await sh('factor 6', 'watch'), '6: 2 3');
    assert.ok(!gateway.news.some((m) => m.t === 'hold' && m.hold.sandbox === 'watch'));
    await gateway.call('destroy', 'watch');
  });
});

describe('the deadline of a start', { skip }, () => {
  it('is the shim’s: denied though openshelld is away', async () => {
    const instance = await TestInstance.start({ holdSeconds: 2 });
    try {
      const gateway = await instance.service('gateway');
      const workspace = await instance.workspace('project');
      await gateway.call('create', 'd', plan(instance), workspace.id, 'worker:1');
      await gateway.call('exec', 'd', 'waits', { argv: ['/bin/sh', '-c', `${program} 6 > /workspace/out; echo $? > /workspace/code`], env: ['PATH=/usr/bin'], cwd: '/', tty: null });
      const { hold } = await gateway.saw('hold');
      process.kill(instance.daemonPid, 'SIGSTOP');
      try {
        const said = join(workspace.path, 'code');
        for (const end = Date.now() + 60_000; (!existsSync(said) || statSync(said).size === 0) && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
        assert.equal(readFileSync(said, 'utf8').trim(), '126');
        assert.equal(readFileSync(join(workspace.path, 'out'), 'utf8'), '');
      } finally {
        process.kill(instance.daemonPid, 'SIGCONT');
      }
      await gateway.saw('hold.ended', (m) => m.holdId === hold.holdId && m.outcome === 'timeout');
    } finally {
      await instance.stop();
    }
  });
});
