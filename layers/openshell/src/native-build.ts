/** Builds native programs for tests; several test files may ask at once, so that one waits for the other. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native/', import.meta.url));

/** `targets`: names in native/build, e.g. `openshell-launch`. Where there is no make, what is there is taken as it is. Throws with the compiler's output. */
export function buildNative(...targets: readonly string[]): void {
  if (!existsSync('/usr/bin/make') && targets.every((name) => existsSync(`${native}build/${name}`))) return;
  mkdirSync(`${native}build`, { recursive: true });
  execFileSync('flock', [`${native}build/.lock`, 'make', '-s', '-C', native, ...targets.map((name) => `build/${name}`)], { stdio: ['ignore', 'pipe', 'pipe'] });
}
