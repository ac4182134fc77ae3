/** A private NemoClaw instance below a temporary root, driven only by its command line, as a person would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const checkout = resolve(import.meta.dirname, '../..');

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

/** Runs a program to its end; never throws for its exit code. Killed after `timeoutMs`. */
export function run(command: string, args: readonly string[], options: { env?: Record<string, string>; cwd?: string; input?: string; timeoutMs?: number; onSpawn?: (child: ChildProcess) => void } = {}): Promise<Result> {
  return new Promise((done, failed) => {
    const started = performance.now();
    const child = spawn(command, args, { cwd: options.cwd ?? checkout, env: { ...process.env, ...options.env }, stdio: ['pipe', 'pipe', 'pipe'] });
    options.onSpawn?.(child);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    child.on('error', failed);
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 120_000);
    child.on('close', (code) => {
      clearTimeout(timer);
      done({ code, out, err, ms: performance.now() - started });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

export class Instance {
  readonly root: string;

  constructor() {
    this.root = mkdtempSync('/tmp/nc-');
    chmodSync(this.root, 0o755);
  }

  get state(): string {
    return join(this.root, 'var/lib/nemoclaw');
  }
  get runDir(): string {
    return join(this.root, 'run/nemoclaw');
  }
  get lib(): string {
    return join(this.root, 'opt/nemoclaw/lib');
  }
  get env(): Record<string, string> {
    return { NEMOCLAW_ROOT: this.root, NO_COLOR: '1' };
  }

  /** Writes host.yaml: without the demo company's services, which listen on fixed ports that another instance may have. `more`: further lines. To be called before it starts. */
  configure(more = ''): void {
    const folder = join(this.root, 'etc/nemoclaw');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    writeFileSync(join(folder, 'host.yaml'), `demo: 0\n${more}`);
  }

  /** `./nemoclaw …` of the checkout, below this root. */
  cli(args: readonly string[], options: { input?: string; timeoutMs?: number; cwd?: string; onSpawn?: (child: ChildProcess) => void } = {}): Promise<Result> {
    return run(join(checkout, 'nemoclaw'), args, { ...options, env: this.env });
  }

  /** The same with --json; throws if the answer is not JSON. */
  async json<T>(args: readonly string[]): Promise<T> {
    const result = await this.cli([...args, '--json']);
    try {
      return JSON.parse(result.out) as T;
    } catch {
      throw new Error(`nemoclaw ${args.join(' ')} --json gave no JSON (exit ${result.code}):\n${result.out}\n${result.err}`);
    }
  }

  /** JSON lines of a file below the state folder; [] if there is none. */
  lines<T>(path: string): T[] {
    const file = join(this.state, path);
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as T);
  }

  /** Stops everything and removes the root; safe to call twice. */
  async destroy(): Promise<void> {
    if (!existsSync(this.root)) return;
    await this.cli(['down', '--purge', '--yes'], { timeoutMs: 180_000 });
    // A command that ends just now still puts its compiled code there.
    await until('the end of the instance', () => {
      rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
      return existsSync(this.root) ? undefined : true;
    });
  }
}

/** Waits until `ready` gives something, polling; throws after `ms`, long enough for a slow machine, naming what it waited for. */
export async function until<T>(what: string, ready: () => Promise<T | undefined> | T | undefined, ms = 60_000): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await ready();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((next) => setTimeout(next, 25));
  }
}
