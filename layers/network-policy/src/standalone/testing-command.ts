/** `network-policy` as a process of its own, for tests: what it says, as it says it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, linkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../bin/network-policy.js', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ran>;
  /** Resolves with the match as soon as both outputs together have one; rejects where it ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
}

/** Not synchronous: upstreams live in the process of the test. */
export function startAlone(args: readonly string[], as: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly uid?: number; readonly gid?: number; readonly node?: string }): Running {
  const { node = process.execPath, env = {}, ...rest } = as;
  // Without the terminal that the tests may have been started at.
  const child = spawn(node, [program, ...args], { detached: true, stdio: ['ignore', 'pipe', 'pipe'], ...rest, env: { PATH: '/usr/bin:/bin:/usr/sbin', HOME: as.cwd, TMPDIR: as.cwd, NODE_DISABLE_COMPILE_CACHE: '1', ...env } });
  let out = '';
  let err = '';
  child.stdout.on('data', (part: Buffer) => { out += part.toString(); });
  child.stderr.on('data', (part: Buffer) => { err += part.toString(); });
  const ended = new Promise<Ran>((resolve) => child.once('close', (code) => resolve({ code, out, err })));
  return {
    child, ended,
    until: (pattern) => new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(`${out}\n${err}`);
        if (match) resolve(match);
      };
      for (const stream of [child.stdout, child.stderr]) stream.on('data', look);
      void ended.then(() => reject(new Error(`it ended: ${out}\n${err}`)));
      look();
    }),
  };
}

/** Node where a plain user finds it. */
export function nodeFor(path: string): string {
  try {
    linkSync(process.execPath, path);
  } catch {
    copyFileSync(process.execPath, path);
  }
  return path;
}

export const programPath = program;
