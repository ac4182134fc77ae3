/** Which rules a policy becomes in tier A. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSandboxPolicy, type LsmPlan, type LsmRule } from '@nemoclaw/contract';
import { planFor } from './plan-for.ts';

const host = { bindRoots: ['/usr', '/opt'], nodeFolder: null, usrLinks: ['bin'], timeZone: null, tier: 'A' } as const;

function planOf(spec: string, tier: 'A' | 'B' = 'A') {
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: p }\nspec: { isolation: { network: none, filesystem: workspace }, ${spec} }\n`, 'p.yaml');
  return planFor(policy, { ...host, tier }, { hasWorkspace: true });
}

/** The rule that the kernel would find: the nearest by path. */
function at(lsm: LsmPlan | null, path: string): LsmRule {
  const found = lsm?.rules.filter((one) => one.path === '/' || path === one.path || path.startsWith(`${one.path}/`)).sort((a, b) => b.path.length - a.path.length)[0];
  assert.ok(found);
  return found;
}

test('outside tier A there are none, and deletions are asked about by other means', () => {
  const plan = planOf('filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete, write] }] }', 'B');
  assert.equal(plan.lsm, null);
  assert.deepEqual(plan.locks, [{ path: '/workspace/prod', hidden: false }]);
});

test('the nearest rule says all that holds: what lies above it and what is asked, too', () => {
  const { lsm, escalate, landlock, locks } = planOf('filesystem: { readOnly: [/workspace/ro/**], deny: [/workspace/ro/x/**], escalate: [{ path: /workspace/a/prod/**, on: [delete, rename, write] }] }');
  assert.deepEqual(escalate, [{ path: '/workspace/a/prod', on: ['delete', 'rename', 'write'] }]);
  assert.deepEqual(at(lsm, '/workspace/y').deny, []);
  assert.deepEqual(at(lsm, '/usr/bin/env').deny, ['write', 'create', 'delete', 'rename']);
  assert.deepEqual(at(lsm, '/workspace/ro/y').deny, ['write', 'create', 'delete', 'rename']);
  assert.ok(at(lsm, '/workspace/ro/x/y').deny.includes('read'));
  assert.deepEqual(at(lsm, '/workspace/a/prod/db').ask, ['delete', 'rename', 'write']);
  assert.equal(at(lsm, '/workspace/a/prod/db').escalate, 0);
  // The folder above can be moved only after a question; what else is in it is free.
  assert.deepEqual([at(lsm, '/workspace/a').ask, at(lsm, '/workspace/a').askSelf], [[], ['rename']]);
  assert.deepEqual(locks, [], 'nothing is locked');
  const unasked = planOf('requires: []');
  assert.deepEqual(landlock.rules, unasked.landlock.rules, 'Landlock withholds nothing');
});

test('every named rule has a rule for its folder', () => {
  const { lsm } = planOf('filesystem: { deny: [/workspace/a/b/c/d/**], escalate: [{ path: /tmp/q/r, on: [delete] }] }');
  const rules = lsm?.rules ?? [];
  const named = rules.filter((one) => one.named);
  assert.ok(named.length >= 6);
  for (const { path } of named) assert.ok(rules.some((one) => one.path === path.slice(0, path.lastIndexOf('/'))), path);
});

test('with named programs nothing else starts or is mapped, files in memory neither', () => {
  const { lsm } = planOf('process: { exec: { allow: [/usr/bin/git, /workspace/tools/**] } }');
  assert.ok(at(lsm, '/usr/bin/env').deny.includes('exec') && at(lsm, '/usr/bin/env').deny.includes('map'));
  assert.deepEqual(at(lsm, '/usr/bin/git').deny.filter((right) => right === 'exec' || right === 'map'), []);
  assert.deepEqual(at(lsm, '/workspace/tools/x').deny, []);
  assert.ok(at(lsm, '/workspace/x').deny.includes('map'));
  assert.deepEqual(lsm?.elsewhere.deny, ['exec', 'map']);
});

test('protected names that fit are prevented in the workspace, but not below node_modules', () => {
  const { lsm } = planOf('filesystem: { protect: { add: [.mine, a-name-that-is-much-too-long-for-the-map] } }');
  for (const name of ['.mine', '.envrc', '.github/agents']) assert.ok(lsm?.protectedNames.includes(name), name);
  assert.ok(!lsm?.protectedNames.includes('a-name-that-is-much-too-long-for-the-map'));
  assert.deepEqual(lsm?.unprotectedFolders, ['node_modules']);
  assert.deepEqual(lsm?.rules.filter((one) => one.protect).map((one) => one.path), ['/workspace']);
  // What is read only where work begins, and what git starts by itself: not its folder, which `git init` makes.
  for (const name of ['.npmrc', '.github/workflows']) assert.ok(lsm?.topNames.includes(name) && !lsm.protectedNames.includes(name), name);
  assert.ok(lsm?.hooks.includes('hooks/pre-commit') && lsm.hooksBelow.includes('.git'));
});

test('there is never more of names in folders than the kernel has bits for', () => {
  const { lsm } = planOf(`filesystem: { protect: { add: [${Array.from({ length: 60 }, (_, i) => `folder${i}/name`).join(', ')}] } }`);
  const pairs = [lsm?.protectedNames, lsm?.topNames, lsm?.hooks].flatMap((list) => list ?? []).filter((name) => name.includes('/'));
  assert.equal(pairs.length, 63);
  assert.ok(lsm?.hooks.includes('hooks/pre-commit'));
});

test('of a policy that only watches the kernel keeps what is no rule of the policy’s own, and asks nobody', () => {
  const rules = 'filesystem: { readOnly: [/workspace/ro/**], deny: [/workspace/x/**], escalate: [{ path: /workspace/prod/**, on: [delete] }] }, process: { exec: { allow: [/usr/bin/git] } }';
  const { lsm, escalate } = planOf(`${rules}, mode: monitor`);
  for (const path of ['/workspace/ro/y', '/workspace/x/y', '/workspace/prod/y']) assert.deepEqual([at(lsm, path).deny, at(lsm, path).ask], [[], []], path);
  assert.deepEqual(lsm?.rules.filter((rule) => rule.ask.length + rule.askSelf.length > 0), []);
  assert.deepEqual(lsm?.elsewhere.deny, []);
  assert.deepEqual(at(lsm, '/usr/bin/env').deny, ['write', 'create', 'delete', 'rename']);
  assert.ok(lsm?.rules.some((rule) => rule.protect) && lsm.protectedNames.includes('.envrc'));
  assert.deepEqual(escalate, planOf(`${rules}, mode: monitor`, 'B').escalate);
});
