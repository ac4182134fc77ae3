/** Messages on the links between services (worker, gateway, ledger); framed by `framing.ts`. Nothing here lets a worker approve, change policy, or name a sandbox it was not given. */
import type { Sensitivity } from './decision.ts';
import type { CredentialPlan } from './credentials.ts';
import type { LedgerEvent } from './events.ts';
import type { IngressEntry, IngressListen } from './ingress.ts';
import type { HoldOutcome, HoldRequest } from './ports.ts';

/** Any source -> ledger. `seq` counts per source from 1, without gaps. */
export interface EventMessage {
  readonly t: 'event';
  readonly seq: number;
  readonly event: LedgerEvent;
  /** Ask for a durable acknowledgement. */
  readonly commit?: true;
}
/** Source -> ledger: do not gather any longer; what came before this is written and acknowledged at once. */
export interface SyncRequest {
  readonly t: 'sync';
}
/** Ledger -> source: everything up to `seq` is written (`durable`: and synced). */
export interface EventAck {
  readonly t: 'ack';
  readonly seq: number;
  readonly durable: boolean;
}
/** Gateway -> ledger, over its own link: read side. Replies carry the same `id`. */
export interface LedgerQuery {
  readonly t: 'query';
  readonly id: number;
  readonly q:
    | { readonly kind: 'tail'; readonly sandbox?: string; readonly after: number; readonly limit: number }
    | { readonly kind: 'status' }
    | { readonly kind: 'checkpoint' }
    /** Answered when the events of openshelld up to this number are durable, or after a second. */
    | { readonly kind: 'settled'; readonly openshelld: number };
}
export interface LedgerReply {
  readonly t: 'reply';
  readonly id: number;
  readonly ok: boolean;
  readonly result: unknown;
}

/** How the worker reaches one model provider; secrets stay in the worker's memory only while a sandbox uses it. */
export interface ProviderPlan {
  readonly name: string;
  readonly kind: 'demo' | 'nvidia' | 'nim' | 'vllm' | 'ollama' | 'openai' | 'anthropic' | 'compatible';
  readonly dialect: 'openai-chat';
  /** Base URL up to and including the version, e.g. http://127.0.0.1:8930/v1 */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
  readonly location: 'local' | 'cloud';
  /** PEM of an extra trust anchor for the provider's certificate. */
  readonly caPem?: string;
}

/** Everything a worker needs to own a sandbox; sent at attach and with every policy version. */
/** What is left of the rate of one rule. */
export interface RateLeft {
  /** The rule and its rate. */
  readonly key: string;
  /** Requests, a part of one included. */
  readonly left: number;
  /** ms since epoch at which that was so. */
  readonly at: number;
}

export interface SandboxConfig {
  readonly sandbox: string;
  readonly name: string;
  readonly role: string;
  readonly task: string;
  readonly version: number;
  /** base64 of the encoded CompiledPolicy (`@nemoclaw/decide`). */
  readonly policy: string;
  /** Intermediate CA, name-constrained to what this version intercepts; the root's key stays with the gateway. `certPem` holds all its certificates, each for some of the names. */
  readonly ca: { readonly certPem: string; readonly keyPem: string; readonly rootPem: string };
  readonly providers: readonly ProviderPlan[];
  /** What the agent must present at inference.local, and what identifies its sandbox's own placeholder credentials. */
  readonly placeholderKey: string;
  /** Credentials that are inserted outside: placeholder seen by the agent -> value, bound to host (+ optional path prefix, header). */
  readonly credentials: readonly CredentialPlan[];
  /** Names resolved to fixed addresses by policy (`addresses:`), trust anchors per host, and where requests of HTTP/1.1 are kept in it. */
  readonly upstreams: readonly { readonly host: string; readonly addresses: readonly string[]; readonly caPem?: string; readonly http1?: boolean }[];
  /** Who may call in, nobody if absent; a rule without a proof is not among them. */
  readonly ingress?: readonly IngressEntry[];
  readonly label: Sensitivity;
  /** What was left of its rates when a worker last said it; [] for a sandbox that is new. Absent: nobody knows, and each rate begins with nothing left. */
  readonly rates?: readonly RateLeft[];
  /** The policy is content with what this host can enforce (`enforcement: best-effort`). */
  readonly bestEffort?: true;
  /** ms: model streams (with keep-alive) and plain HTTP. */
  readonly patience: { readonly streamMs: number; readonly httpMs: number; readonly keepAliveMs: number };
}

