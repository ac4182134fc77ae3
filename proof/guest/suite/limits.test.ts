/** Limits of cgroup v2 bite: memory, processes and CPU time of a whole sandbox, freezing, and an end that leaves nothing. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSandbox, loadSandboxPolicy, type Sandbox } from '@nemoclaw/openshell';
import './kept.ts';

const tree = '/sys/fs/cgroup';
const limited = (cpus: number): ReturnType<typeof loadSandboxPolicy> =>
  loadSandboxPolicy(
    `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: limited }\nspec: { isolation: { network: none, filesystem: read-only, syscalls: standard }, resources: { maxMemory: 64Mi, maxPids: 24, maxCPU: ${cpus} } }\n`,
    'limited.yaml',
  );

/** Groups of sandboxes, anywhere in the tree. */
const groups = (): string[] =>
  readdirSync(tree, { recursive: true, encoding: 'utf8' })
    .filter((path) => /nemoclaw-alone[^/]*\/[^/]+$/.test(path) && existsSync(join(tree, path, 'cgroup.procs')))
    .map((path) => join(tree, path));
const number = (group: string, file: string, word?: string): number => {
  const text = readFileSync(join(group, file), 'utf8');
  return Number(word === undefined ? text : new RegExp(`^${word} (\\d+)$`, 'm').exec(text)?.[1]);
};

describe('limits of cgroup v2', { timeout: 300_000 }, () => {
  let sandbox: Sandbox;
  let group: string;
  const python = async (code: string): Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }> => (await sandbox.exec(['/usr/bin/python3', '-c', code])).output();

  before(async () => {
    const there = new Set(groups());
    sandbox = await createSandbox(limited(1));
    const [only, ...others] = groups().filter((path) => !there.has(path) && existsSync(join(path, 'memory.max')));
    assert.ok(only !== undefined && others.length === 0, [only, ...others].join());
    group = only;
  });
  after(() => sandbox.destroy());

  test('the numbers of the policy stand in the group, and there is no swap beside the memory', () => {
    assert.equal(number(group, 'memory.max'), 64 << 20);
    assert.equal(number(group, 'memory.swap.max'), 0);
    assert.equal(number(group, 'pids.max') >= 24, true);
    assert.equal(number(group, 'pids.max') < 40, true, 'little is added for the sandbox’s own processes');
    const [quota, period] = readFileSync(join(group, 'cpu.max'), 'utf8').trim().split(' ').map(Number);
    assert.equal((quota ?? 0) / (period ?? 1), 1);
  });

  test('no more processes than the policy says', async () => {
    const done = await python(`
import os, signal
made = []
try:
    while len(made) < 100:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        made.append(pid)
except OSError as e:
    print(e.errno, len(made))
for pid in made: os.kill(pid, 9)
`);
    const [errno, count] = done.stdout.trim().split(' ').map(Number);
    assert.equal(errno, 11, done.stderr);
    assert.ok((count ?? 99) > 5 && (count ?? 99) <= 24, done.stdout);
  });

  test('no more CPU time than its share', async () => {
    await sandbox.update(limited(0.25));
    const before = number(group, 'cpu.stat', 'nr_throttled');
    const busy = await python('import time\nt = time.monotonic(); c = time.process_time()\nwhile time.monotonic() - t < 2: pass\nprint((time.process_time() - c) / (time.monotonic() - t))');
    assert.ok(Number(busy.stdout) < 0.5, busy.stdout || busy.stderr);
    assert.ok(number(group, 'cpu.stat', 'nr_throttled') > before);
    await sandbox.update(limited(1));
  });

  test('frozen: nothing runs; thawed: it goes on', async () => {
    const counter = await sandbox.exec(['/bin/sh', '-c', 'read x; echo $x']);
    await sandbox.freeze(true);
    // The kernel stops each task at its next step, and says so when the last one has.
    while (number(group, 'cgroup.events', 'frozen') !== 1) await sleep(20);
    counter.stdin.end('on\n');
    await sandbox.freeze(false);
    assert.equal((await counter.output()).stdout, 'on\n');
  });

  test('who takes more memory than all may have together is killed', async () => {
    const own = await createSandbox(limited(1));
    try {
      const hog = await (await own.exec(['/usr/bin/python3', '-c', 'print(len(bytearray(20 << 20)), flush=True); b = bytearray(200 << 20); print("had it")'])).output();
      assert.deepEqual([hog.stdout, hog.signal], [`${20 << 20}\n`, 'SIGKILL'], hog.stderr);
    } finally {
      await own.destroy();
    }
  });

  test('its end kills all of it and removes the group', async () => {
    const there = new Set(groups());
    const own = await createSandbox(limited(1));
    await own.exec(['/bin/sh', '-c', 'trap "" TERM INT HUP; (setsid sleep 1000 &) ; sleep 1000']);
    const made = groups().filter((path) => !there.has(path));
    assert.ok(made.length > 0);
    const pids = made.flatMap((path) => readFileSync(join(path, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean));
    assert.ok(pids.length > 0);
    await own.destroy();
    assert.deepEqual(made.filter(existsSync), []);
    assert.deepEqual(pids.filter((pid) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))), []);
  });
});
