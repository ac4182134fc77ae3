/** What a network policy asks that is not done is said, and is an error where the file itself asks for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNetworkPolicy } from './network.ts';
import { sandboxPolicySchema } from './sandbox.ts';
import { checkHost, unenforced } from './unenforced.ts';

const policy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
const read = (inspection: string) => loadNetworkPolicy(`networkPolicy:\n  name: t\n  inspection: ${inspection}\n`, 'network.yaml');

test('a search of what is not opened is said; where the file asks for both, it does not start', () => {
  const gaps = (inspection: string): number => unenforced(policy, { tier: 'A' }, { network: read(inspection) }).filter((text) => /nothing is searched that goes through TLS/.test(text)).length;
  assert.deepEqual(['{ tlsDecrypt: true, scanForPII: true }', '{ tlsDecrypt: false, scanForPII: false }', '{ tlsDecrypt: false, scanForPII: true }', '{ tlsDecrypt: false }'].map(gaps), [0, 0, 1, 1]);
  assert.throws(() => checkHost(policy, { tier: 'A' }, { network: read('{ tlsDecrypt: false, scanForPII: true }') }), { code: 'NEMO_E_POLICY_NEEDS' });
  assert.doesNotThrow(() => checkHost(policy, { tier: 'A' }, { network: read('{ tlsDecrypt: false }') }));
});
