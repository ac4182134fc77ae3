/** A person's terminal: a program on a pseudo-terminal of its own, with keys that are pressed and a window that is resized while it runs. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { checkout, until, type Instance } from '../../harness/instance.ts';

export interface Size {
  readonly rows: number;
  readonly cols: number;
}

export class Screen {
  /** Everything that was shown so far. */
  text = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #tty: string;

  private constructor(child: ChildProcess, tty: string) {
    this.#child = child;
    this.#tty = tty;
    this.#ended = once(child, 'close');
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.text += text));
    child.stdin?.on('error', () => undefined);
  }

  /** Starts `nemoclaw` with `args` in a window of this size. */
  static async open(instance: Instance, args: readonly string[], { rows, cols }: Size): Promise<Screen> {
    const name = join(instance.root, 'screen');
    rmSync(name, { force: true });
    const child = spawn('script', ['-qefc', `stty rows ${rows} cols ${cols}; tty >'${name}'; exec '${join(checkout, 'nemoclaw')}' ${args.join(' ')}`, '/dev/null'], { env: { ...process.env, ...instance.env }, stdio: ['pipe', 'pipe', 'inherit'] });
    const read = (): string | undefined => {
      try {
        return /^\/dev\/\S+(?=\n)/.exec(readFileSync(name, 'utf8'))?.[0];
      } catch {
        return undefined;
      }
    };
    try {
      return new Screen(child, await until('a terminal', read));
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  type(keys: string): void {
    this.#child.stdin?.write(keys);
  }

  /** As a window does that somebody drags: the kernel tells the program. */
  resize({ rows, cols }: Size): void {
    const { status, stderr } = spawnSync('stty', ['-F', this.#tty, 'rows', String(rows), 'cols', String(cols)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`stty: ${stderr}`);
  }

  /** Waits until `pattern` was shown; false if it never is. */
  shows(pattern: RegExp): Promise<boolean> {
    return until(String(pattern), () => pattern.test(this.text) || undefined).catch(() => false);
  }

  /** The exit code of the program, when it has ended by itself; null if it does not. */
  async ends(): Promise<number | null> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 60_000);
    await this.#ended;
    clearTimeout(timer);
    return this.#child.exitCode;
  }

  /** Ends what still runs. */
  async close(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.ends();
  }
}
