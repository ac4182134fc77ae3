/** What `decide` says of a held operation and what `explain` says of the kernel are one resolution: compared over generated policies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyHistory, filesystemLevels, sandboxPolicySchema, unlabelled, type FileOp } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { explain } from '@nemoclaw/openshell';

const folders = ['/workspace', '/workspace/a', '/workspace/a/b', '/workspace/keys', '/data', '/srv/x', '/usr/bin', '/bin', '/opt/tool', '/etc/ssl', '/tmp', '/tmp/t', '/var/tmp/t', '/home/agent', '/home/agent/.ssh', '/run/y', '/dev/shm/z'];
const below = ['', '/f', '/b', '/b/c', '/sh'];
const pattern = fc.tuple(fc.constantFrom(...folders), fc.boolean()).map(([path, all]) => (all ? `${path}/**` : path));
const list = (max: number): fc.Arbitrary<string[]> => fc.array(pattern, { maxLength: max });
const ops = ['read', 'write', 'create', 'delete', 'exec', 'connect'] as const satisfies readonly FileOp[];
const spec = fc.record({
  isolation: fc.record({ filesystem: fc.constantFrom(...filesystemLevels) }),
  filesystem: fc.record({ readOnly: list(3), readWrite: list(2), deny: list(2), escalate: fc.array(fc.record({ path: pattern, on: fc.uniqueArray(fc.constantFrom(...ops, 'rename' as const), { minLength: 1, maxLength: 3 }) }), { maxLength: 2 }) }),
  process: fc.record({ exec: fc.record({ allow: list(1), escalate: list(1) }) }),
});
const queries = fc.array(fc.record({ op: fc.constantFrom(...ops), path: fc.tuple(fc.constantFrom(...folders, '/usr/lib', '/root', '/proc', '/etc', '/none', '/var', '/lib64'), fc.constantFrom(...below)).map(([a, b]) => a + b) }), { minLength: 40, maxLength: 40 });
const total = 8000;

test(`the verdict on ${total} operations is the same, and so is the rule of a question`, () => {
  const seen = { allow: 0, deny: 0, escalate: 0 };
  let count = 0, stricter = 0;
  fc.assert(
    fc.property(spec, queries, (given, asked) => {
      const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 'generated' }, spec: given });
      const compiled = compilePolicy({ sandboxPolicy, role: '' }, 1);
      for (const { op, path } of asked) {
        const kernel = explain(sandboxPolicy, 'A', { op, path });
        const ours = decide(compiled, { sandbox: 's', role: '', task: '', source: 'syscall', action: '', resource: { kind: 'file', path, op }, params: new Map(), labels: unlabelled, provenance: new Map(), history: emptyHistory });
        count += 1;
        seen[kernel.verdict] += 1;
        if (ours.verdict === kernel.verdict) {
          if (kernel.verdict === 'escalate') assert.equal(ours.rules[0]?.id, kernel.rule);
          continue;
        }
        const said = `${op} ${path}: decide ${ours.verdict} (${ours.reason}), explain ${kernel.verdict} (${kernel.rule}, ${kernel.layer} ${kernel.errno})\n${JSON.stringify(given)}`;
        // A folder that holds what is ruled: decide does not know that it cannot be removed while anything lies in it, the kernel that it may not be moved.
        const around = op === 'delete' && [...given.filesystem.deny, ...given.filesystem.escalate.map((rule) => rule.path), ...given.filesystem.readOnly, ...given.filesystem.readWrite, ...given.process.exec.allow].some((one) => one.replace('/**', '').startsWith(path));
        assert.ok(around, said);
        stricter += 1;
      }
    }),
    { numRuns: total / 40, seed: 20261122, endOnFailure: true },
  );
  assert.ok(count >= total && stricter < count / 20, `${stricter} of ${count}`);
  for (const [verdict, n] of Object.entries(seen)) assert.ok(n > count / 100, `${verdict}: ${n} of ${count}`);
});
