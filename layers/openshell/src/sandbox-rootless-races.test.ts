/** Hostile threads in a plain user's sandbox against what openshelld does there: what a person was not asked about is never touched. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildNative } from './native-build.ts';

const person = { uid: 65533, gid: 65533 };
const folder = mkdtempSync(join(tmpdir(), 'openshell-races-'));
const rounds = 3000;

/** What is asked about, the program, and its ways to race. */
const kinds: readonly (readonly [on: string, program: string, ways: readonly string[]])[] = [
  ['delete, rename', 'race', ['flip', 'swap', 'fd']],
  ['write, create', 'race-locks', ['write flip', 'write swap', 'write fd', 'write storm', 'create swap', 'create fd']],
];

/** Runs as the person: denies every question, prints what each race printed. */
const program = (workspace: string, on: string, name: string, ways: readonly string[]): string => `
import { loadSandboxPolicy } from ${JSON.stringify(new URL('../../../contract/src/index.ts', import.meta.url).href)};
import { createSandbox } from ${JSON.stringify(new URL('./index.ts', import.meta.url).href)};
const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\\nkind: SandboxPolicy\\nmetadata: { name: raced }\\nspec: { isolation: { filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [${on}] }] } }\\n', 'raced.yaml');
await using sandbox = await createSandbox(policy, { workspace: ${JSON.stringify(workspace)}, approver: async (request) => ({ verdict: 'deny', approvalId: request.holdId, by: 'ann', reason: 'no' }) });
const out = { tier: sandbox.tier };
for (const way of ${JSON.stringify(ways)}) {
  const { stdout, stderr } = await (await sandbox.exec(['/bin/sh', '-c', \`./${name} \${way} ${rounds}; rm -rf ok link next; mkdir ok\`])).output();
  out[way] = stdout + stderr;
}
console.log(JSON.stringify(out));
`;

before(() => {
  buildNative('openshelld', 'openshell-shim', 'binding.node');
  chmodSync(folder, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const [on, name, ways] of kinds) {
  test(`a hostile thread of a plain user’s sandbox wins 0 of ${rounds} by each way, where ${on} is asked about`, { skip: process.getuid?.() === 0 ? false : 'needs root, to be any user', timeout: 300_000 }, (t) => {
    const workspace = join(folder, name);
    for (const path of ['', 'ok', 'prod']) {
      mkdirSync(join(workspace, path));
      chownSync(join(workspace, path), person.uid, person.gid);
    }
    writeFileSync(join(workspace, 'prod/f'), 'f');
    chownSync(join(workspace, 'prod/f'), person.uid, person.gid);
    const made = spawnSync('gcc', ['-D_GNU_SOURCE', '-O2', '-static', '-pthread', '-Wall', '-Wextra', '-Werror', '-o', join(workspace, name), fileURLToPath(new URL(`../native/tests/${name}.c`, import.meta.url))], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    writeFileSync(join(folder, `${name}.ts`), program(workspace, on, name, ways));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, `${name}.ts`)], { encoding: 'utf8', cwd: folder, ...person });
    assert.equal(status, 0, stderr);
    const { tier, ...raced } = JSON.parse(stdout) as Record<string, string>;
    assert.equal(tier, 'C');
    for (const way of ways) {
      t.diagnostic(`${way}: ${raced[way]?.trim()}`);
      const counts = new Map([...(raced[way] ?? '').matchAll(/(\w+)=(\d+)/g)].map((found) => [found[1], Number(found[2])]));
      assert.equal(counts.get('lost'), 0, `${way}: ${raced[way]}`);
      assert.ok((counts.get('done') ?? 0) > 0, `${way}: nothing was ever done`);
      if (!way.endsWith('storm')) assert.ok((counts.get('refused') ?? 0) > 0, `${way}: the place that is asked about was never met`);
    }
  });
}
