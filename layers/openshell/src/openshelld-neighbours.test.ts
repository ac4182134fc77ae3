/** What openshelld remembers of folders for one sandbox, while another sandbox makes it forget. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadSandboxPolicy } from '@nemoclaw/contract';
import { buildTestProgram } from './openshelld-test-program.ts';
import { createSandbox } from './sandbox.ts';

const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: neighbours }\nspec: { isolation: { network: none, filesystem: workspace, syscalls: standard }, filesystem: { escalate: [{ path: /workspace/prod/**, on: [delete] }] } }\n', 'neighbours.yaml');

describe('sandboxes that move and remove at the same time', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  const folders: string[] = [];
  let program: string;
  const folder = (): string => {
    const made = mkdtempSync('/tmp/neighbours-');
    folders.push(made);
    return made;
  };
  before(() => {
    const built = folder();
    buildTestProgram('moves', built);
    program = join(built, 'moves');
  });
  after(() => {
    for (const one of folders) rmSync(one, { recursive: true, force: true });
  });

  it('each operation is done in the folder it named, and ends as the kernel would end it', { timeout: 120_000 }, async () => {
    const rounds = 300;
    const inSandbox = async (what: 'moves' | 'folders'): Promise<string[]> => {
      const workspace = folder();
      const copied = spawnSync('cp', [program, workspace]);
      assert.equal(copied.status, 0);
      chmodSync(join(workspace, 'moves'), 0o755);
      const sandbox = await createSandbox(policy, { workspace, approver: async () => ({ verdict: 'deny', approvalId: '1', by: 'test', reason: 'nobody is asked here' }) });
      try {
        const { stdout, stderr, code } = await (await sandbox.exec(['/workspace/moves', what, String(rounds)])).output();
        assert.equal(code, 0, stderr);
        return stdout.trim().split('\n');
      } finally {
        await sandbox.destroy();
      }
    };
    const [folders, first, second] = await Promise.all([inSandbox('folders'), inSandbox('moves'), inSandbox('moves')]);
    assert.deepEqual(folders, [`inside ok ${8 * rounds}`]);
    for (const moves of [first, second]) assert.deepEqual(moves, [`inside ok ${8 * rounds}`, `across EXDEV ${4 * rounds}`]);
  });
});
