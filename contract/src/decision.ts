/** The request that is decided and the decision that comes back; every surface uses these two words. */

export type Verdict = 'allow' | 'deny' | 'escalate';

/** Sensitivity of data, in rising order. */
export const sensitivities = ['public', 'internal', 'confidential', 'restricted'] as const;
export type Sensitivity = (typeof sensitivities)[number];

/** The higher of two sensitivities; anything unknown counts as restricted. */
export function joinSensitivity(a: Sensitivity, b: Sensitivity): Sensitivity {
  const index = Math.max(rank(a), rank(b));
  return sensitivities[index] ?? 'restricted';
}
function rank(s: Sensitivity): number {
  const i = sensitivities.indexOf(s);
  return i < 0 ? sensitivities.length - 1 : i;
}

/** What the catalogue says about an action (set once, by a person). */
export interface ActionLabels {
  readonly sensitivity: Sensitivity;
  readonly reversibility: 'fully-reversible' | 'partially-reversible' | 'irreversible';
  readonly scope: 'single' | 'team' | 'organization' | 'external';
  readonly compliance: readonly string[];
}
/** The labels of what nobody labelled. */
export const unlabelled: ActionLabels = { sensitivity: 'restricted', reversibility: 'irreversible', scope: 'external', compliance: [] };

/**
 * What an application protocol says inside a connection; one request may carry several, each is decided and the strictest counts.
 * `websocket` is the opening of one. An MCP or JSON-RPC `method` of '' is the transport alone (the event stream by GET, the end of a session),
 * `response` an answer to the server. Everything here is the agent's own word, as the server will read it.
 */
export type AppMessage =
  /** `none`: looked at, and nothing that a rule speaks of. */
  | { readonly protocol: 'websocket' | 'grpc' | 'none' }
  /** `fields`: those at the top level, fragments resolved, under their own names rather than aliases. `name` '' = anonymous. */
  | { readonly protocol: 'graphql'; readonly operation: 'query' | 'mutation' | 'subscription'; readonly name: string; readonly fields: readonly string[] }
  /** `tool` '' = none; `arguments`: of the tool. */
  | { readonly protocol: 'mcp'; readonly method: string; readonly tool: string; readonly arguments: Readonly<Record<string, unknown>> }
  | { readonly protocol: 'json-rpc'; readonly method: string }
  /** Before the first recipient is named: []. `tls`: whether the conversation is encrypted by now. */
  | { readonly protocol: 'smtp'; readonly recipients: readonly string[]; readonly tls: boolean }
  /** Both '' for the end of a running command, which names neither. */
  | { readonly protocol: 'postgres'; readonly user: string; readonly database: string }
  /** In capital letters, with its subcommand where it has such; '' for what opens and closes a connection. */
  | { readonly protocol: 'redis'; readonly command: string };

/** Header names in small letters -> values in order; only those that a rule names. */
export type HeaderValues = Readonly<Record<string, readonly string[]>>;

/**
 * What is acted on. `path` of http is canonical (decoded once, dot segments resolved); `query` as parsed.
 * `headers`, `message` absent: not known yet, so that no rule on them allows anything. `program`: path of the one that opened the connection,
 * '' = looked for and not found, absent = not seen on this host.
 */
export type Resource =
  | { readonly kind: 'tool'; readonly name: string }
  | { readonly kind: 'host'; readonly host: string; readonly port: number; readonly message?: AppMessage; readonly program?: string }
  | { readonly kind: 'http'; readonly host: string; readonly port: number; readonly method: string; readonly path: string; readonly query: readonly (readonly [string, string])[]; readonly tls: boolean; readonly headers?: HeaderValues; readonly message?: AppMessage; readonly program?: string }
  | { readonly kind: 'file'; readonly path: string; readonly op: FileOp; readonly dev?: number; readonly ino?: number; readonly toPath?: string }
  /** A system call that the policy names; `args` as a person reads them. */
  | { readonly kind: 'call'; readonly name: string; readonly args: string }
  | { readonly kind: 'none' };
export type FileOp = 'read' | 'write' | 'create' | 'delete' | 'rename' | 'exec' | 'connect';

export interface History {
  readonly readRestricted: boolean;
  readonly ingestedUntrusted: boolean;
  readonly hasEgress: boolean;
  /** How often each action was allowed in this task. */
  readonly counts: ReadonlyMap<string, number>;
}
export const emptyHistory: History = { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() };

export interface ActionRequest {
  readonly sandbox: string;
  readonly role: string;
  /** Task id, or '' outside a task. */
  readonly task: string;
  readonly source: 'model' | 'mcp' | 'http' | 'connect' | 'dns' | 'syscall' | 'hook';
  /** Dotted action name where the caller knows it, else '' and `decide` finds it through the catalogue. */
  readonly action: string;
  readonly resource: Resource;
  /** Tool arguments, or attributes taken from an HTTP body; agent-supplied. */
  readonly params: ReadonlyMap<string, unknown>;
  readonly labels: ActionLabels;
  readonly provenance: ReadonlyMap<string, 'user' | 'tool' | 'model' | 'unknown'>;
  readonly history: History;
}

/** A rule that took part: `id` is stable and shown to people, e.g. `egress.deny[0]`, `permissions.deniedAPIs[1]`, `approvals.triggers[2]`. */
export interface RuleRef {
  readonly id: string;
  readonly file?: string;
  readonly line?: number;
}

export interface Decision {
  readonly verdict: Verdict;
  readonly action: string;
  readonly rules: readonly RuleRef[];
  /** One plain sentence. */
  readonly reason: string;
  /** What to do next, for the agent or the person. */
  readonly hint: string;
  readonly intent: ActionLabels;
  readonly policyVersion: number;
  readonly decidedBy: 'table' | 'cedar' | 'default' | 'error' | 'approval';
  readonly micros: number;
  /** What the verdict would be if no rule were in `mode: monitor`, where that is stricter. */
  readonly monitored?: { readonly verdict: 'deny' | 'escalate'; readonly rules: readonly RuleRef[]; readonly reason: string };
}
