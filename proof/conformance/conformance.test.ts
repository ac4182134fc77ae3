/** What `explain` says is what the kernel does: generated policies and operations in real sandboxes of the best tier this machine has (in the guest: A). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { buildPrograms, compareAll, shown, type Sums } from './cases.ts';
import { asPlainUser, compare, withDaemon } from './compare.ts';
import { casesOf } from './generate.ts';

const root = process.getuid?.() === 0 ? {} : { skip: 'needs root' };
const seed = 20_261_122;
const guest = process.env['NEMOCLAW_GUEST'] === '1';
/** An emulated machine takes seconds for a sandbox. */
const amount = guest ? { policies: 10, operations: 200 } : { policies: 40, operations: 50 };
/** In nobody's range. */
const plainUid = 64_989;

function judge(sums: Sums, atLeast: number): void {
  assert.deepEqual(sums.disagreements.map(shown), []);
  assert.ok(sums.operations >= atLeast, `${sums.operations} operations of ${sums.policies} policies, ${sums.refused} refused`);
  const verdicts = sums.tier === 'C' ? (['allow', 'deny'] as const) : (['allow', 'deny', 'escalate'] as const);
  for (const verdict of verdicts) assert.ok(sums.verdicts[verdict] > atLeast / 100, `${verdict}: ${sums.verdicts[verdict]}`);
}

test('0 disagreements between explain and the kernel in 2,000 operations', { ...root, timeout: 600_000 }, async (t) => {
  // In tier B the next test asks about starts: there each open of such a sandbox takes a hop more.
  const sums = await compareAll({ seed, ...amount, asked: ['delete', 'rename', 'write', 'create', 'read', 'connect', ...(guest ? (['exec'] as const) : [])], execRules: guest }, withDaemon);
  t.diagnostic(`tier ${sums.tier}: ${sums.operations} operations, ${JSON.stringify(sums.verdicts)}`);
  judge(sums, 2000);
});

test('0 disagreements where a person is asked before programs start', { ...(process.env['NEMOCLAW_GUEST'] === '1' ? { skip: 'for machines without tier A' } : root), timeout: 300_000 }, async (t) => {
  const sums = await compareAll({ seed: seed + 2, policies: 20, operations: 50, asked: ['exec', 'exec', 'delete', 'create', 'read'], execRules: true }, withDaemon);
  t.diagnostic(`tier ${sums.tier}: ${sums.operations} operations, ${JSON.stringify(sums.verdicts)}`);
  judge(sums, 800);
});

test('0 disagreements in 2,000 operations of a plain user, in tier C', { ...root, timeout: 300_000 }, async (t) => {
  const sums = await compareAll({ seed: seed + 1, ...amount, asked: [], execRules: false }, asPlainUser(plainUid));
  t.diagnostic(`tier ${sums.tier}: ${sums.operations} operations, ${JSON.stringify(sums.verdicts)}`);
  judge(sums, 2000);
  assert.equal(sums.tier, 'C');
});

test('0 disagreements in 2,000 operations of a plain user, in tier C, who is asked', { ...root, timeout: 300_000 }, (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), '--seed', String(seed + 3)], { encoding: 'utf8', uid: plainUid, gid: plainUid, env: { HOME: '/', PATH: '/usr/bin:/bin' } });
  t.diagnostic(/^tier .*$/m.exec(stdout)?.[0] ?? stderr);
  assert.equal(status, 0, stdout + stderr);
  const [, operations = '0', verdicts = '{}'] = /^tier C: (\d+) operations of [^{]*({.*})/m.exec(stdout) ?? [];
  assert.ok(Number(operations) >= 2000, stdout);
  for (const count of Object.values(JSON.parse(verdicts) as Record<string, number>)) assert.ok(count > 20, verdicts);
});

test('a wrong explanation would be found: the comparison itself disagrees when the policy is another', { ...root, timeout: 600_000 }, async () => {
  const folder = mkdtempSync('/tmp/conformance-build-');
  try {
    chmodSync(folder, 0o755);
    const built = buildPrograms(folder);
    const [writable] = casesOf({ seed: 5, policies: 1, operations: 50, asked: [], execRules: false });
    assert.ok(writable);
    const other = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: other }\nspec: { isolation: { network: none, filesystem: workspace }, filesystem: { deny: [/workspace/a/**, /workspace/d/**, /workspace/g/**] } }\n', 'other.yaml');
    const { disagreements } = await compare(writable, built, withDaemon, other);
    assert.ok(disagreements.length > 5, String(disagreements.length));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
