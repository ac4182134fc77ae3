/** Steps of a longer command: each is named, timed and told on stderr. */
import { performance } from 'node:perf_hooks';
import type { CliContext } from '../context.ts';

export interface StepRecord {
  readonly name: string;
  readonly ms: number;
  readonly detail: string;
}

export class Progress {
  readonly #context: CliContext;
  readonly steps: StepRecord[] = [];

  constructor(context: CliContext) {
    this.#context = context;
  }

  /** Runs one step; `done` says in a few words what came of it. */
  async step<T>(name: string, work: () => T | Promise<T>, done: (result: T) => string = () => ''): Promise<T> {
    const { stderr } = this.#context.world;
    const begun = performance.now();
    if (stderr.isTTY) stderr.write(`... ${name}`);
    // who reads a log learns of it when it takes long
    const slow = stderr.isTTY ? undefined : setTimeout(() => stderr.write(`... ${name}\n`), 1000);
    try {
      const result = await work();
      const ms = performance.now() - begun;
      const detail = done(result);
      this.steps.push({ name, ms: Math.round(ms * 10) / 10, detail });
      stderr.write(`${stderr.isTTY ? '\r\u001b[K' : ''}ok  ${name}${detail === '' ? '' : `: ${detail}`} (${ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`})\n`);
      return result;
    } catch (error) {
      stderr.write(`${stderr.isTTY ? '\r\u001b[K' : ''}x   ${name}\n`);
      throw error;
    } finally {
      clearTimeout(slow);
    }
  }
}
