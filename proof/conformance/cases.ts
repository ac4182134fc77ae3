/** Many cases, and their sums. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { compare, type Compared, type Disagreement, type Ground } from './compare.ts';
import { casesOf } from './generate.ts';
import type { Programs } from './layout.ts';

/** Compiles the two programs into `folder`. Throws with the compiler's words. */
export function buildPrograms(folder: string): Programs {
  const source = (name: string): string => join(import.meta.dirname, 'native', `${name}.c`);
  const compile = (name: string, flags: readonly string[]): string => {
    const out = join(folder, name);
    const done = spawnSync('gcc', ['-static', '-std=gnu11', '-Wall', '-Wextra', '-Werror', ...flags, '-o', out, source(name)], { encoding: 'utf8' });
    if (done.status !== 0) throw new Error(`${name}.c: ${done.error?.message ?? done.stderr}`);
    return out;
  };
  return { operations: compile('operations', ['-O1', '-D_GNU_SOURCE']), nothing: compile('nothing', ['-nostdlib', '-s', '-Os', '-Wl,--build-id=none']) };
}

export interface Sums {
  readonly tier: string;
  readonly operations: number;
  readonly policies: number;
  readonly refused: number;
  readonly verdicts: Readonly<Record<'allow' | 'deny' | 'escalate', number>>;
  readonly disagreements: readonly Disagreement[];
}

/** Cases in `lanes` at a time. */
export async function compareAll(wanted: Parameters<typeof casesOf>[0], ground: Ground, lanes = 2): Promise<Sums> {
  const folder = mkdtempSync('/tmp/conformance-build-');
  try {
    chmodSync(folder, 0o755);
    const built = buildPrograms(folder);
    const queue = casesOf(wanted);
    const results: Compared[] = [];
    const lane = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) results.push(await compare(next, built, ground));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    const sum = (verdict: 'allow' | 'deny' | 'escalate'): number => results.reduce((total, one) => total + one.verdicts[verdict], 0);
    return {
      tier: [...new Set(results.filter((one) => one.refused === undefined).map((one) => one.tier))].join('+'),
      operations: results.reduce((total, one) => total + one.operations, 0),
      policies: results.length,
      refused: results.filter((one) => one.refused !== undefined).length,
      verdicts: { allow: sum('allow'), deny: sum('deny'), escalate: sum('escalate') },
      disagreements: results.flatMap((one) => one.disagreements),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One line a disagreement, with all that is needed to try it again. */
export const shown = ({ spec, operation, said, did }: Disagreement): string =>
  `${operation.op} ${operation.path}${operation.toPath === undefined ? '' : ` -> ${operation.toPath}`} (${operation.needs}): explain says ${said.verdict} ${said.errno ?? ''} by ${said.rule} (${said.layer ?? '-'}), the kernel ${did.asked ? 'asked and ' : ''}${did.errno ?? 'did it'}\n    ${spec}`;
