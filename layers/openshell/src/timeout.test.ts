/** resources.timeout on the real kernel: everything that runs too long is ended and on record, whoever is away. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';
import { TestInstance, type TestService } from './openshelld-test-instance.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const spec = (timeout: string): string => `isolation: { network: none, filesystem: workspace }, resources: { timeout: ${timeout} }`;
/** Ignores what it can, and leaves a child that tries to get away. */
const stubborn = ['/bin/sh', '-c', "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM HUP INT; while :; do echo x >> /workspace/beat; sleep 0.02; done\" &); while :; do echo y; sleep 0.02; done"];
const options = { argv: stubborn, env: ['PATH=/usr/bin'], cwd: '/', tty: null };

test('alone: the command and all it started are ended, with the exit code of timeout(1)', root, async () => {
  await buildNative('openshell-launch');
  const t = trial(spec('3s'));
  const patient = trial(spec('1h'));
  try {
    const result = await t.run(stubborn);
    assert.equal(result.code, 124);
    assert.match(result.stderr, /ended after 3000 ms \(resources\.timeout\)/);
    const size = readFileSync(join(t.workspace, 'beat')).length;
    await pause(100);
    assert.equal(readFileSync(join(t.workspace, 'beat')).length, size);
    assert.equal((await patient.run(['/bin/true'])).code, 0);
  } finally {
    t.remove();
    patient.remove();
  }
});

describe('through openshelld', root, () => {
  let instance: TestInstance;
  let gateway: TestService;
  let folder: { path: string; id: string };
  before(async () => {
    instance = await TestInstance.start();
    gateway = await instance.service('gateway');
    folder = await instance.workspace('project');
  });
  after(async () => {
    await instance?.stop();
  });
  const overtimes = async (sandbox: string): Promise<number> => {
    const ledger = await instance.service('ledger');
    return ledger.news.filter((m) => m.t === 'event' && m.event.sandbox === sandbox && /resources\.timeout/.test(m.event.message)).length;
  };
  const until = async (what: () => boolean | Promise<boolean>): Promise<void> => {
    for (let tries = 0; tries < 2400 && !(await what()); tries++) await pause(25);
    assert.ok(await what());
  };

  it('ends what runs too long, keeps the sandbox, and starts the time anew for what comes later', async () => {
    await gateway.call('create', 'short', instance.plan(spec('4s')), folder.id, 'worker:1');
    await gateway.call('exec', 'short', 'long', options);
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'long')).signal, 'SIGKILL');
    await until(async () => (await overtimes('short')) === 1);
    // Two that are short enough one by one: the time of the first is not counted to the second.
    for (const id of ['a', 'b', 'c']) assert.equal((await gateway.run('short', id, ['/bin/sleep', '1.5'])).code, 0, id);
    assert.equal(await overtimes('short'), 1);
    await gateway.call('destroy', 'short');
  });

  it('counts what a command leaves behind', async () => {
    await gateway.call('create', 'left', instance.plan(spec('3s')), folder.id, 'worker:1');
    const out = await gateway.run('left', 'parent', ['/bin/sh', '-c', 'setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo gone']);
    assert.equal(out.stdout, 'gone\n');
    await until(async () => (await overtimes('left')) === 1);
    await gateway.call('destroy', 'left');
  });

  it('ends it although openshelld is away, and says so when it is back', async () => {
    const made = (await gateway.call('create', 'away', instance.plan(spec('3s')), folder.id, 'worker:1')) as { readonly init: number };
    await gateway.call('exec', 'away', 'long', options);
    const beating = (): number => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && parentsOf(pid).includes(made.init)).length;
    process.kill(instance.daemonPid, 'SIGSTOP');
    assert.ok(beating() > 0);
    await until(() => beating() === 0);
    assert.ok(existsSync(`/proc/${made.init}`), 'the sandbox itself lives');
    await instance.killDaemon();
    assert.equal((await gateway.saw('exec.exited', (m) => m.execId === 'long')).signal, 'SIGKILL');
    await until(async () => (await overtimes('away')) === 1);
    await gateway.call('destroy', 'away');
  });
});

/** Host pids from the parent up. */
function parentsOf(pid: string): number[] {
  const out: number[] = [];
  for (let at = pid; out.length < 64; at = String(out.at(-1))) {
    try {
      const parent = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1]);
      if (!(parent > 0)) break;
      out.push(parent);
    } catch {
      break;
    }
  }
  return out;
}
