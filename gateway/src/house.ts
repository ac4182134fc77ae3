/** What the parts of the gateway are made of and share; built once from ports, so that tests run the whole of it in one process. */
import type { AuditSink, Clock, Ids, SandboxPolicy, Sensitivity, Store } from '@nemoclaw/contract';
import type { ExplainQuery, Explanation } from '@nemoclaw/openshell';
import type { ApprovalDesk } from './approvals/desk.ts';
import type { Backend, RecordReader } from './backend.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { Workers } from './links/workers.ts';
import type { Compile } from './policy/engine.ts';
import type { Blueprints } from './sandboxes/blueprints.ts';
import type { LiveSandboxes } from './sandboxes/live.ts';
import type { Vault } from './credentials/vault.ts';
import type { Secrets } from './sandboxes/secrets.ts';
import type { Settings } from './settings.ts';
import type { Execs } from './tasks/execs.ts';
import type { Notices } from './tasks/notices.ts';
import type { RunningTask } from './tasks/run.ts';

/** What a plan is made from, beside the policy. */
export interface PlanRequest {
  readonly policy: SandboxPolicy;
  readonly hostFacts: Readonly<Record<string, unknown>>;
  readonly hostname: string;
  readonly workspace: boolean;
  /** Trust anchors that the sandbox gets beside the public ones. */
  readonly caPem: string;
  /** `NAME=value` */
  readonly env: readonly string[];
  /** Host folders shown read-only as /opt/<name>. */
  readonly mounts: readonly { readonly source: string; readonly name: string }[];
}
export interface Plan {
  readonly plan: unknown;
  /** The whole environment of a command, `NAME=value`. */
  readonly env: readonly string[];
  /** Working directory of commands that name none. */
  readonly cwd: string;
  /** What the plan cannot enforce or had to narrow. */
  readonly notes: readonly string[];
  /** What the sandbox can read makes its label at least this; `rules` are those that say so. */
  readonly label: { readonly level: Sensitivity; readonly rules: readonly string[] };
}

interface Issuer {
  readonly certPem: string;
  readonly keyPem: string;
}
/** Certificates of the interception chain (times in ms since epoch). */
export interface CertificateMaker {
  root(name: string, now: number): Issuer;
  intermediate(root: Issuer, names: readonly string[], now: number): Issuer & { readonly rootPem: string };
}

/** Everything from outside. */
export interface Ports {
  readonly store: Store;
  readonly audit: AuditSink;
  readonly record: RecordReader;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly backend: Backend;
  readonly settings: Settings;
  readonly secrets: Secrets;
  readonly vault: Vault;
  readonly compile: Compile;
  readonly certificates: CertificateMaker;
  plan(request: PlanRequest): Plan;
  /** What the kernel answers to an operation on a file, by the policy and what openshelld said of the host. */
  explainFile(policy: SandboxPolicy, hostFacts: Readonly<Record<string, unknown>>, query: ExplainQuery): Explanation;
  /** Masks secrets and personal data in text; on the card of a tool call or a request what a person decides by stays. */
  redact(text: string, where: 'record' | 'tool' | 'http'): string;
  /** How many people may decide approvals. */
  people(): number;
}

/** The ports and the parts. */
export interface House extends Ports {
  readonly sandboxes: LiveSandboxes;
  readonly desk: ApprovalDesk;
  readonly workers: Workers;
  readonly execs: Execs;
  readonly notices: Notices;
  /** Tasks that were taken up after a restart and nobody listens to yet, by id. */
  readonly resumed: Map<string, RunningTask>;
  readonly blueprints: Blueprints;
  /** Serialises what must not overlap, by sandbox. */
  readonly lock: KeyedLock;
  readonly startedAt: number;
  /** Facts about the host, at most half a minute old. */
  hostFacts(): Promise<Readonly<Record<string, unknown>>>;
}
