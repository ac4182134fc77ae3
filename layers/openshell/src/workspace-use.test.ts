/** A workspace is checked also when what watched over its sandbox is killed: by whoever is left, or by the next start in the folder. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { buildNative } from './native-build.ts';
import { createSandbox } from './sandbox.ts';

buildNative('openshell-launch', 'openshelld', 'openshell-shim', 'binding.node');
const program = fileURLToPath(new URL('../bin/openshell.js', import.meta.url));
const person = { uid: 65533, gid: 65533 };
const plain = 'isolation: { network: none, filesystem: workspace }';
const asking = `${plain}, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }] }`;
const folders: string[] = [];
const started: ChildProcess[] = [];
after(() => {
  for (const child of started) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

interface Place {
  readonly workspace: string;
  readonly manifests: string;
  /** The command line, in the workspace. */
  start(command: string): ChildProcess;
  run(command: string, workspace?: string): { code: number | null; out: string; err: string };
}

/** A workspace and a state folder of somebody's. */
function place(spec: string, who: typeof person | undefined): Place {
  const folder = mkdtempSync(join(tmpdir(), 'openshell-use-'));
  folders.push(folder);
  const workspace = join(folder, 'up', 'work');
  const policy = join(folder, 'policy.yaml');
  mkdirSync(workspace, { recursive: true });
  writeFileSync(policy, `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: use }\nspec: { ${spec} }\n`);
  writeFileSync(join(workspace, 'own'), 'mine');
  if (who !== undefined) for (const path of [folder, join(folder, 'up'), workspace, policy]) chownSync(path, who.uid, who.gid);
  const how = { env: { ...process.env, XDG_STATE_HOME: join(folder, 'state'), HOME: folder }, ...who };
  const args = (command: string, at: string): string[] => [program, 'run', '--policy', policy, '--workspace', at, '--', '/bin/sh', '-c', command];
  return {
    workspace,
    manifests: join(folder, 'state/openshell/workspaces'),
    start: (command) => {
      const child = spawn(process.execPath, args(command, workspace), { ...how, stdio: ['ignore', 'pipe', 'pipe'] });
      started.push(child);
      return child;
    },
    run: (command, at = workspace) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, args(command, at), { ...how, encoding: 'utf8', timeout: 120_000 });
      return { code: status, out: stdout, err: stderr };
    },
  };
}

const left = 'echo "rm -rf ~" > .envrc; echo ready; exec sleep 1000';

/** Until the command has left something at a protected name, and says so. */
async function untilLeft(child: ChildProcess): Promise<void> {
  assert.ok(child.stdout);
  const [said] = (await Promise.race([once(child.stdout, 'data'), once(child, 'close')])) as [unknown];
  assert.equal(String(said), 'ready\n');
}

/** The child of `parent` that runs `name`. */
function childOf(parent: number, name: string): number {
  const found = readdirSync('/proc').find((pid) => /^\d+$/.test(pid) && statOf(pid).startsWith(`${name} ${parent}`));
  assert.ok(found, `${name} of ${parent}`);
  return Number(found);
}

/** Its name, and the parent's number; '': it has ended. */
function statOf(pid: string): string {
  try {
    const [, name, state, parent] = /^\d+ \((.*)\) (\S+) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
    if (state === 'Z') return '';
    return `${name ?? ''} ${parent ?? ''}`;
  } catch {
    return '';
  }
}

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = '';
  for await (const part of stream ?? []) all += String(part);
  return all;
}

/** What was at a protected name lies in the quarantine, and nothing says that the folder is in use. */
function assertPutAway(one: Place): void {
  assert.equal(existsSync(join(one.workspace, '.envrc')), false);
  const quarantine = join(one.workspace, '.nemoclaw-quarantine');
  const [inside = ''] = readdirSync(quarantine).filter((name) => name !== '.gitignore');
  assert.equal(readFileSync(join(quarantine, inside, '.envrc'), 'utf8'), 'rm -rf ~\n');
  assert.equal(readFileSync(join(one.workspace, 'own'), 'utf8'), 'mine');
  assert.deepEqual(readdirSync(one.manifests), []);
}

