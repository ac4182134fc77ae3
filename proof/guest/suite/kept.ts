/** Imported by the files of this suite: the program in the kernel is loaded once for all of them. In emulation that takes some ten seconds. */
import { after, before } from 'node:test';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createSandbox, loadSandboxPolicy, type Sandbox } from '@nemoclaw/openshell';

/** Programs built on the host; see programs.ts. */
export const programs = '/extra/bin';

const policy = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: kept }\nspec: { isolation: { network: none, filesystem: read-only } }\n', 'kept.yaml');
const kept: Sandbox[] = [];

/** Sandboxes of one process share its openshelld while one of them lives; those with layers switched off have another one. */
before(async () => {
  kept.push(await createSandbox(policy), await createSandbox(policy, { off: ['uid'] }));
}, { timeout: 600_000 });
after(async () => {
  for (const sandbox of kept) await sandbox.destroy();
});

/** A folder of its own below /tmp that everybody may enter, and its removal. */
export function temporary(name: string): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(`/tmp/${name}-`);
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
