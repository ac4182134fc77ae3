/** Hostile threads in a plain user's sandbox against what openshelld does there: what a person did not allow is never touched. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildNative } from './native-build.ts';
import { buildTestProgram } from './openshelld-test-program.ts';
import { assertRace, pictureOf, raceCommand, raceRounds, races } from './openshelld-test-races.ts';

/** Another person than that of the tests that run at the same time. */
const person = { uid: 65532, gid: 65532 };
const folder = mkdtempSync(join(tmpdir(), 'openshell-races-'));

/** Runs as the person: denies every question; prints the tier, and what each command printed under its name. */
const program = (workspace: string, on: string, commands: readonly (readonly [name: string, command: string])[]): string => `
import { loadSandboxPolicy } from ${JSON.stringify(new URL('../../../contract/src/index.ts', import.meta.url).href)};
import { createSandbox } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\\nkind: SandboxPolicy\\nmetadata: { name: raced }\\nspec: { isolation: { filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [${on}] }] } }\\n', 'raced.yaml');
await using sandbox = await createSandbox(policy, { workspace: ${JSON.stringify(workspace)}, approver: async (request) => ({ verdict: 'deny', approvalId: request.holdId, by: 'ann', reason: 'no' }) });
const out = { tier: sandbox.tier };
for (const [name, command] of ${JSON.stringify(commands)}) {
  const { stdout, stderr } = await (await sandbox.exec(['/bin/sh', '-c', command])).output();
  out[name] = stdout + stderr;
}
console.log(JSON.stringify(out));
`;

/** A workspace of the person with a hostile program, ok/ and prod/; its path. */
function workspaceWith(name: string): string {
  const workspace = join(folder, name);
  for (const path of ['', 'ok', 'prod']) mkdirSync(join(workspace, path));
  writeFileSync(join(workspace, 'prod/f'), 'f');
  for (const path of ['', 'ok', 'prod', 'prod/f']) chownSync(join(workspace, path), person.uid, person.gid);
  buildTestProgram(name, workspace);
  return workspace;
}

/** What each command printed in the person's sandbox. */
function printed(workspace: string, on: string, commands: Parameters<typeof program>[2]): Record<string, string> {
  const state = `${workspace}-state`;
  mkdirSync(state);
  chownSync(state, person.uid, person.gid);
  writeFileSync(`${workspace}.ts`, program(workspace, on, commands));
  const { status, stdout, stderr } = spawnSync(process.execPath, [`${workspace}.ts`], { encoding: 'utf8', cwd: folder, env: { ...process.env, XDG_STATE_HOME: state }, ...person });
  assert.equal(status, 0, stderr);
  const { tier, ...out } = JSON.parse(stdout) as Record<string, string>;
  assert.equal(tier, 'C');
  return out;
}

before(() => {
  buildNative('openshelld', 'openshell-shim', 'binding.node');
  chmodSync(folder, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const asRoot = { skip: process.getuid?.() === 0 ? false : 'needs root, to be any user', timeout: 900_000 };

for (const { on, program: name, ways } of races) {
  test(`a hostile thread of a plain user’s sandbox wins 0 of ${raceRounds} by each way, where ${on} is asked about`, asRoot, (t) => {
    const out = printed(workspaceWith(name), on, ways.map((way) => [way, raceCommand(name, way)]));
    for (const way of ways) {
      t.diagnostic(`${way}: ${out[way]?.trim()}`);
      assertRace(way, out[way] ?? '');
    }
  });
}

test('random calls, bad pointers and dying tasks of a plain user’s sandbox change nothing that is asked about, and openshelld goes on', asRoot, (t) => {
  const workspace = workspaceWith('fuzz-calls');
  const before = pictureOf(join(workspace, 'prod'));
  const seed = Number(process.env['FUZZ_SEED'] ?? 20_251_122);
  // What is not asked about is the agent's to spoil, its workspace's own mode too.
  const out = printed(workspace, 'write, create, delete, rename', [
    ['fuzzed', `echo x > ok/f; ln -s loop ok/loop; ./fuzz-calls ${seed} 5000; chmod 755 /workspace`],
    ['after', 'mkdir after && echo fine > after/f && cat after/f && rm -r after'],
  ]);
  t.diagnostic(`seed ${seed}: ${out['fuzzed']?.trim()}`);
  assert.match(out['fuzzed'] ?? '', /^made=[1-9]\d{2,}$/m);
  assert.equal(pictureOf(join(workspace, 'prod')), before);
  assert.equal(out['after'], 'fine\n');
});