describe('openshell run', { skip: process.getuid?.() === 0 ? false : 'needs root, to be any user' }, () => {
  for (const [who, name, spec, helper] of [
    [undefined, 'root', asking, 'openshelld'],
    [person, 'a plain user', plain, 'openshell-launc'],
    [person, 'a plain user', asking, 'openshelld'],
  ] as const) {
    test(`as ${name}, with ${helper} killed: the workspace is checked and the person is told`, async () => {
      const one = place(spec, who);
      const child = one.start(left);
      const said = text(child.stderr);
      const closed = once(child, 'close');
      await untilLeft(child);
      process.kill(childOf(child.pid ?? -1, helper), 'SIGKILL');
      const [code] = await closed;
      const err = await said;
      assert.equal(code, 137, err);
      assert.match(err, /ended before it had checked the workspace; it was checked now\n[^]*new \.envrc: moved away/);
      assertPutAway(one);
      const next = one.run('ls -A');
      assert.deepEqual([next.code, next.out], [0, '.nemoclaw-quarantine\nown\n'], next.err);
    });

    test(`as ${name}, with the command line killed: ${helper} ends the command and checks the workspace`, async () => {
      const one = place(spec, who);
      const child = one.start(left);
      await untilLeft(child);
      const watching = String(childOf(child.pid ?? -1, helper));
      child.kill('SIGKILL');
      // The pipe of its output ends with the last process that has it.
      await once(child, 'close');
      while (statOf(watching).startsWith(helper)) await setTimeout(20);
      assert.equal(one.run('ls -A').out, '.nemoclaw-quarantine\nown\n');
      assertPutAway(one);
    });

    test(`as ${name}, with ${helper} killed together with the command line: the next start checks first`, async () => {
      const one = place(spec, who);
      const child = one.start(left);
      await untilLeft(child);
      const watching = childOf(child.pid ?? -1, helper);
      child.kill('SIGSTOP');
      process.kill(watching, 'SIGKILL');
      child.kill('SIGKILL');
      await once(child, 'close');
      assert.equal(readdirSync(one.manifests).length, 1);
      const { code, out, err } = one.run('ls -A .envrc; echo fine');
      assert.deepEqual([code, out], [0, 'fine\n'], err);
      assert.match(err, /an earlier command in .* was killed together with what watched over it; the folder was checked now\n[^]*new \.envrc: moved away/);
      assertPutAway(one);
    });
  }

  test('a check that cannot be made is an error with a code, and so is every start in the folder until somebody has looked', async () => {
    const one = place(plain, person);
    const child = one.start(left);
    const err = text(child.stderr);
    const closed = once(child, 'close');
    await untilLeft(child);
    const [name = ''] = readdirSync(one.manifests);
    writeFileSync(join(one.manifests, name), '{');
    process.kill(childOf(child.pid ?? -1, 'openshell-launc'), 'SIGKILL');
    assert.deepEqual(await closed, [1, null]);
    assert.match(await err, /was not checked\.[^]*then remove .*\.json[^]*NEMO_E_UNCHECKED/);
    assert.equal(existsSync(join(one.workspace, '.envrc')), true);
    const again = one.run('echo started');
    assert.deepEqual([again.code, again.out], [1, '']);
    assert.match(again.err, /NEMO_E_UNCHECKED/);
    rmSync(join(one.manifests, name));
    assert.equal(one.run('echo started').out, 'started\n');
  });

  test('a folder that was renamed meanwhile is still checked first, one that is gone is said, and another folder is not held up', async () => {
    const one = place(plain, person);
    const child = one.start(left);
    await untilLeft(child);
    const watching = childOf(child.pid ?? -1, 'openshell-launc');
    child.kill('SIGKILL');
    process.kill(watching, 'SIGKILL');
    await once(child, 'close');
    const moved = join(one.workspace, '../moved');
    const other = join(one.workspace, '../other');
    renameSync(one.workspace, moved);
    mkdirSync(other);
    chownSync(other, person.uid, person.gid);
    assert.equal(one.run('echo started', other).out, 'started\n');
    const above = one.run('echo started', join(one.workspace, '..'));
    assert.deepEqual([above.code, above.out], [1, '']);
    assert.match(above.err, /NEMO_E_UNCHECKED/);
    const same = one.run('ls -A .envrc; echo started', moved);
    assert.deepEqual([same.code, same.out], [0, 'started\n'], same.err);
    assert.match(same.err, /new \.envrc: moved away/);
    assert.deepEqual(readdirSync(one.manifests), []);
  });

  test('where it cannot be kept that the folder is in use, nothing starts', () => {
    const one = place(plain, undefined);
    const { code, out, err } = one.run('echo started', join(one.workspace, '../..'));
    assert.deepEqual([code, out], [1, ''], err);
    assert.match(err, /It lies in the workspace[^]*NEMO_E_WORKSPACE/);
  });
});

test('createSandbox: with openshelld killed the workspace is checked before the sandbox has ended, and its events say so', { skip: process.getuid?.() === 0 ? false : 'needs root' }, async () => {
  const workspace = mkdtempSync(join(tmpdir(), 'openshell-use-'));
  folders.push(workspace);
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: use }\nspec: { ${plain} }\n`, 'policy.yaml');
  const sandbox = await createSandbox(policy, { workspace });
  const command = await sandbox.exec(['/bin/sh', '-c', left]);
  assert.equal(String((await once(command.stdout, 'data'))[0]), 'ready\n');
  process.kill(childOf(process.pid, 'openshelld'), 'SIGKILL');
  assert.deepEqual(await command.exited, { code: null, signal: 'SIGKILL' });
  assert.equal(await sandbox.ended, 'openshelld ended');
  assert.equal(existsSync(join(workspace, '.envrc')), false);
  const found: string[] = [];
  for await (const event of sandbox.events()) if (event.class === 'detectionFinding') found.push(event.message);
  assert.deepEqual(found.slice(0, 2), ['openshelld ended before it had checked the workspace; it was checked now', 'new .envrc: moved away']);
  await sandbox.destroy();
});
