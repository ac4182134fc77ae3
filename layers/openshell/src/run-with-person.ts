/** A command whose held calls a person at this terminal decides: keys go to the command, but while a question stands to the question alone. */
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { NemoError, type Approver, type LedgerEvent, type SandboxPolicy } from '@nemoclaw/contract';
import type { RunReport } from './cli-run.ts';
import type { HostFacts } from './host-facts.ts';
import { binding } from './native.ts';
import { createSandbox, type Sandbox, type SandboxOptions } from './sandbox.ts';
import type { ExecEnd, Running, SandboxProcess } from './sandbox-process.ts';
import { terminalApprover } from './terminal-approver.ts';

export interface RunOptions {
  readonly policy: SandboxPolicy;
  readonly command: readonly string[];
  readonly host: HostFacts;
  readonly workspace?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where its layer is kept, if it has one. */
  readonly layers?: string;
  /** Gets what a person should know before the command starts. */
  notes(lines: readonly string[]): void;
}

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

function given({ host, workspace, env, layers }: RunOptions): SandboxOptions {
  return { host, ...(workspace === undefined ? {} : { workspace }), ...(env === undefined ? {} : { env }), ...(layers === undefined ? {} : { layers }) };
}

function exitOf(end: ExecEnd): number {
  if (end.signal === null) return end.code ?? 1;
  return 128 + ((constants.signals as Readonly<Record<string, number>>)[end.signal] ?? 9);
}

/** NEMO_E_EXEC as a shell's code: the reason goes to stderr, as openshell-launch does. */
function notStarted(error: unknown): number {
  if (!(error instanceof NemoError) || error.code !== 'NEMO_E_EXEC') throw error;
  process.stderr.write(`openshell: ${error.message} ${error.why ?? ''}\n`);
  return /No such file/.test(error.why ?? '') ? 127 : 126;
}

/** Says what was found in the workspace, and whether everything stands still because it is full: then no signal reaches the command, and what would end it ends the sandbox. */
class Fullness {
  full = false;
  /** Resolves when all is told that was to be. */
  readonly told: Promise<void>;
  readonly #sandbox: Sandbox;

  constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
    this.told = this.#watch();
  }

  end(): void {
    void this.#sandbox.destroy().catch(() => undefined);
  }

  async #watch(): Promise<void> {
    for await (const { class: kind, data, message } of this.#sandbox.events()) {
      if (kind === 'detectionFinding') process.stderr.write(`openshell: ${message}\n`);
      if (data?.['limit'] !== 'resources.maxDisk') continue;
      this.full = data['state'] !== 'room';
      process.stderr.write(`openshell: ${message}${this.full ? '. Control-C ends it' : ''}\n`);
    }
  }
}

/** Signals that come to us go to the command, until the returned function is called. */
function passSignals(running: Running, fullness?: Fullness): () => void {
  const forward = (signal: NodeJS.Signals): void => (fullness?.full === true && !signal.startsWith('SIGUSR') ? fullness.end() : void running.kill(signal).catch(() => undefined));
  for (const signal of passedOn) process.on(signal, forward);
  return () => {
    for (const signal of passedOn) process.off(signal, forward);
  };
}

/** Runs it to its end; the exit code. Rejects as createSandbox. */
export async function runWithPerson(options: RunOptions): Promise<number> {
  const gate = new Gate();
  const approver = saying(terminalApprover({ pause: () => gate.pause(), resume: () => gate.resume() }));
  await using sandbox = await createSandbox(options.policy, { approver, ...given(options) });
  options.notes(sandbox.notes);
  try {
    return process.stdin.isTTY === true && process.stdout.isTTY === true ? await onTerminal(sandbox, options.command, gate) : await onPipes(sandbox, options.command, gate);
  } catch (error) {
    return notStarted(error);
  } finally {
    process.stdin.destroy();
  }
}

/** The same without a person: everything held is denied, and what came of it is told as one object. */
export async function runForReport(options: RunOptions): Promise<RunReport & { readonly exit: number }> {
  const approver = terminalApprover({ open: () => undefined });
  const sandbox = await createSandbox(options.policy, { approver, ...given(options) });
  const events: LedgerEvent[] = [];
  const read = (async () => {
    for await (const event of sandbox.events()) events.push(event);
  })();
  try {
    const { notes, probe, tier } = sandbox;
    const { code, signal, stdout, stderr } = await outputOf(sandbox, options.command);
    await sandbox.destroy();
    await read;
    return { code, signal, stdout, stderr, tier, notes, probe, events, exit: exitOf({ code, signal }) };
  } finally {
    await sandbox.destroy();
  }
}

