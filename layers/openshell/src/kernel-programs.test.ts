/** What is shipped of the kernel's programs is what their sources compile to. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native/', import.meta.url));
const tools = ['clang-14', 'llvm-strip-14', 'llvm-objcopy-14', 'llvm-readelf-14'];
const compiler = (): boolean => tools.every((tool) => spawnSync(tool, ['--version']).status === 0);

// Who installs NemoClaw needs no clang; who tests it gets one where that can be had.
if (!compiler() && process.getuid?.() === 0) spawnSync('apt-get', ['install', '-q', '-y', '--no-install-recommends', 'clang-14', 'llvm-14'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: 'ignore', timeout: 300_000 });
const skip = compiler() ? false : 'needs clang-14 and llvm-14';

for (const [name, script, ...rest] of [['lsm', 'bpf-program.sh', 'lsm'], ['connected', 'bpf-program.sh', 'connected'], ['seen', 'seen-program.sh']] as const) {
  test(`${name}_program.h is what ${name}.bpf.c compiles to`, { skip }, () => {
    const folder = mkdtempSync(`/tmp/${name}-program-`);
    try {
      const made = join(folder, 'program.h');
      execFileSync(join(native, script), rest, { env: { ...process.env, OUT: made }, stdio: 'pipe' });
      assert.ok(readFileSync(made, 'utf8') === readFileSync(join(native, `${name}_program.h`), 'utf8'), `run layers/openshell/native/${script} ${rest.join(' ')} and commit what it writes`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
