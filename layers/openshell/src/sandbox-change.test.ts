/** What may change while a sandbox of tier A runs: questions in any way, rules on files to more denied and back; elsewhere neither. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSandboxPolicy, type LaunchPlan } from '@nemoclaw/contract';
import { planFor } from './plan-for.ts';
import { readHostFacts } from './host-facts.ts';
import { checkLiveChange } from './sandbox-change.ts';

const facts = readHostFacts({ nodeBinary: null });
function plan(tier: 'A' | 'B', filesystem: string, more = ''): LaunchPlan {
  const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: change }\nspec: { isolation: { network: none, filesystem: workspace }, filesystem: { ${filesystem} }${more} }\n`, 'change.yaml');
  return planFor(policy, { ...facts, tier }, { hasWorkspace: true });
}
const made = 'readOnly: [/workspace/ro/**], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete] }]';
const refused = (tier: 'A' | 'B', next: string, more = ''): string => {
  try {
    checkLiveChange(plan(tier, made), plan(tier, next, more));
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

test('in tier A questions change in any way, and files may be denied that were not', () => {
  for (const next of [
    made,
    made.replace('on: [delete]', 'on: [delete, rename, write, create, read]'),
    made.replace('/workspace/prod/**', '/workspace/other/**'),
    made.replace(/, escalate.*/, ''),
    made.replace('deny: [', 'deny: [/workspace/a/b/**, /workspace/file, /usr/share/doc/**, '),
    made.replace('readOnly: [', 'readOnly: [/workspace/src/**, '),
    made.replace('readOnly: [/workspace/ro/**], deny: [', 'deny: [/workspace/ro/**, '),
  ]) assert.equal(refused('A', next), '', next);
});

test('in tier A nothing may be done that the sandbox was made without', () => {
  for (const next of [made.replace('deny: [/workspace/keys/**], ', ''), made.replace('/workspace/ro/**', '/workspace/ro/deep/**'), made.replace('deny: [/workspace/keys/**]', 'readOnly: [/workspace/keys/**]').replace('readOnly: [/workspace/ro/**], ', '')]) {
    assert.match(refused('A', next), /filesystem \(more than at the start, at \/workspace\/(keys|ro)/, next);
  }
  assert.match(refused('A', made, ', process: { exec: { allow: [/usr/bin/dash] } }'), /process\.exec/);
  assert.match(refused('A', made, ', syscalls: { deny: [socket] }'), /syscalls/);
  assert.match(refused('A', `${made}, protect: off`), /filesystem/);
});

test('in tier B files stay as they were', () => {
  assert.equal(refused('B', made), '');
  assert.match(refused('B', made.replace('deny: [', 'deny: [/workspace/a/**, ')), /: filesystem\.$/);
  assert.match(refused('B', made.replace('on: [delete]', 'on: [write]')), /filesystem/);
});
