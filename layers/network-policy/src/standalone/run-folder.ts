/** The folder of one run: what its command is shown lies there. Those of runs that were killed go with the next one. */
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const name = /^network-policy-(\d+)-/;

/** Makes it; the path. */
export function makeRunFolder(): string {
  for (const entry of entries()) {
    const pid = Number(name.exec(entry)?.[1] ?? 0);
    if (pid > 0 && !runs(pid)) removeOwn(join(tmpdir(), entry));
  }
  return mkdtempSync(join(tmpdir(), `network-policy-${process.pid}-`));
}

function entries(): readonly string[] {
  try {
    return readdirSync(tmpdir());
  } catch {
    // Some hosts let nobody list it; a folder can be made there all the same.
    return [];
  }
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}

/** Everybody may write there: another's is left alone. */
function removeOwn(path: string): void {
  try {
    const { uid } = lstatSync(path);
    if (uid === process.getuid?.()) rmSync(path, { recursive: true, force: true });
  } catch {
    // Somebody else was faster.
  }
}
