/** Limits by control groups, version 1 or 2 as this host has them: read back from the kernel while a sandbox runs, and hit. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AloneResult } from './launch-alone.ts';
import { readLaunchFacts } from './launch-facts.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const root = process.getuid?.() === 0;
if (root) buildNative('openshell-launch');
const facts = root ? readLaunchFacts() : undefined;
const need = (controller: 'memory' | 'cpu' | 'pids'): string | false => (facts?.cgroup[controller] === true ? false : `NOT TRIED: needs root and a ${controller} controller`);
const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' '));
const v2 = mounts.find(([, , type]) => type === 'cgroup2')?.[1];

/** A file of the group that process `pid` is in, in the tree that has the controller: its v1 or its v2 name. */
function groupFile(pid: number, controller: string, v1Name: string, v2Name: string): { readonly text: string; readonly v2: boolean } {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n').map((line) => line.split(':'));
  const own = lines.find(([, list]) => list?.split(',').includes(controller));
  const mount = own && mounts.find(([, , type, options]) => type === 'cgroup' && options?.split(',').includes(controller))?.[1];
  if (own && mount !== undefined) return { text: readFileSync(join(mount, own[2] ?? '', v1Name), 'utf8').trim(), v2: false };
  const unified = lines.find(([number]) => number === '0')?.[2] ?? '';
  return { text: readFileSync(join(v2 ?? '', unified, v2Name), 'utf8').trim(), v2: true };
}

describe('control groups', { skip: root ? false : 'needs root' }, () => {
  const trials: Trial[] = [];
  const sandbox = (resources: string): Trial => {
    const made = trial(`${workspaceSpec}, resources: { ${resources} }`);
    trials.push(made);
    return made;
  };
  /** The host's pid of a command that is running in a sandbox, and how to end it. */
  const running = async (made: Trial, script: string): Promise<{ pid: number; end(): Promise<AloneResult> }> => {
    const mark = `mark-${process.pid}-${trials.length}`;
    const ended = made.sh(`: ${mark}; ${script}`);
    let early: AloneResult | undefined;
    void ended.then((result) => (early = result));
    for (;;) {
      assert.equal(early, undefined, early?.stderr);
      // Not the launcher, which has the words too: the shell inside.
      const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && commandOf(name).startsWith('/bin/sh\0') && commandOf(name).includes(mark));
      if (pid !== undefined) return { pid: Number(pid), end: () => (writeFileSync(join(made.workspace, 'stop'), ''), ended) };
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  before(() => {
    if (facts) assert.ok(facts.cgroup.freezer || !existsSync('/sys/fs/cgroup'));
  });
  after(() => trials.forEach((made) => made.remove()));
  const untilStop = 'while ! test -e stop; do sleep 0.01; done';

  it('the kernel has the limits of the plan', { skip: need('memory') || need('cpu') || need('pids') }, async () => {
    const { pid, end } = await running(sandbox('maxMemory: 64Mi, maxCPU: 0.5, maxPids: 33'), untilStop);
    const memory = groupFile(pid, 'memory', 'memory.limit_in_bytes', 'memory.max');
    assert.equal(memory.text, String(64 * 2 ** 20));
    if (memory.v2) assert.deepEqual([groupFile(pid, 'memory', '', 'memory.swap.max').text, groupFile(pid, 'memory', '', 'memory.oom.group').text], ['0', '1']);
    const cpu = groupFile(pid, 'cpu', 'cpu.cfs_quota_us', 'cpu.max');
    assert.equal(cpu.text, cpu.v2 ? '50000 100000' : '50000');
    assert.equal(groupFile(pid, 'pids', 'pids.max', 'pids.max').text, '33');
    assert.equal((await end()).code, 0);
  });

  it('memory of all processes together ends the sandbox, not the host', { skip: need('memory') }, async () => {
    const hungry = 'node -e "const b = Buffer.alloc(90 << 20, 1); setTimeout(() => b, 60000)" & ';
    const result = await sandbox('maxMemory: 150Mi').run(['/bin/bash', '-c', `${hungry}${hungry} wait -n; exit $?`]);
    // Version 2 ends all of it, version 1 the process that asked too much.
    assert.equal(result.code, 137, result.stderr);
  });

  it('CPU time beyond the limit is held back', { skip: need('cpu') }, async () => {
    const { pid, end } = await running(sandbox('maxCPU: 0.1'), 'while ! test -e stop; do :; done');
    const throttled = (): number => Number(/nr_throttled (\d+)/.exec(groupFile(pid, 'cpu', 'cpu.stat', 'cpu.stat').text)?.[1]);
    while (throttled() === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal((await end()).code, 0);
  });

  it('a limit that cannot be kept starts nothing', async () => {
    // A plan that asks what a plain user without a delegated group has not.
    const made = trial(workspaceSpec, { as: { uid: 65533, gid: 65533 }, limits: { memory: true, cpu: false } });
    trials.push(made);
    const result = await made.run(['/bin/true']);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /cgroup: no memory controller/);
  });
});

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
