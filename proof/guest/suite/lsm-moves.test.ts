/** Tier A: what is asked about in a place is asked about, too, when it is moved to where nobody would ask. */
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { createSandbox } from '@nemoclaw/openshell';
import './kept.ts';

test('a file in a place where only writing is asked about is not moved out unasked', { timeout: 400_000 }, async () => {
  const workspace = mkdtempSync('/tmp/lsm-');
  for (const name of ['', 'a', 'free']) {
    if (name !== '') mkdirSync(join(workspace, name));
    chownSync(join(workspace, name), 1000, 1000);
  }
  writeFileSync(join(workspace, 'a/file'), 'content');
  writeFileSync(join(workspace, 'free/other'), 'other');
  for (const name of ['a/file', 'free/other']) chownSync(join(workspace, name), 1000, 1000);
  const asked: string[] = [];
  try {
    const policy = loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: moves }\nspec: { isolation: { network: none, filesystem: workspace }, filesystem: { escalate: [{ path: /workspace/a/**, on: [write] }] } }\n`, 'moves.yaml');
    const approver = async (request: { readonly holdId: string; readonly request: { readonly resource: { readonly kind: string; readonly op?: string; readonly path?: string } } }) => {
      const { resource } = request.request;
      asked.push(`${resource.op ?? '?'} ${resource.path ?? '?'}`);
      return { verdict: 'deny' as const, approvalId: request.holdId, by: 'test', reason: '' };
    };
    await using sandbox = await createSandbox(policy, { workspace, approver });
    assert.equal(sandbox.tier, 'A');
    const command = await sandbox.exec(['/bin/sh', '-c', 'cd /workspace; mv -T a/file free/file; echo "move $?"; mv --exchange -T free/other a/file 2>/dev/null; mv -T a/file free/b; mv -T free/other a/new; echo "in $?"']);
    const { stdout, stderr } = await command.output();
    assert.match(stdout, /move 1\n/, stdout + stderr);
    assert.match(stdout, /in 0\n/, stdout + stderr);
    assert.deepEqual([...new Set(asked)], ['rename /workspace/a/file'], `${stdout} ${stderr}`);
  } finally {
    rmSync(workspace, { recursive: true, force: true });
  }
});
