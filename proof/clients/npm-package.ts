/** A client that is a package of the npm registry, fetched for this proof alone. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  /** What the registry says it weighs in SHA-512; another one is not started. */
  readonly integrity: string;
}

/** Brings the package and what it needs into a new folder in `folder`: its `node_modules`. Undefined where it cannot be had, which is said; `client`: how it is called there. */
export function fetchPackage(folder: string, client: string, { name, version, integrity }: NpmPackage): string | undefined {
  const at = join(folder, client);
  writeFileSync(`${at}.npmrc`, 'audit=false\nfund=false\nignore-scripts=true\nupdate-notifier=false\n');
  const done = spawnSync('npm', ['install', '--prefix', at, '--userconfig', `${at}.npmrc`, `${name}@${version}`], { cwd: folder, encoding: 'utf8', timeout: 300_000 });
  if (done.status !== 0 || !existsSync(join(at, 'node_modules', name))) {
    console.log(`CLIENT NOT TESTED: ${client} (npm does not bring ${name}: ${(done.stderr ?? '').trim().split('\n').at(-1) ?? ''})`);
    return undefined;
  }
  if (!readFileSync(join(at, 'package-lock.json'), 'utf8').includes(`"integrity": "${integrity}"`)) throw new Error(`${name} ${version} is another one than this proof was written with`);
  return join(at, 'node_modules');
}
