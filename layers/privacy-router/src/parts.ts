/** What the router is built from: every effect and every decision comes in through here. */
import type { ActionLabels, ActionRequest, Approver, AuditSink, Clock, Decider, Ids, LabelKeeper, SandboxConfig } from '@nemoclaw/contract';

/** What a tool name and its arguments mean to the policy. `local`: touches only the sandbox, so the kernel governs it. */
export interface ResolvedTool {
  readonly action: string;
  readonly params: ReadonlyMap<string, unknown>;
  readonly labels: ActionLabels;
  readonly local: boolean;
  /** The parameters that the catalogue names; only these go on record. */
  readonly attributes: readonly string[];
}

export interface RouterParts {
  /** Id of the one sandbox this router serves. */
  readonly sandbox: string;
  /** The configuration in force; read once per request. */
  readonly config: () => SandboxConfig;
  readonly decider: Decider;
  readonly approver: Approver;
  readonly audit: AuditSink;
  readonly labels: LabelKeeper;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Tool name and arguments to action, by the catalogue of the policy in force. */
  readonly resolveTool: (name: string, args: ReadonlyMap<string, unknown>) => ResolvedTool;
  /** SHA-256 hex that is equal for identical requests (sandbox, task, action, canonical parameters). */
  readonly requestKey: (request: ActionRequest) => string;
  /** Masks secrets, and in text for the record personal data too; on a card a person must see who is meant. */
  readonly redact: (text: string, where: 'record' | 'card') => string;
  readonly limits?: Partial<Limits>;
}

/** Bounds of one router; times in ms, sizes in bytes. */
export interface Limits {
  readonly maxBody: number;
  readonly maxDepth: number;
  /** Of one answer of a provider, text and calls together. */
  readonly maxAnswer: number;
  readonly maxCalls: number;
  /** How long a question outlives the connection it was asked on. */
  readonly suspendMs: number;
  /** How long a delivered answer that a person had to approve is kept for a repeat of its turn. */
  readonly keepMs: number;
  /** Longest hold of an answer that is not streamed (agents give up at 300 s). */
  readonly wholeHoldMs: number;
  /** Requests worked on at once. */
  readonly maxOpen: number;
  /** Questions open at once. */
  readonly maxHeld: number;
  readonly retries: number;
  /** Pause before the second attempt at the same provider; doubles. */
  readonly retryPauseMs: number;
  /** Longest silence of a provider. */
  readonly upstreamSilenceMs: number;
}

export const defaultLimits: Limits = {
  maxBody: 8 * 1024 * 1024,
  maxDepth: 64,
  maxAnswer: 32 * 1024 * 1024,
  maxCalls: 128,
  suspendMs: 30_000,
  keepMs: 60_000,
  wholeHoldMs: 280_000,
  maxOpen: 64,
  maxHeld: 32,
  retries: 2,
  retryPauseMs: 250,
  upstreamSilenceMs: 300_000,
};

/** The parts with every limit filled in. */
export interface FilledParts extends Omit<RouterParts, 'limits'> {
  readonly limits: Limits;
}
