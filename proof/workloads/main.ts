/** `npm run workloads`: developers' work at every level of isolation, and the agents pi and opencode at a small task, each in a real sandbox. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { Checks } from '../harness/checks.ts';
import { agents } from './agents.ts';
import { atEveryLevel } from './levels.ts';

if (process.getuid?.() !== 0) {
  console.error('The workloads make sandboxes as root and as a plain user; run them as root or with sudo.');
  process.exit(1);
}
const only = process.argv[2] ?? 'all';
const check = new Checks();
const root = mkdtempSync('/tmp/nc-work-');
chmodSync(root, 0o755);
const start = performance.now();
try {
  if (only !== 'agents') {
    check.section('work at every level');
    await atEveryLevel(check, root);
  }
  if (only !== 'levels') {
    check.section('agents at every level');
    await agents(check);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
console.log(`     ${Math.round((performance.now() - start) / 1000)} s`);
process.exit(check.close());
