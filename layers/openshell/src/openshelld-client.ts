/** Typed promises for every request of the control channel; everything else that openshelld says goes to the listener. */
import type { ConnectionOwner, CreateResult, EscalateRule, FromOpenshelld, Hello, LayerOp, LsmPlan, PlanLimits, RecordRules, Registration, Released, SeenReport, ToOpenshelld } from '@nemoclaw/contract';
import { closeFd } from './native.ts';

type Reply = Extract<FromOpenshelld, { t: 'reply' }>;
type Signed = Extract<FromOpenshelld, { t: 'signed' }>;
/** A request without the id that the client chooses. */
type Bare<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never;
export type OpenshelldRequest = Bare<ToOpenshelld>;
/** What is not the answer to a request. */
export type OpenshelldNews = Exclude<FromOpenshelld, Reply | Signed>;

/** The part of ControlChannel that the client uses. */
export interface ControlPort {
  onMessage(listener: (message: FromOpenshelld, fds: number[]) => void): void;
  onClose(listener: (error: Error | undefined) => void): void;
  send(message: ToOpenshelld, fds?: readonly number[]): void;
}

/** openshelld said no, or restarted before it answered (`code: 'reset'`: the request may have been carried out or not). */
export class OpenshelldError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = 'OpenshelldError';
    this.code = code;
  }
}

/** Facts about this host, as openshelld found them. */
export interface HostReport {
  readonly tier: 'A' | 'B' | 'C';
  /** Why it is this one, in plain words. */
  readonly tierWhy: string;
  readonly landlock: number;
  readonly kernel: string;
  readonly cgroup: Readonly<Record<'v2' | 'memory' | 'pids' | 'cpu' | 'freezer', boolean>>;
  /** An eBPF program counts every system call and reports refused ones. */
  readonly seen: boolean;
  /** The program that opens a connection is kept, and told to the data plane. */
  readonly programs: boolean;
  readonly testing: boolean;
  /** Devices that `gpuAccess: full` shows. */
  readonly gpu: readonly string[];
  readonly sandboxes: number;
  readonly sandboxLimit: number;
  readonly services: readonly { readonly name: string; readonly pid: number; readonly uid: number; readonly restarts: number }[];
}

/** Both ends of a connection, as the sandbox sees them. */
export interface ConnectionEnds {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** The descriptors belong to the caller: [pty master], or [stdin, stdout, stderr]. */
export interface ExecStarted {
  readonly execId: string;
  /** As seen inside the sandbox. */
  readonly pid: number;
  readonly fds: readonly number[];
}
export interface ExecOptions {
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly tty: { readonly rows: number; readonly cols: number } | null;
}

interface Waiting {
  resolve(value: { readonly result: unknown; readonly fds: number[] }): void;
  reject(error: OpenshelldError): void;
}

/** The requests of contract/src/control.ts as promises. Each rejects with an OpenshelldError that has openshelld’s own code, `send` (nothing was sent) or `reset` (it restarted before it answered). */
export class OpenshelldClient {
  readonly #port: ControlPort;
  readonly #hello: Hello;
  readonly #waiting = new Map<number, Waiting>();
  readonly #news: (message: OpenshelldNews, fds: number[]) => void;
  #next = 1;

