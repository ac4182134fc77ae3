/** Small C programs that the guest's tests bring along: built here, where a compiler is quick. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { project } from './image.ts';

const flags = ['-static', '-std=gnu11', '-D_GNU_SOURCE=', '-O1', '-pthread', '-Wall', '-Wextra', '-Werror'];

function sources(): Record<string, string[]> {
  const own = join(project, 'proof/guest/native');
  const attacks = join(project, 'proof/attacks/native');
  return {
    ...Object.fromEntries(readdirSync(own).filter((name) => name.endsWith('.c')).map((name) => [name.slice(0, -2), [join(own, name)]])),
    tries: readdirSync(attacks).filter((name) => name.endsWith('.c')).map((name) => join(attacks, name)),
  };
}

/** One program for each file of `native/`, and the attempts of `proof/attacks`, into a folder that is made. Throws if one does not build. */
export function buildPrograms(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, files] of Object.entries(sources())) {
    const built = spawnSync('gcc', [...flags, '-o', join(folder, name), ...files], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`${name} does not build:\n${built.error?.message ?? built.stderr}`);
  }
}