/** All that the command says, and its end; one that cannot be started ends as in a shell. */
async function outputOf(sandbox: Sandbox, argv: readonly string[]): Promise<ExecEnd & { readonly stdout: string; readonly stderr: string }> {
  let command: SandboxProcess;
  try {
    command = await sandbox.exec(argv);
  } catch (error) {
    return { code: notStarted(error), signal: null, stdout: '', stderr: '' };
  }
  const stop = passSignals(command);
  try {
    return await command.output();
  } finally {
    stop();
  }
}

/** Says on stderr what was denied without a person; an agent that tries again and again fills no screen. */
function saying(approver: Approver): Approver {
  let left = 20;
  return {
    ...approver,
    async ask(request, signal) {
      const outcome = await approver.ask(request, signal);
      if (outcome.verdict === 'unavailable' && !signal.aborted && left-- > 0) process.stderr.write(`openshell: denied: ${request.summary}: ${outcome.reason}${left === 0 ? '; more of these are not shown' : ''}\n`);
      return outcome;
    },
  };
}

/** `from` flows into `to` but while it is paused. */
function flow(from: Readable, to: Writable, end: boolean): { pause(): void; resume(): void } {
  const resume = (): void => void from.pipe(to, { end });
  resume();
  return {
    pause: () => {
      from.unpipe(to);
      from.pause();
    },
    resume,
  };
}

async function onPipes(sandbox: Sandbox, argv: readonly string[], gate: Gate): Promise<number> {
  const fullness = new Fullness(sandbox);
  const command = await sandbox.exec(argv);
  const stop = passSignals(command, fullness);
  process.stdin.on('error', () => undefined);
  const flushed = [once(command.stdout, 'close'), once(command.stderr, 'close')];
  gate.around([flow(process.stdin, command.stdin, true), flow(command.stdout, process.stdout, false), flow(command.stderr, process.stderr, false)]);
  const end = await command.exited;
  stop();
  await sandbox.destroy(); // what it left running would keep the streams open
  await Promise.all([...flushed, fullness.told]);
  return exitOf(end);
}

async function onTerminal(sandbox: Sandbox, argv: readonly string[], gate: Gate): Promise<number> {
  const size = (): { rows: number; cols: number } => ({ rows: process.stdout.rows, cols: process.stdout.columns });
  // Before the command starts: it may be asked about at once, and a question leaves the terminal as it found it.
  process.stdin.setRawMode(true);
  binding().unprocessed(0);
  let after = (): void => undefined;
  try {
    const fullness = new Fullness(sandbox);
    const terminal = await sandbox.pty(argv, size());
    const stop = passSignals(terminal, fullness);
    const resized = (): void => void terminal.resize(size().rows, size().cols).catch(() => undefined);
    process.stdout.on('resize', resized);
    after = () => {
      stop();
      process.stdout.off('resize', resized);
    };
    process.stdin.on('data', (data: Buffer) => (fullness.full && data.includes(3) ? fullness.end() : void terminal.input.write(data)));
    terminal.output.on('data', (data: Buffer) => {
      if (!process.stdout.write(data)) {
        terminal.output.pause();
        process.stdout.once('drain', () => gate.open && terminal.output.resume());
      }
    });
    gate.around([process.stdin, terminal.output]);
    const shown = once(terminal.output, 'end');
    const end = await terminal.exited;
    gate.resume();
    await sandbox.destroy();
    await Promise.all([shown, fullness.told]);
    return exitOf(end);
  } finally {
    after();
    process.stdin.setRawMode(false);
  }
}

/** Streams that stand still while a question is asked: nothing of the agent is shown over it, and no key of its answer goes to the agent. */
class Gate {
  open = true;
  #streams: readonly { pause(): unknown; resume(): unknown }[] = [];

  around(streams: readonly { pause(): unknown; resume(): unknown }[]): void {
    this.#streams = streams;
    if (!this.open) this.pause();
  }

  pause(): void {
    this.open = false;
    for (const stream of this.#streams) stream.pause();
  }

  resume(): void {
    this.open = true;
    for (const stream of this.#streams) stream.resume();
  }
}
