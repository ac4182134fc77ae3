/** The small C programs of the benchmarks, built into a folder, and what they measure. */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { installOpenSsl } from '../../layers/network-policy/src/bench/tls-client.ts';
import { run } from '../harness/instance.ts';

export interface Programs {
  readonly calls: string;
  readonly starts: string;
  readonly client: string;
  readonly scale: string;
  readonly folder: string;
}

/** Compiles them, static, so that they run in any view. Throws with the compiler's words. */
export async function buildPrograms(folder: string): Promise<Programs> {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  installOpenSsl();
  for (const name of ['calls', 'starts', 'client', 'scale']) {
    const built = await run('gcc', ['-O2', '-static', '-D_GNU_SOURCE', '-o', join(folder, name), join(import.meta.dirname, 'programs', `${name}.c`), ...(name === 'scale' ? ['-lssl', '-lcrypto'] : [])]);
    if (built.code !== 0) throw new Error(`${name}.c: ${built.err}`);
  }
  return { calls: join(folder, 'calls'), starts: join(folder, 'starts'), client: join(folder, 'client'), scale: join(folder, 'scale'), folder };
}

/** Reads and removes a file of samples; nanoseconds. */
export function takeSamples(file: string): number[] {
  const bytes = readFileSync(file);
  rmSync(file);
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32LE(i * 4));
}

/** ms from start to exit of `command` (absolute path first), `count` times; `input` is open as its descriptor 3. */
export async function timeStarts(programs: Programs, count: number, command: readonly string[], options: { readonly input?: string; readonly env?: Record<string, string> } = {}): Promise<number[]> {
  const out = join(programs.folder, 'samples');
  const ran = await run(programs.starts, [String(count), out, options.input ?? '/dev/null', ...command], { timeoutMs: 60_000, ...(options.env && { env: options.env }) });
  if (ran.code !== 0) throw new Error(`${command.join(' ')}: ${ran.err || `exit ${ran.code}`}`);
  return takeSamples(out).map((ns) => ns / 1e6);
}