  /** Says hello now, and again after every reset. `news` gets links, holds, inventory and the like; descriptors given to it belong to it. */
  constructor(port: ControlPort, role: Hello['role'], pid: number, news: (message: OpenshelldNews, fds: number[]) => void) {
    this.#port = port;
    this.#hello = { t: 'hello', role, pid };
    this.#news = news;
    port.onMessage((message, fds) => this.#take(message, fds));
    port.onClose(() => this.#failAll('closed', 'openshelld closed the control channel'));
    port.send(this.#hello);
  }

  /** `plan` is a LaunchPlan; `registration` a workspace's id or ''; alone, `manifest` is an empty file for that workspace. Rejects with the code of the failed step. */
  async create(sandbox: string, plan: unknown, registration: string, worker: string, manifest?: string): Promise<CreateResult> {
    return (await this.#ask({ t: 'sandbox.create', sandbox, plan, registration, worker, ...(manifest === undefined ? {} : { manifest }) })).result as CreateResult;
  }

  /** Starts a command in a running sandbox; its end comes as `exec.exited`. */
  async exec(sandbox: string, execId: string, options: ExecOptions): Promise<ExecStarted> {
    const { result, fds } = await this.#ask({ t: 'exec', sandbox, execId, ...options });
    return { ...(result as { execId: string; pid: number }), fds };
  }

  /** The outputs of a command that still runs, after this process was restarted: [pty master] or [stdout, stderr]. */
  async execAttach(sandbox: string, execId: string): Promise<ExecStarted> {
    const { result, fds } = await this.#ask({ t: 'exec.attach', sandbox, execId });
    return { ...(result as { execId: string; pid: number }), fds };
  }

  async execSignal(sandbox: string, execId: string, signal: number): Promise<void> {
    await this.#ask({ t: 'exec.signal', sandbox, execId, signal });
  }

  async execResize(sandbox: string, execId: string, rows: number, cols: number): Promise<void> {
    await this.#ask({ t: 'exec.resize', sandbox, execId, rows, cols });
  }

  async freeze(sandbox: string, frozen: boolean): Promise<void> {
    await this.#ask({ t: 'sandbox.freeze', sandbox, frozen });
  }

  /** Other escalate rules and limits, for commands that run too. Rejects with `host` where the kernel refuses a limit; the rules are then the old ones. */
  async update(sandbox: string, escalate: readonly EscalateRule[], limits: Omit<PlanLimits, 'openFiles'>, recordRules: RecordRules, lsm: LsmPlan | null = null): Promise<void> {
    await this.#ask({ t: 'sandbox.update', sandbox, escalate, lsm, limits, recordRules });
  }

  /** Alone mode: hands over an open folder, which stays the caller's. `path` is only shown. */
  async registerWorkspace(path: string, folder: number): Promise<Registration> {
    return (await this.#ask({ t: 'workspace.register', path }, [folder])).result as Registration;
  }

  /** Resolves when nothing of the sandbox is left and its workspace has been checked; with what it left there at protected names, null where it had no writable workspace. */
  async destroy(sandbox: string): Promise<Released | null> {
    return ((await this.#ask({ t: 'sandbox.destroy', sandbox })).result as { released?: Released | null }).released ?? null;
  }

  /** What a request about a kept layer answers, see `layer` in contract/src/control.ts; `name` is a snapshot's, '' for the others. */
  async layer(sandbox: string, op: LayerOp, name = ''): Promise<unknown> {
    return (await this.#ask({ t: 'layer', sandbox, op, name })).result;
  }

  /** Resolves with how the hold ended: `performed`, `denied`, `changed` or `agent-gone`. Rejects with `no-hold` if it has already ended. */
  async answerHold(sandbox: string, holdId: string, verdict: 'allow' | 'deny'): Promise<{ readonly outcome: string; readonly errno: number }> {
    return (await this.#ask({ t: 'hold.answer', sandbox, holdId, verdict })).result as { outcome: string; errno: number };
  }

  /** Sends to the ledger what is known of a sandbox and not yet told; resolves with the number of openshelld's last event. */
  async flush(sandbox: string): Promise<number> {
    return ((await this.#ask({ t: 'flush', sandbox })).result as { seq: number }).seq;
  }

  /** What was seen of a sandbox; its events until now are on their way to the ledger before this resolves. Rejects with `not-seen` (no eBPF here, or `auditLog.syscalls: off`) or `no-sandbox`. */
  async seen(sandbox: string): Promise<SeenReport> {
    return (await this.#ask({ t: 'seen', sandbox })).result as SeenReport;
  }

  /** A worker's: a connection to a port on the loopback of a sandbox attached to it, as a descriptor that belongs to the caller. Rejects with `no-sandbox` or `refused`. */
  async ingressConnect(sandbox: string, port: number): Promise<number> {
    const [fd] = (await this.#ask({ t: 'ingress.connect', sandbox, port })).fds;
    if (fd === undefined) throw new OpenshelldError('protocol', 'a connection came without its descriptor');
    return fd;
  }

  /** A worker's: which program opened a connection of a sandbox attached to it. Rejects with `no-sandbox`, `not-seen` or `unknown`. */
  async connectionOwner(sandbox: string, ends: ConnectionEnds): Promise<ConnectionOwner> {
    return (await this.#ask({ t: 'connection.owner', sandbox, ...ends })).result as ConnectionOwner;
  }

  async host(): Promise<HostReport> {
    return (await this.#ask({ t: 'host' })).result as HostReport;
  }

  async workspaces(): Promise<readonly Registration[]> {
    return (await this.#ask({ t: 'workspaces' })).result as Registration[];
  }

  /** Signs a checkpoint of the record; the hex Ed25519 signature. Rejects with `checkpoint-refused` if it would rewrite one. */
  async sign(count: number, head: string, why: 'interval' | 'commit' | 'stop'): Promise<string> {
    return (await this.#ask({ t: 'sign', count, head, why })).result as string;
  }

  #ask(request: OpenshelldRequest, given: readonly number[] = []): Promise<{ readonly result: unknown; readonly fds: number[] }> {
    const id = this.#next;
    this.#next += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      try {
        this.#port.send({ ...request, id } as ToOpenshelld, given);
      } catch (error) {
        this.#waiting.delete(id);
        reject(new OpenshelldError('send', error instanceof Error ? error.message : String(error)));
      }
    });
  }

  #take(message: FromOpenshelld, fds: number[]): void {
    if (message.t === 'reply' || message.t === 'signed') {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (!waiting) for (const fd of fds) closeFd(fd);
      else if (message.t === 'signed') waiting.resolve({ result: message.signature, fds });
      else if (message.ok) waiting.resolve({ result: message.result, fds });
      else waiting.reject(new OpenshelldError(message.code, message.error));
      return;
    }
    if (message.t === 'reset') {
      this.#failAll('reset', 'openshelld restarted before it answered');
      this.#port.send(this.#hello);
    }
    this.#news(message, fds);
  }

  #failAll(code: string, text: string): void {
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) waiting.reject(new OpenshelldError(code, text));
  }
}
