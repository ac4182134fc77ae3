/** Hostile threads in a plain user's sandbox against what openshelld does there: what a person was not asked about is never touched. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildNative } from './native-build.ts';
import { assertRace, buildHostile, raceCommand, raceRounds, races } from './openshelld-test-races.ts';

const person = { uid: 65533, gid: 65533 };
const folder = mkdtempSync(join(tmpdir(), 'openshell-races-'));

/** Runs as the person: denies every question, prints what each race printed. */
const program = (workspace: string, { on, program: name, ways }: (typeof races)[number]): string => `
import { loadSandboxPolicy } from ${JSON.stringify(new URL('../../../contract/src/index.ts', import.meta.url).href)};
import { createSandbox } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\\nkind: SandboxPolicy\\nmetadata: { name: raced }\\nspec: { isolation: { filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [${on}] }] } }\\n', 'raced.yaml');
await using sandbox = await createSandbox(policy, { workspace: ${JSON.stringify(workspace)}, approver: async (request) => ({ verdict: 'deny', approvalId: request.holdId, by: 'ann', reason: 'no' }) });
const out = { tier: sandbox.tier };
for (const [way, command] of ${JSON.stringify(ways.map((way) => [way, raceCommand(name, way)]))}) {
  const { stdout, stderr } = await (await sandbox.exec(['/bin/sh', '-c', command])).output();
  out[way] = stdout + stderr;
}
console.log(JSON.stringify(out));
`;

before(() => {
  buildNative('openshelld', 'openshell-shim', 'binding.node');
  chmodSync(folder, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const race of races) {
  test(`a hostile thread of a plain user’s sandbox wins 0 of ${raceRounds} by each way, where ${race.on} is asked about`, { skip: process.getuid?.() === 0 ? false : 'needs root, to be any user', timeout: 900_000 }, (t) => {
    const name = race.program;
    const workspace = join(folder, name);
    for (const path of ['', 'ok', 'prod']) {
      mkdirSync(join(workspace, path));
      chownSync(join(workspace, path), person.uid, person.gid);
    }
    writeFileSync(join(workspace, 'prod/f'), 'f');
    chownSync(join(workspace, 'prod/f'), person.uid, person.gid);
    buildHostile(name, workspace);
    writeFileSync(join(folder, `${name}.ts`), program(workspace, race));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, `${name}.ts`)], { encoding: 'utf8', cwd: folder, ...person });
    assert.equal(status, 0, stderr);
    const { tier, ...raced } = JSON.parse(stdout) as Record<string, string>;
    assert.equal(tier, 'C');
    for (const way of race.ways) {
      t.diagnostic(`${way}: ${raced[way]?.trim()}`);
      assertRace(way, raced[way] ?? '');
    }
  });
}
