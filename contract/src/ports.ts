/** The interfaces through which rooms meet; implementations are passed in at construction. */
import type { ActionRequest, Decision, Sensitivity } from './decision.ts';
import type { LedgerEvent } from './events.ts';

/** Wall time in ms and monotonic (CLOCK_BOOTTIME where the platform gives it) time in ms. */
export interface Clock {
  now(): number;
  monotonic(): number;
}

/** Unguessable ids, e.g. `apr_5f3c…`; `prefix` says what it names. */
export interface Ids {
  next(prefix: string): string;
}

/** Where events go. `emit` never throws and never waits; `commit` resolves when the event is durable and rejects if it cannot be (then the effect must not happen). */
export interface AuditSink {
  emit(event: LedgerEvent): void;
  commit(event: LedgerEvent): Promise<void>;
}

/** What a human is asked. `key` identifies the identical request: sandbox, task, action, canonical arguments or body hash, object identity. */
export interface HoldRequest {
  readonly holdId: string;
  readonly sandbox: string;
  readonly kind: 'tool' | 'http' | 'syscall';
  readonly request: ActionRequest;
  readonly decision: Decision;
  /** SHA-256 hex over the canonical form; of an answer `answerKey` of that and of `answer`. */
  readonly key: string;
  /** The question is whether this answer to the request, which was made, is delivered: its SHA-256 hex. */
  readonly answer?: string;
  /** One plain sentence: verb and object. Agent-supplied text inside is already escaped. */
  readonly summary: string;
  /** The exact request, masked where secret, for the folded part of the card. */
  readonly detail: string;
  /** Something that a labelled host told the sandbox stands in its path, query or parameters, or inspection found something encoded in its path: they are neither shown nor kept. */
  readonly tainted?: boolean;
  /** How long the holder will wait, ms. */
  readonly patienceMs: number;
}

/** `waiting`: patience ended but the approval record lives on. `unavailable`: nobody can be asked; treat as deny. */
export type HoldOutcome =
  | { readonly verdict: 'allow'; readonly approvalId: string; readonly by: string }
  | { readonly verdict: 'deny'; readonly approvalId: string; readonly by: string; readonly reason: string }
  | { readonly verdict: 'waiting'; readonly approvalId: string }
  | { readonly verdict: 'unavailable'; readonly reason: string };

/** Asks a human and waits. Aborting the signal withdraws the question; it never allows. Aborted with the reason 'policy': a new policy has decided the request. */
export interface Approver {
  ask(request: HoldRequest, signal: AbortSignal): Promise<HoldOutcome>;
  /** Uses up a one-shot grant for the identical request, recorded before this resolves. False: none. */
  consumeGrant(sandbox: string, key: string): Promise<boolean>;
  /** Approval id of a pending or decided-but-unused request with this key, if any. */
  pending(sandbox: string, key: string): string | undefined;
}

/** Decides by the sandbox's current policy; never throws. */
export interface Decider {
  decide(request: ActionRequest): Decision;
  readonly version: number;
}

/** The sticky label of a sandbox; a rise is recorded by the gateway before the promise resolves. */
export interface LabelKeeper {
  current(): Sensitivity;
  raise(to: Sensitivity, why: string): Promise<void>;
}

export interface StoreEntry {
  readonly key: string;
  readonly value: unknown;
  /** Rises with every change of any key; 0 means "must not exist". */
  readonly revision: number;
}
export type StoreChange = StoreEntry | { readonly key: string; readonly deleted: true; readonly revision: number };
export type StoreWrite =
  | { readonly op: 'put'; readonly key: string; readonly value: unknown; readonly expectedRevision: number }
  | { readonly op: 'delete'; readonly key: string; readonly revision: number };

/** Revision did not match: somebody else wrote first. */
export class StoreConflict extends Error {
  readonly key: string;
  constructor(key: string) {
    super(`revision of ${key} has changed`);
    this.name = 'StoreConflict';
    this.key = key;
  }
}

/** All state, behind one port. Keys are `a/b/c`; a sandbox's keys start with `sandbox/<id>/`. */
export interface Store {
  get(key: string): Promise<StoreEntry | undefined>;
  list(prefix: string): Promise<StoreEntry[]>;
  /** Returns the new revision; rejects with StoreConflict. */
  put(key: string, value: unknown, expectedRevision: number): Promise<number>;
  delete(key: string, revision: number): Promise<void>;
  /** All or nothing; every key under one `sandbox/<id>/` prefix (or one other first-level prefix). Returns the revisions in order. */
  batch(writes: readonly StoreWrite[]): Promise<number[]>;
  /** Changes after revision `after`, in order, then live, until the signal aborts. A watcher that reconnects with the last revision it saw misses no key that is another now, or gone; what a key was in between may be left out. */
  watch(prefix: string, after: number, signal: AbortSignal): AsyncIterable<StoreChange>;
  close(): Promise<void>;
}
