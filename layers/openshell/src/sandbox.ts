/** Sandboxes for a program that has no NemoClaw around it: made from a policy, with commands, terminals, events, live changes. */
import { closeSync, constants, openSync } from 'node:fs';
import { checkHost, NemoError, unenforced, type Approver, type Clock, type CreateResult, type LaunchPlan, type LayerSwitch, type LedgerEvent, type PolicyHostFacts, type SandboxPolicy, type SeenReport } from '@nemoclaw/contract';
import { readHostFacts, type HostFacts } from './host-facts.ts';
import { launchableHere } from './launch-facts.ts';
import { OpenshelldError, type OpenshelldNews } from './openshelld-client.ts';
import { planFor, type PlanOptions } from './plan-for.ts';
import { checkLiveChange } from './sandbox-change.ts';
import { AloneDaemon } from './sandbox-daemon.ts';
import { EventFeed } from './sandbox-events.ts';
import { Holds } from './sandbox-holds.ts';
import { processOf, signalNumber, terminalOf, type ExecEnd, type Running, type SandboxProcess, type SandboxTerminal } from './sandbox-process.ts';
import { systemClock } from './system-clock.ts';
import { terminalApprover } from './terminal-approver.ts';
import { workspaceFolder } from './workspace-folder.ts';
import { releasedLines, WorkspaceUse } from './workspace-use.ts';

export interface SandboxOptions {
  /** Folder of the host that is /workspace inside; left out: a private one that ends with the sandbox. */
  readonly workspace?: string;
  /** Who is asked about held calls; left out: the person at this process's terminal, and where there is none everything held is denied. */
  readonly approver?: Approver | Approver['ask'];
  /** How long a held call waits before it is denied, ms, at least 1,000; 15 minutes if left out. */
  readonly holdFor?: number;
  /** More environment for every command. */
  readonly env?: Readonly<Record<string, string>>;
  /** Files that are there before the first command; below /etc, /opt or /run. */
  readonly files?: PlanOptions['files'];
  /** Folders of installed agents below the host's usual places (/usr, /opt …), shown read-only at /opt/<name>; `bin` of each is in PATH. */
  readonly agents?: PlanOptions['agents'];
  /** Folder of root's in which the layer of a workspace with `filesystem.overlay` is kept, one for each folder and person; left out, such a policy is refused. */
  readonly layers?: string;
  /** What this host has; read from it if left out. */
  readonly host?: HostFacts;
  readonly clock?: Clock;
  /** Layers to switch off, for tests of the others. */
  readonly off?: readonly LayerSwitch[];
}

export interface ExecOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute, as seen inside; /workspace if left out. */
  readonly cwd?: string;
}
export interface PtyOptions extends ExecOptions {
  /** In characters; 24 by 80 if left out. */
  readonly rows?: number;
  readonly cols?: number;
}

