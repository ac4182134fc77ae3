/** The project's own files as the standing tests read them: no dependencies, no build output, no fixtures. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const projectFolder = new URL('../..', import.meta.url).pathname.replace(/\/$/, '');

const skipped = new Set(['node_modules', 'build', 'fixtures', '.git', '.cache']);

export interface SourceFile {
  /** Relative to the project, with slashes. */
  readonly path: string;
  readonly text: string;
}

/** Paths of all files below the project, or below `folder` of it, whose name ends in one of `endings`, sorted. */
export function paths(endings: readonly string[], folder = ''): string[] {
  const found: string[] = [];
  const walk = (at: string): void => {
    for (const entry of readdirSync(join(projectFolder, at), { withFileTypes: true })) {
      const path = at === '' ? entry.name : `${at}/${entry.name}`;
      if (skipped.has(entry.name)) continue;
      if (entry.isDirectory()) walk(path);
      else if (entry.isFile() && endings.some((ending) => entry.name.endsWith(ending))) found.push(path);
    }
  };
  walk(folder);
  return found.sort();
}

export function read(path: string): SourceFile {
  return { path, text: readFileSync(join(projectFolder, path), 'utf8') };
}

/** TypeScript and C of the project; `tests` says whether test files are wanted. */
export function sources({ tests }: { tests: boolean }): SourceFile[] {
  return paths(['.ts', '.c', '.h'])
    .filter((path) => tests || !path.endsWith('.test.ts'))
    .map(read);
}

/** `path:line` of every line that matches, comments left out if asked. */
export function linesMatching(file: SourceFile, pattern: RegExp, { comments }: { comments: boolean }): string[] {
  return file.text
    .split('\n')
    .map((line, index) => ({ line: comments ? line : line.replace(/\/\/.*$|^\s*\/?\*.*$|\/\*.*?\*\//, ''), at: `${file.path}:${index + 1}` }))
    .filter(({ line }) => pattern.test(line))
    .map(({ line, at }) => `${at}: ${line.trim().slice(0, 120)}`);
}
