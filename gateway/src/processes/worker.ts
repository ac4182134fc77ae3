/** The data-plane process: owns the network of the sandboxes that openshelld attaches to it, by what the gateway configures; it can approve and change nothing. */
import { Socket } from 'node:net';
import type { Clock, FromOpenshelld, Ids, LedgerEvent, ScannerName, ToOpenshelld } from '@nemoclaw/contract';
import { LinkSink } from '@nemoclaw/ledger';
import { prepareInspection } from '@nemoclaw/network-policy';
import type { Destination, SocketSource } from '@nemoclaw/network-policy';
import { closeFd, ControlChannel, OpenshelldClient, OpenshelldError } from '@nemoclaw/openshell';
import type { ConnectionEnds, OpenshelldNews } from '@nemoclaw/openshell';
import { systemClock, systemIds } from '../clock.ts';
import { errorPlace } from './error-place.ts';
import { GatewayApprover } from './worker-approver.ts';
import { GatewayLink } from './worker-link.ts';
import type { GatewayNews } from './worker-link.ts';
import { WorkerIngress } from './worker-ingress.ts';
import { WorkerSandbox } from './worker-sandbox.ts';

export interface WorkerOptions {
  readonly control: {
    onMessage(listener: (message: FromOpenshelld, fds: number[]) => void): void;
    send(message: ToOpenshelld): void;
    onClose?(listener: (error: Error | undefined) => void): void;
  };
  readonly clock: Clock;
  readonly ids: Ids;
  /** Wraps the descriptor of a link. */
  readonly open: (fd: number) => Socket;
  readonly closeFd: (fd: number) => void;
  readonly source?: (fd: number) => SocketSource;
  readonly destination?: Destination;
  /** ms between reports of what a sandbox used. Default 2000. */
  readonly usageMs?: number;
}

export interface Worker {
  /** For the process's own handler of errors that nobody caught. */
  report(error: unknown): void;
  /** What searches long bodies from now on, and why it is not Hyperscan. */
  searches(scanner: ScannerName, why: string): void;
  stop(): Promise<void>;
}

/** Says hello and serves whatever it is given, until stopped. */
export function startWorker(options: WorkerOptions): Worker {
  return new DataPlane(options);
}

class DataPlane implements Worker {
  readonly #options: WorkerOptions;
  readonly #sandboxes = new Map<string, WorkerSandbox>();
  readonly #audit: LinkSink;
  readonly #gateway: GatewayLink;
  readonly #approver: GatewayApprover;
  readonly #ingress: WorkerIngress;
  readonly #openshelld: OpenshelldClient;
  readonly #usageTimer: NodeJS.Timeout;
  /** Of all sandboxes here, kept because every event is searched for them. */
  #secrets: readonly string[] = [];
  readonly #told = new Map<string, string>();
  readonly #toRepeat = new Set<string>();
  #scanner: ScannerName | undefined;

  constructor(options: WorkerOptions) {
    const { clock, ids, control } = options;
    this.#options = options;
    this.#audit = new LinkSink({ clock, ids, known: () => this.#secrets });
    this.#gateway = new GatewayLink({ news: (message) => this.#heard(message), up: () => this.#fresh() });
    this.#approver = new GatewayApprover(this.#gateway, clock);
    this.#usageTimer = setInterval(() => this.#tellUsage(), options.usageMs ?? 2000);
    const openshelld = new OpenshelldClient(
      { onMessage: (listener) => control.onMessage(listener), send: (message) => control.send(message), onClose: (listener) => control.onClose?.(listener) },
      'worker', process.pid, (message, fds) => this.#controlled(message, fds),
    );
    this.#openshelld = openshelld;
    this.#ingress = new WorkerIngress({ clock, audit: this.#audit, recording: () => this.#audit.takes.append, connect: (sandbox, port) => openshelld.ingressConnect(sandbox, port) });
  }

  report(error: unknown): void {
    this.#audit.emit(this.#event('', `The data plane survived an error that nobody caught: ${errorPlace(error, 1)}`));
  }