export interface Sandbox {
  /** Unique in this process: the policy's name and a number, or where its layer is kept the folder's id. */
  readonly name: string;
  readonly tier: 'A' | 'B' | 'C';
  /** What the policy asks for that is narrowed or not enforced here, one plain sentence each. */
  readonly notes: readonly string[];
  /** What was tried from inside before anything could start, and stopped. */
  readonly probe: Readonly<Record<string, boolean>>;
  /** Resolves with the reason when the sandbox has ended, asked for or not, and its workspace was checked or could not be. */
  readonly ended: Promise<string>;
  /** Starts a command. `argv[0]` is looked up in PATH inside. Rejects with NEMO_E_EXEC if it cannot be started, NEMO_E_STATE if the sandbox has ended. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<SandboxProcess>;
  /** The same on a terminal of its own. */
  pty(argv: readonly string[], options?: PtyOptions): Promise<SandboxTerminal>;
  /** What happened: refusals, held calls, answers, ends of commands. From the sandbox's beginning (the last 1,000), then live, until it ends. Each call reads for itself. */
  events(): AsyncGenerator<LedgerEvent, void, undefined>;
  /**
   * How often each system call was made since the sandbox began, by what became of it. Rejects with NEMO_E_STATE where nothing is counted (a plain user's sandbox, a kernel without eBPF,
   * `auditLog.syscalls: off`; `notes` says so) or the sandbox has ended: the last event but its end has the last counts.
   */
  counts(): Promise<SeenReport>;
  /**
   * Puts another policy in force for commands that run, too: `filesystem.escalate`, `maxMemory`, `maxCPU`, and `maxPids` up to what it was made with. A call that is held already
   * stays held. Rejects with NEMO_E_APPLY if it needs more than that (the former policy stays in force), NEMO_E_POLICY_NEEDS, NEMO_E_PLAN_PATH.
   */
  update(policy: SandboxPolicy): Promise<void>;
  /** Stops all its processes where they are, or lets them go on. Rejects with NEMO_E_BACKEND where the host cannot. */
  freeze(frozen: boolean): Promise<void>;
  /** Ends every process; resolves when nothing is left of the sandbox and its workspace was checked, also where openshelld was killed. Rejects with NEMO_E_UNCHECKED where it could not be. A second call does nothing. */
  destroy(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

let made = 0;

/**
 * Makes a sandbox; resolves when its enforcement has been tried from inside. It ends with `destroy`, and with this process however that ends.
 * Rejects with NemoError: NEMO_E_POLICY_NEEDS (the host cannot enforce the policy), NEMO_E_PLAN_PATH, NEMO_E_PLAN_SYSCALL, NEMO_E_WORKSPACE,
 * NEMO_E_UNCHECKED (what an earlier command left in the workspace could not be checked), NEMO_E_ROOT (no sandbox can be made here, with what to do), NEMO_E_NATIVE (not built), NEMO_E_BACKEND (openshelld does not start), NEMO_E_PROBE (something that must not be possible was), NEMO_E_CREATE.
 */
export async function createSandbox(policy: SandboxPolicy, options: SandboxOptions = {}): Promise<Sandbox> {
  const limited = launchableHere();
  const host = options.host ?? { ...readHostFacts({ nodeBinary: process.execPath }), limits: limited.limits };
  const folder = options.workspace === undefined ? undefined : workspaceFolder(options.workspace);
  const { daemon, release } = await AloneDaemon.take({ bindRoots: host.bindRoots, devices: host.gpu ?? [], holdSeconds: Math.max(1, Math.round((options.holdFor ?? 900_000) / 1000)), testing: options.off !== undefined, ...(options.layers === undefined ? {} : { state: options.layers }) });
  try {
    const { tier } = await daemon.client.host();
    const facts = { ...limited, tier, ...(host.gpu && { gpu: host.gpu }) };
    const plan = (given: SandboxPolicy): LaunchPlan => {
      checkHost(given, facts);
      return planFor(given, { ...host, tier }, {
        hasWorkspace: folder !== undefined,
        env: Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`),
        ...(options.files === undefined ? {} : { files: options.files }),
        ...(options.agents === undefined ? {} : { agents: options.agents }),
        ...(options.off === undefined ? {} : { off: options.off }),
      });
    };
    const first = plan(policy);
    const registration = folder === undefined ? '' : await register(daemon, folder);
    const earlier: string[] = [];
    const use = folder === undefined ? undefined : await WorkspaceUse.begin(folder, (line) => earlier.push(line));
    made += 1;
    const keeps = options.layers !== undefined && first.workspace.kind === 'overlay' && first.workspace.onEnd === 'keep' && registration !== '';
    const name = keeps ? registration : `${policy.metadata.name}-${made}`;
    const sandbox = new AloneSandbox({ name, facts, daemon, release, plan, policy, approver: approverOf(options.approver), clock: options.clock ?? systemClock, use, earlier }, first);
    await sandbox.create(registration);
    return sandbox;
  } catch (error) {
    await release();
    throw error;
  }
}

function approverOf(given: SandboxOptions['approver']): Approver {
  if (given === undefined) return terminalApprover();
  return typeof given === 'function' ? { ask: given, consumeGrant: () => Promise.resolve(false), pending: () => undefined } : given;
}

/** The folder under the name that it always has: its id. Rejects with NEMO_E_WORKSPACE, NEMO_E_BACKEND. */
export async function register(daemon: AloneDaemon, folder: string): Promise<string> {
  let fd: number;
  try {
    fd = openSync(folder, 0o10000000 /* O_PATH */ | constants.O_DIRECTORY);
  } catch (cause) {
    throw new NemoError('NEMO_E_WORKSPACE', { what: `${folder} cannot be opened.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
  try {
    return (await daemon.client.registerWorkspace(folder, fd)).id;
  } catch (error) {
    throw backendError(error);
  } finally {
    closeSync(fd);
  }
}

/** What an answer of openshelld means to a person. */
export function backendError(error: unknown): NemoError {
  const why = error instanceof Error ? error.message : String(error);
  const code = error instanceof OpenshelldError ? error.code : '';
  if (code === 'probe') return new NemoError('NEMO_E_PROBE', { what: why, cause: error });
  if (code === 'idmap-refused') return new NemoError('NEMO_E_WORKSPACE', { what: 'The file system of this folder cannot be shown in a sandbox.', why, cause: error });
  if (code === 'no-sandbox' || code === 'closed') return new NemoError('NEMO_E_STATE', { what: 'The sandbox has ended.', cause: error });
  if (code === 'host' || code === 'protocol' || code === 'send' || code === 'reset') return new NemoError('NEMO_E_BACKEND', { what: why, cause: error });
  return new NemoError('NEMO_E_CREATE', { what: why, cause: error });
}

interface Parts {
  readonly name: string;
  readonly facts: PolicyHostFacts;
  readonly daemon: AloneDaemon;
  readonly release: () => Promise<void>;
  readonly plan: (policy: SandboxPolicy) => LaunchPlan;
  readonly policy: SandboxPolicy;
  readonly approver: Approver;
  readonly clock: Clock;
  /** Undefined: there is no workspace. */
  readonly use: WorkspaceUse | undefined;
  /** What an earlier command was found to have left, a line each. */
  readonly earlier: readonly string[];
}

class AloneSandbox implements Sandbox {
  readonly name: string;
  readonly tier: 'A' | 'B' | 'C';
  readonly ended: Promise<string>;
  readonly #parts: Parts;
  readonly #feed = new EventFeed();
  readonly #holds: Holds;
  readonly #running = new Map<string, (end: ExecEnd) => void>();
  #policy: SandboxPolicy;
  readonly #made: LaunchPlan;
  #plan: LaunchPlan;
  #probe: Readonly<Record<string, boolean>> = {};
  #execs = 0;
  #over = false;
  #end: (why: string) => void = () => undefined;
  #destroyed: Promise<void> | undefined;
  /** Why the workspace was not checked. */
  #unchecked: unknown;

  constructor(parts: Parts, plan: LaunchPlan) {
    this.#parts = parts;
    this.name = parts.name;
    this.tier = parts.facts.tier;
    this.#policy = parts.policy;
    this.#made = this.#plan = plan;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    this.#holds = new Holds({ approver: parts.approver, clock: parts.clock, answer: (holdId, verdict) => parts.daemon.client.answerHold(this.name, holdId, verdict), emit: (event) => this.#feed.push(event) });
    for (const line of parts.earlier) this.#found(line);
    parts.daemon.listen(this.name, (message) => this.#news(message));
    void parts.daemon.gone.then(() => this.#gone('openshelld ended'));
  }

  get notes(): readonly string[] {
    return [...this.#plan.notes, ...unenforced(this.#policy, this.#parts.facts)];
  }

  get probe(): Readonly<Record<string, boolean>> {
    return this.#probe;
  }

  async create(registration: string): Promise<void> {
    try {
      const result: CreateResult = await this.#parts.daemon.client.create(this.name, this.#plan, registration, '', this.#parts.use?.file);
      this.#probe = result.probe;
    } catch (error) {
      this.#gone('it could not be made');
      await this.ended;
      throw backendError(error);
    }
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<SandboxProcess> {
    const { running, fds } = await this.#start(argv, options, null);
    return processOf(running, fds);
  }

  async pty(argv: readonly string[], options: PtyOptions = {}): Promise<SandboxTerminal> {
    const { running, fds, execId } = await this.#start(argv, options, { rows: options.rows ?? 24, cols: options.cols ?? 80 });
    return terminalOf(running, fds[0] ?? -1, async (rows, cols) => {
      await this.#parts.daemon.client.execResize(this.name, execId, rows, cols).catch((error: unknown) => Promise.reject(backendError(error)));
    });
  }

  events(): AsyncGenerator<LedgerEvent, void, undefined> {
    return this.#feed.read();
  }

  async counts(): Promise<SeenReport> {
    if (this.#over) throw new NemoError('NEMO_E_STATE', { what: 'The sandbox has ended.' });
    return this.#parts.daemon.client.seen(this.name).catch((cause: unknown) => {
      const unseen = cause instanceof OpenshelldError && cause.code === 'not-seen';
      return Promise.reject(unseen ? new NemoError('NEMO_E_STATE', { what: 'The system calls of this sandbox are not counted.', why: cause.message, cause }) : backendError(cause));
    });
  }

  async update(policy: SandboxPolicy): Promise<void> {
    if (this.#over) throw new NemoError('NEMO_E_STATE', { what: 'The sandbox has ended.' });
    const next = this.#parts.plan(policy);
    checkLiveChange(this.#made, next);
    const { memoryBytes, pids, cpuMillis } = next.limits;
    try {
      await this.#parts.daemon.client.update(this.name, next.escalate, { memoryBytes, pids, cpuMillis }, next.recordRules, next.lsm);
    } catch (error) {
      throw new NemoError('NEMO_E_APPLY', { what: error instanceof Error ? error.message : String(error), cause: error });
    }
    this.#plan = next;
    this.#policy = policy;
  }

  async freeze(frozen: boolean): Promise<void> {
    await this.#parts.daemon.client.freeze(this.name, frozen).catch((error: unknown) => Promise.reject(backendError(error)));
  }

  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy();
    return this.#destroyed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destroy();
  }

  async #destroy(): Promise<void> {
    // Refused: it had ended already.
    if (!this.#over) await this.#parts.daemon.client.destroy(this.name).catch(() => undefined);
    this.#gone('destroyed');
    await this.ended;
    await this.#parts.release();
    if (this.#unchecked !== undefined) throw this.#unchecked;
  }

  async #start(argv: readonly string[], options: ExecOptions, tty: { rows: number; cols: number } | null): Promise<{ running: Running; fds: readonly number[]; execId: string }> {
    if (this.#over) throw new NemoError('NEMO_E_STATE', { what: 'The sandbox has ended.' });
    const { client } = this.#parts.daemon;
    const execId = `x${(this.#execs += 1)}`;
    const exited = new Promise<ExecEnd>((resolve) => this.#running.set(execId, resolve));
    const env = [...this.#plan.env, ...Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`)];
    try {
      const { pid, fds } = await client.exec(this.name, execId, { argv, env: lastOfEach(env), cwd: options.cwd ?? this.#plan.cwd, tty });
      const kill = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => {
        await client.execSignal(this.name, execId, signalNumber(signal)).catch((cause: unknown) => Promise.reject(new NemoError('NEMO_E_STATE', { what: 'The command has ended.', cause })));
      };
      return { running: { pid, exited, kill }, fds, execId };
    } catch (cause) {
      this.#running.delete(execId);
      const gone = cause instanceof OpenshelldError && (cause.code === 'no-sandbox' || cause.code === 'closed');
      if (gone) throw backendError(cause);
      throw new NemoError('NEMO_E_EXEC', { what: `'${argv[0] ?? ''}' could not be started in the sandbox.`, why: cause instanceof Error ? cause.message : String(cause), cause });
    }
  }

  #news(message: OpenshelldNews): void {
    if (message.t === 'event') this.#feed.push(message.event);
    else if (message.t === 'hold') void this.#holds.hold(message.hold, this.#policy, this.#plan.escalate[message.hold.rule]?.path);
    else if (message.t === 'hold.ended') this.#holds.ended(message.holdId);
    else if (message.t === 'exec.exited') this.#exited(message.execId, { code: message.code, signal: message.signal });
    else if (message.t === 'sandbox.gone') this.#gone(message.why);
  }

  #exited(execId: string, end: ExecEnd): void {
    const how = end.signal === null ? `code ${end.code ?? '?'}` : end.signal;
    this.#feed.push({ time: this.#parts.clock.now(), class: 'processActivity', activity: 2, severity: 1, sandbox: this.name, layer: 'openshelld', message: `A command ended: ${how}`, data: { execId, ...end } });
    this.#running.get(execId)?.(end);
    this.#running.delete(execId);
  }

  #gone(why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#parts.daemon.forget(this.name);
    this.#holds.endAll();
    for (const execId of [...this.#running.keys()]) this.#exited(execId, { code: null, signal: 'SIGKILL' });
    void this.#giveBack(why);
  }

  /** openshelld has checked the workspace, but where it was killed. */
  async #giveBack(why: string): Promise<void> {
    try {
      const late = await this.#parts.use?.settle();
      if (late !== undefined) ['openshelld ended before it had checked the workspace; it was checked now', ...releasedLines(late)].forEach((line) => this.#found(line));
    } catch (error) {
      this.#unchecked = error;
      this.#found(error instanceof Error ? error.message : String(error));
    }
    this.#feed.end();
    this.#end(why);
  }

  #found(line: string): void {
    this.#feed.push({ time: this.#parts.clock.now(), class: 'detectionFinding', activity: 1, severity: 4, sandbox: this.name, layer: 'openshelld', verdict: 'deny', message: line });
  }
}

/** The last of those with the same name counts. */
function lastOfEach(env: readonly string[]): string[] {
  return [...new Map(env.map((entry) => [entry.slice(0, entry.indexOf('=')), entry])).values()];
}
