/** The openshelld of this process: started with its first sandbox, ended with the last one, seen by nobody else. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { NemoError } from '@nemoclaw/contract';
import { ControlChannel } from './control-channel.ts';
import { binding, closeFd, nativePaths } from './native.ts';
import { OpenshelldClient, type OpenshelldNews } from './openshelld-client.ts';

/** Sandboxes with the same options share one daemon. */
export interface DaemonOptions {
  readonly bindRoots: readonly string[];
  /** That a plan may show. */
  readonly devices: readonly string[];
  /** How long a held call waits at most, whole seconds. */
  readonly holdSeconds: number;
  /** Permits `plan.off`; for tests. */
  readonly testing: boolean;
  /** Folder of root's in which layers are kept; absent: none are. */
  readonly state?: string;
}

/** Told what concerns one sandbox, or with `''` all of them. */
export type NewsListener = (message: OpenshelldNews) => void;

const running = new Map<string, { users: number; readonly daemon: Promise<AloneDaemon> }>();
let started = 0;
/** Of openshelld's log, for the error when it ends. */
const keptLog = 4000;

export class AloneDaemon {
  readonly client: OpenshelldClient;
  /** Resolves with the end of openshelld's log when it has ended. */
  readonly gone: Promise<string>;
  readonly #channel: ControlChannel;
  readonly #child: ChildProcess;
  readonly #listeners = new Map<string, NewsListener>();
  #log = '';

  private constructor(options: DaemonOptions) {
    if (!existsSync(nativePaths.openshelld)) throw new NemoError('NEMO_E_NATIVE', { what: `${nativePaths.openshelld} is missing.` });
    const [ours, theirs] = binding().pair(1);
    // In a session of its own: what a terminal sends to our process group is not for it.
    this.#child = spawn(nativePaths.openshelld, ['--alone'], { stdio: ['pipe', 'ignore', 'pipe', theirs], detached: true });
    closeFd(theirs);
    started += 1;
    const stay = (): void => undefined; // it has ended; `gone` says so
    this.#child.stdin?.on('error', stay).end(JSON.stringify({ instance: `alone-${process.pid}-${started}`, ...options }));
    this.#child.stderr?.on('data', (data: Buffer) => (this.#log = (this.#log + data.toString()).slice(-keptLog)));
    this.gone = once(this.#child, 'close').then(() => this.#log, (error: unknown) => String(error));
    this.#channel = new ControlChannel(ours);
    this.client = new OpenshelldClient(this.#channel, 'gateway', process.pid, (message, fds) => {
      for (const fd of fds) closeFd(fd);
      this.#tell(message);
    });
  }

  /** One for these options, new or shared; `release` it once. Throws NEMO_E_NATIVE, or NEMO_E_BACKEND with the log if it does not start. */
  static async take(options: DaemonOptions): Promise<{ readonly daemon: AloneDaemon; release(): Promise<void> }> {
    const key = JSON.stringify(options);
    const entry = running.get(key) ?? { users: 0, daemon: AloneDaemon.#start(options) };
    running.set(key, entry);
    entry.users += 1;
    let released = false;
    const release = async (): Promise<void> => {
      if (released) return;
      released = true;
      entry.users -= 1;
      if (entry.users > 0) return;
      if (running.get(key) === entry) running.delete(key);
      await (await entry.daemon)?.close();
    };
    try {
      const daemon = await entry.daemon;
      void daemon.gone.then(() => running.get(key) === entry && running.delete(key));
      return { daemon, release };
    } catch (error) {
      running.delete(key);
      throw error;
    }
  }

  static async #start(options: DaemonOptions): Promise<AloneDaemon> {
    const daemon = new AloneDaemon(options);
    try {
      await daemon.client.host();
    } catch (cause) {
      const log = (await daemon.gone).trim();
      throw new NemoError('NEMO_E_BACKEND', { what: 'openshelld did not start.', ...(log === '' ? {} : { why: log }), cause });
    }
    return daemon;
  }

  /** What concerns `sandbox` goes to `listener` from now on. */
  listen(sandbox: string, listener: NewsListener): void {
    this.#listeners.set(sandbox, listener);
  }

  forget(sandbox: string): void {
    this.#listeners.delete(sandbox);
  }

  /** Ends every sandbox that is left; resolves when openshelld has ended. */
  async close(): Promise<void> {
    this.#channel.close();
    await this.gone;
  }

  #tell(message: OpenshelldNews): void {
    const sandbox = message.t === 'event' ? message.event.sandbox : message.t === 'hold' ? message.hold.sandbox : 'sandbox' in message ? message.sandbox : '';
    if (sandbox === '') for (const listener of this.#listeners.values()) listener(message);
    else this.#listeners.get(sandbox)?.(message);
  }
}
