/** `openshell run`: a policy that this host cannot enforce starts nothing. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = mkdtempSync(join(tmpdir(), 'openshell-cli-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const program = fileURLToPath(new URL('../bin/openshell.js', import.meta.url));

function run(spec: string): { code: number | null; out: string; err: string } {
  const file = join(folder, 'policy.yaml');
  writeFileSync(file, `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: alone }\nspec:\n${spec}`);
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'run', '--policy', file, '--no-workspace', '--', '/bin/echo', 'started'], { encoding: 'utf8' });
  return { code: status, out: stdout, err: stderr };
}

test('what needs another tier, or is not enforced, starts nothing', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  for (const spec of ['  isolation: { network: none }\n  requires: [tier-a]\n', '  isolation: { network: none }\n  process: { exec: { escalate: [/usr/bin/ssh] } }\n']) {
    const { code, out, err } = run(spec);
    assert.deepEqual([code, out], [2, ''], err);
    assert.match(err, /policy\.yaml:6:\d+[^]*NEMO_E_POLICY_NEEDS/);
  }
  assert.equal(run('  isolation: { network: none }\n').out, 'started\n');
});
