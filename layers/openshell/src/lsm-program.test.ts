/** What is shipped of the kernel's program is what its source compiles to. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const native = fileURLToPath(new URL('../native/', import.meta.url));
const compiler = spawnSync('clang-14', ['--version']).status === 0 && spawnSync('llvm-strip-14', ['--version']).status === 0;

for (const name of ['lsm', 'connected']) {
  test(`${name}_program.h is what ${name}.bpf.c compiles to`, { skip: compiler ? false : 'needs clang-14 and llvm-14' }, () => {
    const folder = mkdtempSync(`/tmp/${name}-program-`);
    try {
      const made = join(folder, 'program.h');
      execFileSync(join(native, 'bpf-program.sh'), [name], { env: { ...process.env, OUT: made }, stdio: 'pipe' });
      assert.ok(readFileSync(made, 'utf8') === readFileSync(join(native, `${name}_program.h`), 'utf8'), `run layers/openshell/native/bpf-program.sh ${name} and commit what it writes`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
