/** All workers by name: who is reachable, and configurations that are in force only when their worker said so. */
import type { Duplex } from 'node:stream';
import { NemoError, type GatewayToWorker, type SandboxConfig, type ScannerName } from '@nemoclaw/contract';
import { WorkerLink, type WorkerEvents } from './worker-link.ts';

/** What the set leaves to the gateway, with the worker's name. */
export interface WorkersEvents {
  /** The worker that owns the sandbox now, '' if none. */
  ownerOf(sandbox: string): string;
  hold: WorkerEvents['hold'];
  withdrawn: WorkerEvents['withdrawn'];
  raise: WorkerEvents['raise'];
  consume: WorkerEvents['consume'];
  renew: WorkerEvents['renew'];
  rates: WorkerEvents['rates'];
  usage: WorkerEvents['usage'];
  breach(worker: string, why: string): void;
  /** A link stands: configure what this worker owns. */
  up(worker: string): void;
  down(worker: string): void;
}

interface Expected {
  readonly version: number;
  readonly resolve: () => void;
  readonly reject: (error: NemoError) => void;
}

/** ms a worker may take to say that its events are durable. */
const flushLimit = 1000;
/** ms a worker may take to say that a configuration is in force. */
const configureLimit = 5000;

export class Workers {
  readonly #events: WorkersEvents;
  readonly #links = new Map<string, WorkerLink>();
  readonly #scanners = new Map<string, ScannerName>();
  /** All that were ever here. */
  readonly #known = new Set<string>();
  /** By sandbox, in the order sent: a worker answers in order. */
  readonly #flushes = new Map<number, (worker: string) => void>();
  #flushId = 0;
  readonly #expected = new Map<string, Expected[]>();

  constructor(events: WorkersEvents) {
    this.#events = events;
  }

  /** A new link to `worker`; a former one is closed. */
  attach(worker: string, socket: Duplex): void {
    this.#links.get(worker)?.close();
    const link: WorkerLink = new WorkerLink(socket, {
      owns: (sandbox) => this.#events.ownerOf(sandbox) === worker,
      configured: (sandbox, version, error) => this.#configured(sandbox, version, error),
      flushed: (id) => this.#flushes.get(id)?.(worker),
      hold: (hold) => this.#events.hold(hold),
      withdrawn: (sandbox, holdId, why) => this.#events.withdrawn(sandbox, holdId, why),
      raise: (sandbox, to, why) => this.#events.raise(sandbox, to, why),
      consume: (sandbox, key) => this.#events.consume(sandbox, key),
      renew: (sandbox, placeholder) => this.#events.renew(sandbox, placeholder),
      rates: (sandbox, rates) => this.#events.rates(sandbox, rates),
      searches: (scanner) => this.#scanners.set(worker, scanner),
      usage: (sandbox, counts) => this.#events.usage(sandbox, counts),
      breach: (why) => this.#events.breach(worker, why),
      closed: () => {
        if (this.#links.get(worker) === link) {
          this.#links.delete(worker);
          this.#scanners.delete(worker);
        }
        for (const sandbox of this.#expected.keys()) if (this.#events.ownerOf(sandbox) === worker) this.#fail(sandbox, 'The worker went away.');
        this.#events.down(worker);
      },
    });
    this.#links.set(worker, link);
    this.#known.add(worker);
    this.#events.up(worker);
  }

  /** Those that are reachable. */
  get names(): readonly string[] {
    return [...this.#links.keys()];
  }

  get known(): ReadonlySet<string> {
    return this.#known;
  }

  /** By worker; one that came back has another. */
  get links(): ReadonlyMap<string, object> {
    return this.#links;
  }

  /** What those that said so search long bodies with. */
  get scanners(): readonly ScannerName[] {
    return [...this.#scanners.values()];
  }

  /** Resolves when the worker says that this version is in force. */
  configure(worker: string, config: SandboxConfig): Promise<void> {
    return this.#apply(worker, config.sandbox, config.version, { t: 'configure', config });
  }

  /** Puts in force what was sent by `prepare`; resolves as `configure` does. */
  switch(worker: string, sandbox: string, version: number): Promise<void> {
    return this.#apply(worker, sandbox, version, { t: 'switch', sandbox, version });
  }

  #apply(worker: string, sandbox: string, version: number, message: GatewayToWorker): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.#expected.get(sandbox) ?? [];
      this.#expected.set(sandbox, queue);
      // It stays expected: an answer that comes late is the answer to this, not to the next of the same version.
      const timer = setTimeout(() => reject(new NemoError('NEMO_E_APPLY', { what: 'The data plane did not answer in time.' })), configureLimit);
      const forget = (): void => {
        clearTimeout(timer);
        const index = queue.indexOf(expected);
        if (index >= 0) queue.splice(index, 1);
      };
      const expected: Expected = {
        version,
        resolve: () => {
          forget();
          resolve();
        },
        reject: (error) => {
          forget();
          reject(error);
        },
      };
      queue.push(expected);
      if (!this.send(worker, message)) expected.reject(new NemoError('NEMO_E_APPLY', { what: 'The data plane is not running.' }));
    });
  }

  /** Resolves when every event that the worker has made until now is durable; at once if it is not reachable, and after a second in any case. */
  flush(worker: string, sandbox: string): Promise<void> {
    const id = (this.#flushId += 1);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#flushes.delete(id);
        resolve();
      };
      const timer = setTimeout(done, flushLimit);
      this.#flushes.set(id, (from) => {
        if (from === worker) done();
      });
      if (!this.send(worker, { t: 'flush', id, sandbox })) done();
    });
  }

  /** False if the worker is not reachable. */
  send(worker: string, message: GatewayToWorker): boolean {
    return this.#links.get(worker)?.send(message) ?? false;
  }

  close(): void {
    for (const link of [...this.#links.values()]) link.close();
  }

  #configured(sandbox: string, version: number, error: string | undefined): void {
    const queue = this.#expected.get(sandbox) ?? [];
    const expected = queue.find((one) => one.version === version);
    if (!expected) return;
    if (error === undefined) expected.resolve();
    else expected.reject(new NemoError('NEMO_E_APPLY', { what: 'The data plane refused the configuration.', why: error }));
  }

  #fail(sandbox: string, what: string): void {
    for (const expected of [...(this.#expected.get(sandbox) ?? [])]) expected.reject(new NemoError('NEMO_E_APPLY', { what }));
    this.#expected.delete(sandbox);
  }
}
