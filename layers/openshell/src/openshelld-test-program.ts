/** For tests: programs of ../native/tests, built where a test needs them. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Builds the program `name` into a folder. Throws with the compiler's words. */
export function buildTestProgram(name: string, folder: string): void {
  const source = fileURLToPath(new URL(`../native/tests/${name}.c`, import.meta.url));
  execFileSync('gcc', ['-std=gnu11', '-D_GNU_SOURCE=', '-O2', '-static', '-pthread', '-Wall', '-Wextra', '-Werror', '-o', join(folder, name), source], { stdio: 'pipe' });
}
