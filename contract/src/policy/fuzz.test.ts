/** Whatever a policy file says, loading it gives a policy or one NemoError with a place; never anything else. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkHost, loadNetworkPolicy, loadSandboxPolicy, NemoError, unenforced } from '../index.ts';

const vectors = new URL('../../vectors/policy/', import.meta.url);
const files = [...['openshell-policy.yaml', 'network-policy.yaml'].map((name) => new URL(name, vectors)), ...readdirSync(new URL('openshell/', vectors)).map((name) => new URL(`openshell/${name}`, vectors))];
const full = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: all }
spec:
  isolation: { network: open, filesystem: ephemeral, syscalls: permissive }
  resources: { maxMemory: 512Mi, maxCPU: 0.5, gpuAccess: full, maxPids: 64, maxOpenFiles: 256, maxDisk: 1Gi, timeout: 15m }
  filesystem: { readOnly: [/usr], readWrite: [/workspace/out/**], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod, on: [delete, write] }], labels: [{ path: /workspace/hr, level: restricted }] }
  process: { exec: { allow: [/usr/bin/**], escalate: [/usr/bin/ssh] }, user: 10001 }
  syscalls: { allow: [ptrace], deny: [link], escalate: [kill] }
  mode: monitor
  requires: [tier-b]
  enforcement: best-effort
`;
const texts = [...files.map((file) => readFileSync(file, 'utf8')), full];

function survives(text: string): void {
  for (const load of [loadSandboxPolicy, loadNetworkPolicy]) {
    try {
      const policy = load(text, 'f.yaml');
      if (!('spec' in policy)) continue;
      for (const tier of ['A', 'B', 'C'] as const) {
        unenforced(policy, { tier });
        checkHost(policy, { tier });
      }
    } catch (error) {
      assert.ok(error instanceof NemoError, `${String(error)}\n${text}`);
      assert.ok(error.where !== undefined && error.where.line >= 1 && error.where.column >= 1, `${error.message}\n${text}`);
    }
  }
}

const word = fc.oneof(
  fc.constantFrom('', '~', '{}', '[]', '-1', '1e999', '.nan', '0x10', 'true', '"*"', '/**', '/', '/..', '/a//b', '/workspace/../etc', '*a', '&a', '!!js x', '? [a]', '__proto__', 'constructor', '\u0000', '\u202e', '9007199254740993', '99999999999999999999Gi', '0s', '1y', 'null', '- - -', '|', '>', '---', '...', '%YAML'),
  fc.string({ maxLength: 12 }),
);
/** Replaces, repeats or removes a run of characters, or a whole word. */
const edit = fc.record({ at: fc.nat(4000), length: fc.nat(40), word, words: fc.boolean() });

test('edited examples: a policy or one NemoError with its place', () => {
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(edit, { minLength: 1, maxLength: 4 }), (text, edits) => {
      let now = text;
      for (const { at, length, word: put, words } of edits) {
        const start = at % Math.max(1, now.length);
        const from = words ? Math.max(0, now.lastIndexOf(' ', start)) + 1 : start;
        const to = words ? [...now.slice(from).matchAll(/[ ,\n}\]]/g)].map((m) => from + m.index).at(0) ?? now.length : from + length;
        now = now.slice(0, from) + put + now.slice(to);
      }
      survives(now);
    }),
    { numRuns: 800, seed: 11 },
  );
});

test('any text: a policy or one NemoError with its place', () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), survives), { numRuns: 400, seed: 12 });
  fc.assert(fc.property(fc.json(), survives), { numRuns: 200, seed: 13 });
  for (const top of ['version: 1\nfilesystem_policy: ', 'version: 1\nnetwork_policies: ', 'kind: SandboxPolicy\nspec: ']) fc.assert(fc.property(fc.json(), (text) => survives(top + text)), { numRuns: 200, seed: 14 });
});