export type GatewayToWorker =
  | { readonly t: 'configure'; readonly config: SandboxConfig }
  /** Read and check this configuration, but keep the one in force: what takes time is done while the change becomes durable. Not answered; replaces what was prepared before. */
  | { readonly t: 'prepare'; readonly config: SandboxConfig }
  /** Put what was prepared in force; answered by `configured`, with an error where nothing of this version was. */
  | { readonly t: 'switch'; readonly sandbox: string; readonly version: number }
  | { readonly t: 'remove'; readonly sandbox: string }
  | { readonly t: 'hold.outcome'; readonly sandbox: string; readonly holdId: string; readonly outcome: HoldOutcome }
  | { readonly t: 'ok'; readonly id: number }
  | { readonly t: 'no'; readonly id: number; readonly reason: string }
  /** Where calls into sandboxes are taken from now on. Not answered: where it cannot be, the record says so. */
  | { readonly t: 'ingress'; readonly listen: IngressListen }
  /** Answered by `flushed` when every event that the worker has made until then is durable. */
  | { readonly t: 'flush'; readonly id: number; readonly sandbox: string }
  /** Pending keys known to the gateway, so that a repeat re-attaches: sent with configure and on change. */
  | { readonly t: 'pending'; readonly sandbox: string; readonly entries: readonly { readonly key: string; readonly approvalId: string }[] };

/** What searches long bodies: the detectors alone, or with Hyperscan before them. */
export const scanners = ['hyperscan', 'typescript'] as const;
export type ScannerName = (typeof scanners)[number];

export type WorkerToGateway =
  | { readonly t: 'configured'; readonly sandbox: string; readonly version: number; readonly error?: string }
  | { readonly t: 'flushed'; readonly flushId: number; readonly sandbox: string }
  | { readonly t: 'hold'; readonly hold: HoldRequestWire }
  | { readonly t: 'hold.withdrawn'; readonly sandbox: string; readonly holdId: string; readonly why: string }
  /** Recorded before the request it belongs to is forwarded; answered by ok/no. */
  | { readonly t: 'label.raise'; readonly id: number; readonly sandbox: string; readonly to: Sensitivity; readonly why: string }
  | { readonly t: 'grant.consume'; readonly id: number; readonly sandbox: string; readonly key: string }
  /** The other side refused it: get a newer value. Answered by ok after the new configuration, or no. */
  | { readonly t: 'credential.renew'; readonly id: number; readonly sandbox: string; readonly placeholder: string }
  /** For the worker after this one; all that were ever used. */
  | { readonly t: 'rates'; readonly sandbox: string; readonly rates: readonly RateLeft[] }
  /** Sent over a new link, when it is known, and when it changes. */
  | { readonly t: 'searches'; readonly scanner: ScannerName }
  | { readonly t: 'usage'; readonly sandbox: string; readonly requests: number; readonly bytesOut: number; readonly tokens: number };

/** HoldRequest as JSON: maps become entry lists. */
export type HoldRequestWire = Omit<HoldRequest, 'request'> & {
  readonly request: Omit<HoldRequest['request'], 'params' | 'provenance' | 'history'> & { readonly params: readonly (readonly [string, unknown])[] };
};

/** Source -> ledger, first message on every link: `run` names one life of the source's numbering, so that a reconnect (same run: duplicates are dropped) is told from a restart (new run: numbering starts at 1, and the record says so). */
export interface SourceHello {
  readonly t: 'source';
  readonly run: string;
}
/** Gateway -> ledger: records after `after` and every later one, until `unfollow` or the link ends. Answered by `records` with the same `id`, then again for each batch. */
export interface LedgerFollow {
  readonly t: 'follow';
  readonly id: number;
  readonly sandbox?: string;
  readonly after: number;
}
export interface LedgerUnfollow {
  readonly t: 'unfollow';
  readonly id: number;
}
/** Ledger -> gateway: OCSF records in order of `metadata.sequence`. */
export interface LedgerRecords {
  readonly t: 'records';
  readonly id: number;
  readonly records: readonly Readonly<Record<string, unknown>>[];
}
export type ToLedger = SourceHello | EventMessage | SyncRequest | LedgerQuery | LedgerFollow | LedgerUnfollow;
export type FromLedger = EventAck | LedgerReply | LedgerRecords;
