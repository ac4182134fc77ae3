/** An endless stream of events that a program in the sandbox reads, seen through the file it writes. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../harness/instance.ts';
import type { Terminal } from './terminal.ts';

export class LiveStream {
  readonly #file: string;
  readonly #ended: string;

  private constructor(file: string) {
    this.#file = file;
    this.#ended = `${file}.ended`;
  }

  /** Starts curl on `url` in the background of the sandbox; resolves when the first event is there. */
  static async open(terminal: Terminal, sandbox: string, workspace: string, name: string, url: string): Promise<LiveStream> {
    const stream = new LiveStream(join(workspace, `${name}.live`));
    const started = await terminal.exec(sandbox, ['sh', '-c', `(curl -sSN -o /workspace/${name}.live '${url}' 2>/workspace/${name}.live.error; echo $? >/workspace/${name}.live.ended) >/dev/null 2>&1 </dev/null & echo started`]);
    if (started.code !== 0) throw new Error(started.out + started.err);
    await until(`the first event of ${url}`, () => (stream.events > 0 ? true : undefined));
    return stream;
  }

  get events(): number {
    try {
      return readFileSync(this.#file, 'utf8').split('\n\n').length - 1;
    } catch {
      return 0;
    }
  }
  /** curl's exit code, undefined while it reads. */
  get ended(): number | undefined {
    try {
      return statSync(this.#ended).size > 0 ? Number(readFileSync(this.#ended, 'utf8')) : undefined;
    } catch {
      return undefined;
    }
  }

  /** True if more events come on the same connection. */
  async livesOn(): Promise<boolean> {
    const before = this.events;
    return until('more events', () => (this.ended !== undefined ? false : this.events > before + 2 ? true : undefined)).catch(() => false);
  }

  /** True if the connection ends. */
  ends(): Promise<boolean> {
    return until('the end of the stream', () => (this.ended === undefined ? undefined : true)).catch(() => false);
  }
}
