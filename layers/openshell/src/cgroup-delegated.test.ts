/** Control groups of version 2 that were delegated to a plain user. The tests are root's, which delegates. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launcherPath } from './launch-alone.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';

const person = { uid: 65533, gid: 65533 };
const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const folder = mkdtempSync(join(tmpdir(), 'openshell-delegated-'));
const folderOf = (made: Trial | undefined): string => made?.workspace ?? '';

before(() => {
  buildNative('openshell-launch');
  chmodSync(folder, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** The v2 tree of this host, or undefined. */
const unified = readFileSync('/proc/self/mounts', 'utf8').match(/^\S+ (\S+) cgroup2 /m)?.[1];

test('a delegated v2 group is found and used: the sandbox is in a leaf of it, and nothing is left', { ...root, ...(unified === undefined ? { skip: 'no cgroup v2 here' } : {}) }, (context) => {
  const group = join(unified ?? '', `openshell-test-${process.pid}`);
  let t: Trial | undefined;
  mkdirSync(group);
  try {
    for (const path of [group, join(group, 'cgroup.procs'), join(group, 'cgroup.subtree_control')]) chownSync(path, person.uid, person.gid);
    const inside = (...command: readonly string[]): { status: number | null; stdout: string; stderr: string } => {
      // As root into the group, then the person; the launcher and its parent are the only members, as under `systemd-run --user --scope`.
      // Once the group gives controllers to children, its processes are in a leaf.
      const enter = 'd=$1; shift; test -d "$d/nemoclaw-callers" && d="$d/nemoclaw-callers"; echo $$ > "$d/cgroup.procs" || exit 99; exec setpriv --reuid 65533 --regid 65533 --clear-groups "$@"';
      return spawnSync('sh', ['-c', enter, 'sh', group, ...command], { encoding: 'utf8' });
    };
    const facts = JSON.parse(inside(launcherPath, '--facts').stdout) as { cgroup: Record<string, boolean> };
    assert.equal(facts.cgroup['v2'], true);
    assert.equal(facts.cgroup['freezer'], true);
    const controllers = readFileSync(join(group, 'cgroup.controllers'), 'utf8').trim().split(' ');
    const memory = controllers.includes('memory');
    assert.equal(facts.cgroup['memory'], memory);
    if (!memory) context.diagnostic('NOT TRIED: limits by a delegated group, since this host has no v2 controllers');
    t = trial(`${workspaceSpec}, resources: { maxMemory: 100Mi, maxPids: 40 }`, { as: person, limits: { memory, cpu: controllers.includes('cpu') } });
    writeFileSync(join(folder, 'plan2.json'), JSON.stringify(t.plan));
    const launch = (...command: readonly string[]): ReturnType<typeof inside> =>
      inside('sh', '-c', 'plan=$1; shift; "$@" 5< "$plan"', 'sh', join(folder, 'plan2.json'), launcherPath, '--plan-fd', '5', '--workspace', folderOf(t), '--bind-root', '/usr', '--bind-root', '/etc', '--bind-root', '/opt', '--bind-root', join(process.execPath, '..'), '--', ...command);
    const seen = launch('/bin/sh', '-c', 'cat /proc/self/cgroup');
    assert.equal(seen.status, 0, seen.stderr);
    assert.match(seen.stdout, /^0::\/$/m, 'the root of what it sees is its own group');
    if (memory) assert.equal(launch('/opt/node/bin/node', '-e', 'Buffer.alloc(200 << 20, 1)').status, 137, 'the memory of all together is limited');
    assert.deepEqual(readdirSync(group).filter((name) => name.startsWith('nemoclaw-alone')), []);
  } finally {
    t?.remove();
    for (const leaf of ['nemoclaw-callers']) if (existsSync(join(group, leaf))) rmdirSync(join(group, leaf));
    rmdirSync(group);
  }
});
