/** Builds the native helper for tests; several test files may ask at once, so that one waits for the other. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../../native/', import.meta.url));

/** Throws with the compiler's output. */
export function buildNative(): void {
  mkdirSync(`${native}build`, { recursive: true });
  execFileSync('flock', [`${native}build/.lock`, 'make', '-s', '-C', native], { stdio: ['ignore', 'pipe', 'pipe'] });
}
