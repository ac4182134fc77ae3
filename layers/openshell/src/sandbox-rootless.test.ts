/** The API for programs, for a plain user: openshelld and its shims under that user's own uid. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildNative } from './native-build.ts';

/** Another person than that of the tests that run at the same time: what this one leaves is looked for by the uid. */
const person = { uid: 65531, gid: 65531 };
const root = process.getuid?.() === 0 ? {} : { skip: 'needs root, to be any user' };
const folder = mkdtempSync(join(tmpdir(), 'openshell-api-rootless-'));
const workspace = join(folder, 'work');
const state = join(folder, 'state');

/** Runs in a process of the person: makes a sandbox, lets a script ask, and prints what it saw as JSON. */
const program = `
import { loadSandboxPolicy } from ${JSON.stringify(new URL('../../../contract/src/index.ts', import.meta.url).href)};
import { createSandbox } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\\nkind: SandboxPolicy\\nmetadata: { name: plain }\\nspec: { isolation: { filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, rename] }] } }\\n', 'plain.yaml');
const asked = [];
const approver = {
  ask: async (request) => (asked.push(request.summary), request.summary.endsWith('/prod/a') ? { verdict: 'allow', approvalId: '1', by: 'ann' } : { verdict: 'deny', approvalId: '2', by: 'ann', reason: 'no' }),
  consumeGrant: async () => false,
  pending: () => undefined,
};
const sandbox = await createSandbox(policy, { workspace: ${JSON.stringify(workspace)}, approver });
const command = await sandbox.exec(['/bin/sh', '-c', 'rm prod/a; rm prod/b; mv prod/b c; touch mine; rm mine; id -u']);
const output = await command.output();
const counted = await sandbox.counts().catch(({ code, message }) => [code, message]);
await sandbox.destroy();
console.log(JSON.stringify({ counted, tier: sandbox.tier, notes: sandbox.notes, probe: sandbox.probe, asked, output }));
`;

before(() => {
  buildNative('openshelld', 'openshell-shim', 'binding.node');
  chmodSync(folder, 0o755);
  mkdirSync(join(workspace, 'prod'), { recursive: true });
  for (const name of ['a', 'b']) writeFileSync(join(workspace, 'prod', name), name);
  mkdirSync(state);
  for (const path of [state, ...['.', 'prod', 'prod/a', 'prod/b'].map((name) => join(workspace, name))]) chownSync(path, person.uid, person.gid);
  writeFileSync(join(folder, 'program.ts'), program);
});
after(() => rmSync(folder, { recursive: true, force: true }));

test('a plain user’s sandbox asks, and what is approved is done as that user, nothing else', root, async () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'program.ts')], { encoding: 'utf8', cwd: folder, timeout: 300_000, env: { ...process.env, XDG_STATE_HOME: state }, ...person });
  assert.equal(status, 0, stderr);
  const seen = JSON.parse(stdout) as { counted: unknown; tier: string; notes: string[]; probe: Record<string, boolean>; asked: string[]; output: { code: number; stdout: string } };
  assert.equal(seen.tier, 'C');
  assert.ok(Object.values(seen.probe).length > 20 && Object.values(seen.probe).every(Boolean));
  assert.match(seen.notes.join('\n'), /system calls are not counted/);
  assert.deepEqual(seen.counted, ['NEMO_E_STATE', 'The system calls of this sandbox are not counted.']);
  assert.deepEqual(seen.asked.map((summary) => summary.replace(/^\S+ \(pid \d+\) /, '')), ['wants to delete /workspace/prod/a', 'wants to delete /workspace/prod/b', 'wants to rename /workspace/prod/b to /workspace/c']);
  assert.equal(seen.output.stdout, `${person.uid}\n`);
  assert.deepEqual(readdirSync(join(workspace, 'prod')), ['b']);
  assert.equal(readFileSync(join(workspace, 'prod/b'), 'utf8'), 'b');
  assert.equal(existsSync(join(workspace, 'mine')), false);
  // openshelld sees by itself that its program has ended.
  const left = (): string[] => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && owner(pid) === person.uid && /openshell/.test(commandOf(pid)));
  for (const end = Date.now() + 60_000; left().length > 0 && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(left().map(commandOf), []);
});

/** A policy that only watches, of the same person. */
const watching = `
import { loadSandboxPolicy } from ${JSON.stringify(new URL('../../../contract/src/index.ts', import.meta.url).href)};
import { createSandbox } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\\nkind: SandboxPolicy\\nmetadata: { name: watched }\\nspec: { mode: monitor, isolation: { filesystem: workspace, syscalls: standard }, filesystem: { deny: [/workspace/keys/**, /usr/bin/true] } }\\n', 'watched.yaml');
const sandbox = await createSandbox(policy, { workspace: ${JSON.stringify(workspace)} });
const told = [];
const reading = (async () => {
  for await (const event of sandbox.events()) if (event.verdict === 'observe') told.push([event.data.would, event.data.op, event.data.path, event.data.rule.id].join(' '));
})();
const output = await (await sandbox.exec(['/bin/sh', '-c', 'cat keys/k; echo new >keys/n; /usr/bin/true && rm keys/n; id -u'])).output();
await sandbox.destroy();
await reading;
console.log(JSON.stringify({ told, output }));
`;

test('a plain user’s policy that only watches lets through what it would deny, and records it', root, () => {
  mkdirSync(join(workspace, 'keys'));
  writeFileSync(join(workspace, 'keys/k'), 'k\n');
  for (const path of ['keys', 'keys/k']) chownSync(join(workspace, path), person.uid, person.gid);
  writeFileSync(join(folder, 'watching.ts'), watching);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'watching.ts')], { encoding: 'utf8', cwd: folder, timeout: 300_000, env: { ...process.env, XDG_STATE_HOME: state }, ...person });
  assert.equal(status, 0, stderr);
  const seen = JSON.parse(stdout) as { told: string[]; output: { code: number; stdout: string; stderr: string } };
  assert.equal(seen.output.stdout, `k\n${person.uid}\n`, seen.output.stderr);
  assert.deepEqual([...new Set(seen.told)], ['deny read /workspace/keys/k filesystem.deny[0]', 'deny create /workspace/keys/n filesystem.deny[0]', 'deny exec /usr/bin/true filesystem.deny[1]', 'deny delete /workspace/keys/n filesystem.deny[0]']);
});

function owner(pid: string): number {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch {
    return -1;
  }
}
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}
