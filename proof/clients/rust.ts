/** A client on rustls: Deno, whose program for Linux is a package of the npm registry. */
import { chmodSync, existsSync, renameSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { fetchPackage, type NpmPackage } from './npm-package.ts';

/** By the machine's kind. */
const builds: Readonly<Record<string, NpmPackage>> = {
  x64: { name: '@deno/linux-x64-glibc', version: '2.9.6', integrity: 'sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ==' },
};

/** Puts the program at `to`. False where it cannot be had, which is said. */
export function fetchDeno(folder: string, to: string): boolean {
  const build = builds[arch()];
  if (!build) {
    console.log(`CLIENT NOT TESTED: rustls (no build of Deno is named for ${arch()})`);
    return false;
  }
  const modules = fetchPackage(folder, 'rustls', build);
  if (modules === undefined) return false;
  const program = join(modules, build.name, 'deno');
  if (!existsSync(program)) throw new Error(`${build.name} has no program`);
  renameSync(program, to);
  chmodSync(to, 0o755);
  return true;
}
