/** Sandboxes from each other and from the host, one thing at a time: what one puts out, another does not find; the same search inside one finds it. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AloneResult } from './launch-alone.ts';
import { trial, workspaceSpec, type Trial } from './launch-trial.ts';
import { buildNative } from './native-build.ts';
import { buildTestProgram } from './openshelld-test-program.ts';

const person = { uid: 65533, gid: 65533 };
const folder = mkdtempSync(join(tmpdir(), 'openshell-isolation-'));
const program = join(folder, 'isolation');
const trials: Trial[] = [];

/** Until `found` gives something. */
async function until<T>(found: () => T | undefined): Promise<T> {
  for (;;) {
    const value = found();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
const pidOf = (...words: readonly string[]): number | undefined => {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && commandOf(name).split('\0').join(' ').startsWith(words.join(' ')));
  return pid === undefined ? undefined : Number(pid);
};
const niceOf = (pid: number): number => Number(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ')[16]);
const linesOf = (text: string): Map<string, string> => new Map(text.trim().split('\n').map((line) => line.split(' ') as [string, string]));

function sandbox(more: Parameters<typeof trial>[1]): Trial {
  const made = trial(workspaceSpec, more);
  execFileSync('cp', [program, made.workspace]);
  trials.push(made);
  return made;
}

/** A sandbox that puts everything out until `stop`. */
async function offering(more: Parameters<typeof trial>[1]): Promise<{ pid: number; offered: Map<string, string>; stop(): Promise<void> }> {
  const made = sandbox(more);
  const place = `/workspace/run-${trials.length}-${process.pid}`;
  const outside = join(made.workspace, place.slice('/workspace/'.length));
  mkdirSync(outside);
  chmodSync(outside, 0o777);
  const ended: Promise<AloneResult> = made.sh(`exec ./isolation offer ${place} > ${place}/lines`);
  let early: AloneResult | undefined;
  void ended.then((result) => (early = result));
  await until(() => (existsSync(join(outside, 'offered')) || early ? true : undefined));
  assert.equal(early, undefined, early?.stderr);
  return {
    pid: await until(() => pidOf('./isolation', 'offer', place)),
    offered: linesOf(readFileSync(join(outside, 'lines'), 'utf8')),
    stop: async () => {
      writeFileSync(join(outside, 'stop'), '');
      assert.equal((await ended).code, 0);
    },
  };
}

describe('isolation', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  before(() => {
    buildNative('openshell-launch');
    chmodSync(folder, 0o755);
    buildTestProgram('isolation', folder);
  });
  after(() => {
    trials.forEach((made) => made.remove());
    rmSync(folder, { recursive: true, force: true });
  });

  const everything = ['abstract', 'path', 'tcp', 'udp', 'sysv-shm', 'sysv-sem', 'sysv-msg', 'posix-shm', 'mqueue', 'tmp-file', 'session-key', 'user-key'];

  it('the search is a real one: within one sandbox, and without the call filter, it finds all that is there', async () => {
    const made = sandbox({ off: ['seccomp', 'landlock'] });
    const { stdout, stderr } = await made.sh('./isolation offer /workspace > lines & while ! test -e offered; do sleep 0.01; done; ./isolation seek $!; touch stop; wait');
    const found = linesOf(stdout);
    assert.deepEqual(everything.filter((name) => found.get(name) !== 'REACHED'), [], stderr);
    assert.equal(found.get('locks'), 'absent', '/proc/locks shows the host’s locks of open files to everybody, so that nobody sees it');
    for (const name of ['seen-in-proc', 'proc-entry', 'signal', 'ptrace', 'memory', 'pidfd', 'limits']) assert.equal(found.get(name), 'REACHED', name);
  });

  for (const [tier, as] of [['B', undefined], ['C', person]] as const) {
    it(`two sandboxes under one policy share nothing (tier ${tier})`, async () => {
      const first = await offering({ ...(as && { as }) });
      try {
        for (const name of ['abstract', 'path', 'tcp', 'udp', 'sysv-shm', 'sysv-sem', 'sysv-msg', 'posix-shm', 'tmp-file']) assert.equal(first.offered.get(name), 'offered', name);
        const second = await sandbox({ ...(as && { as }) }).run(['./isolation', 'seek', String(first.pid)]);
        assert.equal(second.code, 0, second.stderr);
        assert.deepEqual([...linesOf(second.stdout)].filter(([, what]) => what !== 'absent'), []);
        assert.ok(linesOf(second.stdout).size >= 25);
        assert.equal(niceOf(first.pid), niceOf(process.pid));
      } finally {
        await first.stop();
      }
    });

    it(`nor do they where the call filter is off: namespaces and Landlock hold by themselves (tier ${tier})`, async () => {
      const first = await offering({ off: ['seccomp'], ...(as && { as }) });
      try {
        // Landlock refuses message queues by itself: their file system is no folder that a rule could grant.
        assert.deepEqual(everything.filter((name) => first.offered.get(name) !== 'offered'), ['mqueue']);
        const second = await sandbox({ off: ['seccomp'], ...(as && { as }) }).run(['./isolation', 'seek', String(first.pid)]);
        // What only the filter stops: sockets to a hypervisor, and the kernel's device events of one's own network.
        assert.deepEqual([...linesOf(second.stdout)].filter(([name, what]) => what !== 'absent' && !['vsock', 'uevents'].includes(name)), [], second.stderr);
        assert.equal(niceOf(first.pid), niceOf(process.pid));
      } finally {
        await first.stop();
      }
    });

    it(`nothing of a person’s own programs is found by a sandbox, though it be that person’s (tier ${tier})`, async () => {
      const place = mkdtempSync(join(folder, 'host-'));
      chownSync(place, person.uid, person.gid);
      const host = spawn(program, ['offer', place], { ...person, stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        await until(() => (existsSync(join(place, 'offered')) ? true : undefined));
        for (const off of [[], ['seccomp']] as const) {
          const result = await sandbox({ off: [...off], ...(as && { as }) }).run(['./isolation', 'seek', String(host.pid)]);
          assert.deepEqual([...linesOf(result.stdout)].filter(([name, what]) => what !== 'absent' && !(off.length > 0 && ['vsock', 'uevents'].includes(name))), [], result.stderr);
          assert.equal(niceOf(host.pid ?? 0), 0);
        }
      } finally {
        writeFileSync(join(place, 'stop'), '');
        await new Promise((resolve) => host.once('exit', resolve));
      }
    });

    it(`a file that everybody may read, in every folder of the host’s root, is nowhere inside (tier ${tier})`, async () => {
      const name = `.openshell-canary-${process.pid}`;
      const planted: string[] = [];
      try {
        for (const entry of ['', ...readdirSync('/', { withFileTypes: true }).filter((one) => one.isDirectory()).map((one) => one.name)]) {
          const path = join('/', entry, name);
          // /usr is shown on purpose; /proc and /sys take no files.
          if (['usr', 'proc', 'sys'].includes(entry)) continue;
          try {
            writeFileSync(path, 'canary', { mode: 0o644 });
            planted.push(path);
          } catch (error) {
            assert.match(String((error as { code?: unknown }).code), /EROFS|EACCES|EPERM/, path);
          }
        }
        assert.ok(planted.length >= 8, planted.join(' '));
        const found = await sandbox({ ...(as && { as }) }).sh(`find / -name '${name}' 2> /dev/null; for path in ${planted.join(' ')}; do cat $path 2> /dev/null; done; echo end`);
        assert.equal(found.stdout, 'end\n');
        const open = await sandbox({ off: ['view', 'landlock'], ...(as && { as }) }).sh(`cat /opt/${name} /var/${name}`);
        assert.equal(open.stdout, 'canarycanary', 'without the view and Landlock it is there');
      } finally {
        for (const path of planted) rmSync(path, { force: true });
      }
    });
  }
});
