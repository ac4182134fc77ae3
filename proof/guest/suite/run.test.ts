/** `openshell run` takes tier A where the kernel has it, also for a policy that asks nobody. */
import assert from 'node:assert/strict';
import { chownSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '../../../layers/openshell/src/cli-run.ts';
import { temporary } from './kept.ts';

test('a command on its own is decided by the kernel’s program', { timeout: 400_000 }, async () => {
  using folder = temporary('run');
  chownSync(folder.path, 1000, 1000);
  const file = join(folder.path, 'policy.yaml');
  writeFileSync(file, 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: run }\nspec: { requires: [tier-a], isolation: { network: none, filesystem: workspace } }\n');
  // That name is prevented by nothing else: in tier B it is found when the workspace is given back.
  const code = await run(['--policy', file, '--workspace', folder.path, '--', '/bin/sh', '-c', 'mkdir -p sub; touch sub/.envrc 2>/dev/null && echo had >had; touch done; exit 7']);
  assert.equal(code, 7);
  assert.deepEqual([existsSync(join(folder.path, 'done')), existsSync(join(folder.path, 'had'))], [true, false]);
});
