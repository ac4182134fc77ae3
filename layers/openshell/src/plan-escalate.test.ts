/** The plan's part for what a person is asked about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadSandboxPolicy, type LaunchPlan } from '@nemoclaw/contract';
import type { HostFacts } from './host-facts.ts';
import { planFor, type PlanOptions } from './plan-for.ts';

const host: HostFacts = { bindRoots: ['/usr', '/opt'], nodeFolder: null, usrLinks: ['bin', 'lib'], timeZone: null };
function plan(filesystem: string, options: Partial<PlanOptions> = {}): LaunchPlan {
  const text = `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { isolation: { filesystem: workspace }, filesystem: { ${filesystem} } }\n`;
  return planFor(loadSandboxPolicy(text, 't.yaml'), host, { hasWorkspace: true, ...options });
}
const steps = (p: LaunchPlan): unknown[] => p.view.filter((s) => ['twin', 'pin', 'freeze'].includes(s.do) || (s.do === 'mask' && s.path.startsWith('/workspace')));

test('deleting and renaming alone lock nothing', () => {
  const p = plan('escalate: [{ path: /workspace/prod/**, on: [delete, rename] }]');
  assert.deepEqual([p.locks, steps(p)], [[], []]);
});

test('a folder in which writing is asked about is read-only, its parents are pinned, its twin is taken before', () => {
  const p = plan('escalate: [{ path: /workspace/a/prod/**, on: [write] }, { path: /workspace/a/prod/**, on: [delete] }]');
  assert.deepEqual(p.locks, [{ path: '/workspace/a/prod', hidden: false }]);
  assert.deepEqual(steps(p), [
    { do: 'pin', path: '/workspace/a' },
    { do: 'twin', path: '/workspace/a/prod', as: 'writable', missing: 'create-dir' },
    { do: 'freeze', path: '/workspace/a/prod' },
  ]);
  assert.deepEqual(p.escalate.map((rule) => rule.on), [['write'], ['delete']]);
  assert.notEqual(p.seccomp.filter, plan('escalate: [{ path: /workspace/a/prod/**, on: [delete] }]').seccomp.filter);
});

test('where reading is asked about the place is out of sight, and nothing of what lies in it is locked again', () => {
  const p = plan('escalate: [{ path: /workspace/s/**, on: [read] }, { path: /workspace/s/in/**, on: [write] }, { path: /workspace/file, on: [create] }]');
  assert.deepEqual(p.locks, [{ path: '/workspace/file', hidden: false }, { path: '/workspace/s', hidden: true }, { path: '/workspace/s/in', hidden: true }]);
  assert.deepEqual(steps(p), [
    { do: 'pin', path: '/workspace/s' },
    { do: 'twin', path: '/workspace/file', as: 'writable', missing: 'create-file' },
    { do: 'twin', path: '/workspace/s', as: 'view', missing: 'skip' },
    { do: 'twin', path: '/workspace/s', as: 'writable', missing: 'create-dir' },
    { do: 'twin', path: '/workspace/s', as: 'read-only', missing: 'skip' },
    { do: 'twin', path: '/workspace/s/in', as: 'writable', missing: 'create-dir' },
    { do: 'twin', path: '/workspace/s/in', as: 'read-only', missing: 'skip' },
    { do: 'freeze', path: '/workspace/file' },
    { do: 'mask', path: '/workspace/s', missing: 'skip' },
  ]);
});

test('where nobody can be asked, a place is read-only or out of sight, with a note', () => {
  const p = plan('escalate: [{ path: /workspace/p/**, on: [write] }, { path: /workspace/s/**, on: [read] }]', { escalations: 'refuse' });
  assert.deepEqual([p.escalate, p.locks], [[], []]);
  assert.deepEqual(steps(p), [{ do: 'freeze', path: '/workspace/p', missing: 'create-dir' }, { do: 'mask', path: '/workspace/s', missing: 'create-dir' }]);
  assert.equal(p.notes.filter((note) => note.includes('nobody can be asked')).length, 2);
});

test('calls that wait by their name are a rule of their own, also where the kernel asks about files', () => {
  const text = 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec: { isolation: { filesystem: workspace }, syscalls: { escalate: [kill, mkdir] } }\n';
  const p = planFor(loadSandboxPolicy(text, 't.yaml'), host, { hasWorkspace: true });
  assert.deepEqual(p.escalate, [{ path: '/', on: ['call'], calls: [{ name: 'kill', nr: 62, args: 2, goesOn: true }, { name: 'mkdir', nr: 83, args: 0, goesOn: false }] }]);
  assert.notEqual(p.seccomp.filter, plan('escalate: []').seccomp.filter);
});

test('more places than can be kept apart are an error', () => {
  const many = Array.from({ length: 9 }, (_, i) => `{ path: /workspace/d${i}/**, on: [create] }`).join(', ');
  assert.throws(() => plan(`escalate: [${many}]`), { code: 'NEMO_E_PLAN_PATH' });
});
