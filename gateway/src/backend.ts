/** What the gateway asks of openshelld and of the record; real clients and the fakes of the tests both fit. */
import type { Readable, Writable } from 'node:stream';
import type { CreateResult, LayerOp, LedgerEvent, OcsfClassName, Registration, Released, SeenReport } from '@nemoclaw/contract';

/** One command inside a sandbox. With a terminal all output is on `stdout` and `stderr` is null. */
export interface Started {
  readonly execId: string;
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable | null;
}
export interface ExecRequest {
  readonly sandbox: string;
  readonly execId: string;
  readonly argv: readonly string[];
  /** `NAME=value`. */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly tty: { readonly rows: number; readonly cols: number } | null;
}

/** openshelld, as promises. Every one rejects when openshelld refuses or is gone. */
export interface Backend {
  host(): Promise<Readonly<Record<string, unknown>>>;
  workspaces(): Promise<readonly Registration[]>;
  create(request: { readonly sandbox: string; readonly plan: unknown; readonly registration: string; readonly worker: string }): Promise<CreateResult>;
  exec(request: ExecRequest): Promise<Started>;
  /** The outputs of a command that runs since before this process; its input is closed. */
  attach(sandbox: string, execId: string): Promise<Omit<Started, 'stdin' | 'execId'>>;
  signal(sandbox: string, execId: string, signal: number): Promise<void>;
  resize(sandbox: string, execId: string, rows: number, cols: number): Promise<void>;
  /** With what it left at protected names of its workspace; null where it had none that it could write. */
  destroy(sandbox: string): Promise<Released | null>;
  freeze(sandbox: string, frozen: boolean): Promise<void>;
  /** A request about the sandbox's kept layer; what it resolves with is said with `layer` in contract/src/control.ts. */
  layer(sandbox: string, op: LayerOp, name?: string): Promise<unknown>;
  /** What was counted of a running sandbox; rejects where nothing is. Its events until now are on their way to the record before this resolves. */
  seen(sandbox: string): Promise<SeenReport>;
  /** Sends to the record what openshelld knows of a sandbox and has not yet told; the number of its last event. */
  flush(sandbox: string): Promise<number>;
  answerHold(sandbox: string, holdId: string, verdict: 'allow' | 'deny'): Promise<void>;
}

/** A record as the ledger keeps it: OCSF, with `metadata.sequence`. */
export type OcsfRecord = Readonly<Record<string, unknown>>;

/** The read side of the ledger. */
export interface RecordReader {
  /** Up to `limit` records with sequence > `after`, in order. */
  tail(query: { readonly sandbox?: string; readonly after: number; readonly limit: number }): Promise<readonly OcsfRecord[]>;
  /** Records after `after` and then live, until the signal aborts. */
  follow(query: { readonly sandbox?: string; readonly after: number }, onRecords: (records: readonly OcsfRecord[]) => void, signal: AbortSignal): void;
  /** Resolves when openshelld's events up to this number can be read; never rejects, and waits a second at most. */
  settled(openshelld: number): Promise<void>;
  /** `decisions`: of the ledger's process, `layer verdict` -> how many. */
  status(): Promise<{ readonly up: boolean; readonly count: number; readonly head: string; readonly decisions?: Readonly<Record<string, number>> }>;
}

/** An event of the gateway itself, with what is the same for all of them filled in. */
export function gatewayEvent(
  time: number,
  sandbox: string,
  message: string,
  more: Partial<Omit<LedgerEvent, 'time' | 'sandbox' | 'message'>> & { readonly class?: OcsfClassName } = {},
): LedgerEvent {
  return { time, class: 'applicationLifecycle', activity: 99, severity: 1, layer: 'gateway', ...more, sandbox, message };
}
