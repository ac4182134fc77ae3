/** What a policy says of answers reaches the compiled policy as it was said; what it cannot mean is an error at its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNetworkPolicy, NemoError, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy } from './compile.ts';

const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
const policyOf = (inspection: string): string => `networkPolicy:\n  name: t\n  egress: { allow: [{ domain: api.test }] }\n  inspection:\n${inspection}`;
const compiled = (inspection: string) => compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(policyOf(inspection), 'n.yaml'), role: '' }, 1).network.inspection;

test('`responses` says whether answers are searched, or what happens to each class in them', () => {
  assert.deepEqual(compiled('    responses: { actions: { credit-card: block, email: redact, default: log } }\n').responses, { actions: { 'credit-card': 'block', email: 'redact', default: 'log' } });
  assert.equal(compiled('    responses: true\n').responses, true);
  assert.equal(compiled('    responses: false\n').responses, false);
  assert.equal('responses' in compiled('    scanForPII: true\n'), false);
  for (const bad of ['    responses: { actions: { card: block } }\n', '    responses: { actions: { email: hide } }\n', '    responses: {}\n', '    responses: sometimes\n', '    scanForPII: false\n    responses: { actions: {} }\n'])
    assert.throws(() => compiled(bad), (error) => error instanceof NemoError && error.where?.file === 'n.yaml' && error.where.line >= 5, bad);
});