  searches(scanner: ScannerName, why: string): void {
    if (scanner === 'hyperscan') this.#audit.emit({ ...this.#event('', 'Hyperscan searches long bodies before the detectors do.'), severity: 1 });
    else if (this.#scanner === 'hyperscan') this.#audit.emit(this.#event('', `Hyperscan is not used any more, the detectors search long bodies alone: ${why.slice(0, 200)}`));
    this.#scanner = scanner;
    this.#gateway.send({ t: 'searches', scanner });
  }

  async stop(): Promise<void> {
    clearInterval(this.#usageTimer);
    this.#gateway.close();
    await this.#ingress.close();
    await Promise.all([...this.#sandboxes.values()].map((sandbox) => sandbox.detach().catch(() => undefined)));
  }

  /** Over a new link everything is told again; open questions only after their sandbox was configured over it. */
  #fresh(): void {
    this.#told.clear();
    if (this.#scanner) this.#gateway.send({ t: 'searches', scanner: this.#scanner });
    for (const [id, sandbox] of this.#sandboxes) {
      this.#toRepeat.add(id);
      void sandbox.forgetPrepared();
    }
  }

  #controlled(message: OpenshelldNews, fds: number[]): void {
    const keep = (count: number): number[] => {
      for (const extra of fds.slice(count)) this.#options.closeFd(extra);
      return fds.slice(0, count);
    };
    if (message.t === 'link') {
      const [fd] = keep(1);
      if (fd === undefined) return;
      if (message.peer === 'gateway') this.#gateway.attach(this.#options.open(fd));
      else if (message.peer === 'ledger') this.#audit.attach(this.#options.open(fd));
      else this.#options.closeFd(fd);
    } else if (message.t === 'attach') {
      const [tcp, dns] = keep(2);
      if (tcp !== undefined && dns !== undefined) this.#quietly(message.sandbox, 'The network of the sandbox cannot be served', this.#sandbox(message.sandbox).attach(tcp, dns));
      else if (tcp !== undefined) this.#options.closeFd(tcp);
    } else {
      keep(0);
      if (message.t === 'detach') this.#detach(message.sandbox);
    }
  }

  #detach(id: string): void {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox) this.#quietly(id, 'The network of the sandbox was not closed in order', sandbox.detach().then(() => { if (!sandbox.configured) this.#sandboxes.delete(id); }));
  }

  #heard(message: GatewayNews): void {
    switch (message.t) {
      case 'configure':
        this.#answer(message.config.sandbox, message.config.version, this.#sandbox(message.config.sandbox).configure(message.config));
        return;
      case 'prepare':
        // A damaged one is told of when it is to be switched to.
        this.#sandbox(message.config.sandbox).prepare(message.config).catch(() => undefined);
        return;
      case 'switch':
        this.#answer(message.sandbox, message.version, this.#sandbox(message.sandbox).switch(message.version));
        return;
      case 'remove':
        this.#ingress.remove(message.sandbox);
        this.#approver.forget(message.sandbox);
        this.#told.delete(message.sandbox);
        this.#quietly(message.sandbox, 'The network of the sandbox was not closed in order', this.#sandbox(message.sandbox).remove().then(() => {
          this.#sandboxes.delete(message.sandbox);
          // A configuration that was on its way may have come to the way in since.
          this.#ingress.remove(message.sandbox);
        }));
        return;
      case 'ingress':
        this.#ingress.listen(message.listen);
        return;
      case 'flush':
        this.#flush(message.id, message.sandbox);
        return;
      case 'hold.outcome':
        this.#approver.outcome(message.sandbox, message.holdId, message.outcome);
        return;
      case 'pending':
        this.#approver.setPending(message.sandbox, message.entries);
    }
  }

  /** What ended just now has its event after the callbacks that are due. */
  #flush(flushId: number, sandbox: string): void {
    setImmediate(() =>
      setImmediate(() => {
        void this.#audit.flush().then(() => this.#gateway.send({ t: 'flushed', flushId, sandbox }));
      }),
    );
  }

  #answer(sandbox: string, version: number, work: Promise<void>): void {
    work.then(
      () => {
        this.#gateway.send({ t: 'configured', sandbox, version });
        const inForce = this.#sandboxes.get(sandbox);
        if (inForce?.config) this.#ingress.set(inForce.config, () => inForce.label);
        this.#secrets = [...new Set([...this.#sandboxes.values()].flatMap((each) => each.secrets))];
        if (!this.#toRepeat.delete(sandbox)) return;
        this.#approver.repeat(sandbox);
        inForce?.tellRates();
      },
      (error: unknown) => this.#gateway.send({ t: 'configured', sandbox, version, error: error instanceof Error ? error.message.slice(0, 1000) : 'unknown error' }),
    );
  }

  #sandbox(id: string): WorkerSandbox {
    let sandbox = this.#sandboxes.get(id);
    if (!sandbox) {
      const { clock, ids, closeFd: close, source, destination } = this.#options;
      sandbox = new WorkerSandbox(id, {
        approver: this.#approver, audit: this.#audit, clock, ids, closeFd: close, recording: () => this.#audit.takes.append,
        raise: async (name, to, why) => {
          if (!(await this.#gateway.ask({ t: 'label.raise', sandbox: name, to, why: why.slice(0, 1000) }))) throw new Error('The new label could not be recorded.');
        },
        rates: (name, rates) => void this.#gateway.send({ t: 'rates', sandbox: name, rates }),
        renew: (name, placeholder) => this.#gateway.ask({ t: 'credential.renew', sandbox: name, placeholder }),
        program: (name, ends) => programOf(this.#openshelld, name, ends),
        ...(source ? { source } : {}), ...(destination ? { destination } : {}),
      });
      this.#sandboxes.set(id, sandbox);
    }
    return sandbox;
  }

  #tellUsage(): void {
    for (const [id, sandbox] of this.#sandboxes) {
      const usage = sandbox.usage();
      const text = usage ? `${usage.requests} ${usage.bytesOut}` : '';
      if (!usage || this.#told.get(id) === text) continue;
      if (this.#gateway.send({ t: 'usage', sandbox: id, ...usage, tokens: 0 })) this.#told.set(id, text);
    }
  }

  #quietly(sandbox: string, what: string, work: Promise<void>): void {
    work.catch((error: unknown) => this.#audit.emit(this.#event(sandbox, `${what}: ${error instanceof Error ? error.message : 'unknown error'}`)));
  }

  #event(sandbox: string, message: string): LedgerEvent {
    return { time: this.#options.clock.now(), class: 'applicationLifecycle', activity: 99, severity: 4, sandbox, layer: 'proxy', message };
  }
}

/** Undefined where openshelld does not see programs; rejects where it does not know this one. A restart of it is waited for: what it kept outlives it. */
async function programOf(openshelld: OpenshelldClient, sandbox: string, ends: ConnectionEnds): Promise<string | undefined> {
  const owner = openshelld.connectionOwner(sandbox, ends).catch((error: unknown) => {
    if (error instanceof OpenshelldError && error.code === 'reset') return openshelld.connectionOwner(sandbox, ends);
    throw error;
  });
  return owner.then(({ exe }) => exe, (error: unknown) => {
    if (error instanceof OpenshelldError && error.code === 'not-seen') return undefined;
    throw error;
  });
}

/** More uncaught errors than this in a row of ten seconds, and a fresh process is the safer one. */
const maxUncaught = 100;

function main(): void {
  const control = new ControlChannel();
  const worker = startWorker({ control, clock: systemClock, ids: systemIds, open: (fd) => new Socket({ fd }), closeFd });
  prepareInspection((scanner, why) => worker.searches(scanner, why));
  let uncaught = 0;
  setInterval(() => { uncaught = 0; }, 10_000).unref();
  // An error in one connection's late callback must not end every sandbox's network; what it belonged to stays closed.
  const survive = (error: unknown): void => {
    process.stderr.write(`worker: ${errorPlace(error, 20)}\n`);
    uncaught += 1;
    if (uncaught > maxUncaught) process.exit(1);
    worker.report(error);
  };
  process.on('uncaughtException', survive);
  process.on('unhandledRejection', survive);
  const end = (): void => {
    worker.stop().then(() => process.exit(0), () => process.exit(1));
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  control.onClose(end);
}

if (import.meta.main) main();
