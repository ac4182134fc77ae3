/** The words of the gateway's HTTP API (`/v1/…` on gateway.sock): zod schemas, from which the types come. Times are ms since epoch. */
import { z } from 'zod';
import { errorTable, type ErrorCode } from './errors.ts';

/** Words of the command line; none of them can name a sandbox. */
export const reservedNames: ReadonlySet<string> = new Set([
  'onboard', 'list', 'status', 'doctor', 'up', 'down', 'version', 'help', 'run', 'exec', 'connect', 'logs', 'stop', 'start', 'pause', 'resume',
  'destroy', 'rebuild', 'diff', 'commit', 'discard', 'snapshot', 'policy', 'approvals', 'inference', 'audit', 'blueprint', 'top', 'console', 'node', 'sandbox', 'all', 'none', 'demo',
]);
const namePattern = /^[a-z][a-z0-9-]{0,31}$/;

/** Why `name` cannot name a sandbox, one sentence; undefined if it can. */
export function nameProblem(name: string): string | undefined {
  if (!namePattern.test(name)) return 'A name starts with a small letter and has at most 32 small letters, digits and dashes.';
  if (reservedNames.has(name)) return `'${name}' is a word of the command line.`;
  return undefined;
}

export const errorBodySchema = z.object({
  error: z.object({
    code: z.string(),
    what: z.string(),
    why: z.string().optional(),
    fix: z.string(),
    where: z.object({ file: z.string(), line: z.number(), column: z.number() }).optional(),
  }),
});
export type ErrorBody = z.infer<typeof errorBodySchema>;

/** True if `code` is one of the table's codes (an answer may come from a newer gateway). */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code);
}

// ---- host and status

/** What this host enforces, in plain words; `facts` is what openshelld found. */
export const hostViewSchema = z.object({
  tier: z.string(),
  enforced: z.array(z.string()),
  notEnforced: z.array(z.string()),
  facts: z.record(z.string(), z.unknown()),
});
export type HostView = z.infer<typeof hostViewSchema>;

export const providerKinds = ['demo', 'nvidia', 'nim', 'vllm', 'ollama', 'openai', 'anthropic', 'compatible'] as const;
export const providerViewSchema = z.object({
  name: z.string(),
  kind: z.enum(providerKinds),
  model: z.string(),
  endpoint: z.string(),
  location: z.enum(['local', 'cloud']),
  /** Said wherever the provider is shown, e.g. "scripted model, not an AI"; '' for none. */
  note: z.string(),
});
export type ProviderView = z.infer<typeof providerViewSchema>;

/** What a sandbox left in its workspace at names that other programs obey by themselves; paths are printable, relative to the workspace. */
export const leftSchema = z.object({
  /** When it was found. */
  at: z.number(),
  /** False: not everything could be looked at; `problem` says why. */
  checked: z.boolean(),
  /** Folder in the workspace with what was put away; '' for none. Mode 0 until somebody opens it. */
  quarantine: z.string(),
  found: z.array(z.object({ path: z.string(), why: z.string(), moved: z.boolean() })),
  /** How many more there are. */
  more: z.number(),
  problem: z.string(),
});
export type LeftView = z.infer<typeof leftSchema>;

export const sandboxStates = ['creating', 'running', 'stopped', 'failed'] as const;
export const sandboxViewSchema = z.object({
  name: z.string(),
  id: z.string(),
  state: z.enum(sandboxStates),
  /** Why it is failed or stopped; '' otherwise. */
  problem: z.string(),
  blueprint: z.object({ name: z.string(), version: z.string(), digest: z.string() }),
  role: z.string(),
  agent: z.string(),
  provider: providerViewSchema,
  workspace: z.object({ registration: z.string(), path: z.string() }).nullable(),
  policyVersion: z.number(),
  label: z.enum(['public', 'internal', 'confidential', 'restricted']),
  createdAt: z.number(),
  /** uid of the person who created it. */
  createdBy: z.number(),
  /** Approvals of this sandbox that wait for a person. */
  waiting: z.number(),
  /** What was proved from inside before the agent could start, by name. */
  probe: z.record(z.string(), z.boolean()),
  /** ms by phase of the creation. */
  phases: z.record(z.string(), z.number()),
  /** What the policy asks that this host or version does not enforce (only with `enforcement: best-effort`). */
  unenforced: z.array(z.string()),
  /** Found when its workspace was last given back; absent: nothing was. */
  left: leftSchema.optional(),
});
export type SandboxView = z.infer<typeof sandboxViewSchema>;

export const statusViewSchema = z.object({
  version: z.string(),
  startedAt: z.number(),
  /** First what needs the person: one sentence and the command that deals with it. */
  needsYou: z.array(z.object({ text: z.string(), command: z.string() })),
  sandboxes: z.array(sandboxViewSchema),
  approvalsWaiting: z.number(),
  /** True while one person both runs agents and approves what they ask. */
  singleOperator: z.boolean(),
  host: hostViewSchema,
  services: z.array(z.object({ name: z.string(), up: z.boolean() })),
  record: z.object({ up: z.boolean(), count: z.number(), head: z.string() }),
});
export type StatusView = z.infer<typeof statusViewSchema>;

export const doctorViewSchema = z.object({
  checks: z.array(z.object({ name: z.string(), state: z.enum(['ok', 'warning', 'failed']), text: z.string(), fix: z.string() })),
  host: hostViewSchema,
});
export type DoctorView = z.infer<typeof doctorViewSchema>;

// ---- sandboxes

/** POST /v1/sandboxes -> 201 SandboxView. */
export const createSandboxSchema = z.strictObject({
  name: z.string(),
  /** Name of an installed blueprint (GET /v1/blueprints). */
  blueprint: z.string(),
  /** Workspace registration id from register.sock; '' for none. */
  registration: z.string().default(''),
  /** Replaces the blueprint's default provider. The key is kept by the gateway and given only to the worker of this sandbox. */
  provider: z
    .strictObject({
      kind: z.enum(providerKinds),
      endpoint: z.url().optional(),
      model: z.string().min(1).max(200).optional(),
      apiKey: z.string().min(1).max(4096).optional(),
    })
    .optional(),
});
export type CreateSandbox = z.input<typeof createSandboxSchema>;

/** File name inside the blueprint (`network.yaml`) -> text. */
export const policyFilesSchema = z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/), z.string().max(1024 * 1024));

/** GET /v1/sandboxes/:name/policy */
export const policyViewSchema = z.object({
  version: z.number(),
  files: policyFilesSchema,
  unenforced: z.array(z.string()),
  changedAt: z.number(),
  changedBy: z.number(),
});
export type PolicyView = z.infer<typeof policyViewSchema>;

/** PUT /v1/sandboxes/:name/policy -> PolicyApplied. Files left out stay as they are. */
export const putPolicySchema = z.strictObject({
  files: policyFilesSchema,
  /** Refused with a conflict if the version in force is another one. */
  expectedVersion: z.number().int().positive().optional(),
});
export type PutPolicy = z.infer<typeof putPolicySchema>;
export const policyAppliedSchema = z.object({
  version: z.number(),
  /** From the acceptance of the request to the worker's word that the version is in force. */
  appliedMs: z.number(),
  changed: z.array(z.string()),
  /** Waiting requests that the new version decided. */
  redecided: z.number(),
  /** ms by phase of `appliedMs`. */
  phases: z.record(z.string(), z.number()),
});
export type PolicyApplied = z.infer<typeof policyAppliedSchema>;

// ---- exec and run (WebSocket)

/** First text frame of WS /v1/sandboxes/:name/exec. `agent: true` starts the sandbox's own agent (its TUI) instead of argv. */
export const execStartSchema = z.strictObject({
  argv: z.array(z.string()).max(1024).default([]),
  agent: z.boolean().default(false),
  env: z.record(z.string(), z.string()).default({}),
  /** Inside the sandbox; '' is the workspace (or home). */
  cwd: z.string().default(''),
  tty: z.strictObject({ rows: z.number().int().min(1).max(10_000), cols: z.number().int().min(1).max(10_000) }).nullable().default(null),
});
export type ExecStart = z.input<typeof execStartSchema>;

/** First text frame of WS /v1/sandboxes/:name/run. */
export const runStartSchema = z.union([
  z.strictObject({ task: z.string().min(1).max(64 * 1024) }),
  /** Goes on listening to a task of ours that outlived a restart of the gateway, by its id. */
  z.strictObject({ attach: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/) }),
]);
export type RunStart = z.infer<typeof runStartSchema>;

/** Text frames client -> gateway after the first. Binary frames: one byte stream id (0), then bytes of stdin. */
export const execClientFrameSchema = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('resize'), rows: z.number().int().min(1).max(10_000), cols: z.number().int().min(1).max(10_000) }),
  z.strictObject({ t: z.literal('signal'), signal: z.number().int().min(1).max(64) }),
  z.strictObject({ t: z.literal('eof') }),
]);
export type ExecClientFrame = z.infer<typeof execClientFrameSchema>;

/** Stream ids of binary frames: the first byte says whose bytes follow. A terminal has only stdout. */
export const streamId = { stdin: 0, stdout: 1, stderr: 2 } as const;

/** The words shown to people, one vocabulary everywhere. */
export const shownVerdicts = ['Allowed', 'Denied', 'Waiting', 'Approved', 'Rejected', 'Expired', 'Withdrawn'] as const;
export type ShownVerdict = (typeof shownVerdicts)[number];

export const taskRowSchema = z.object({
  time: z.number(),
  /** Verb and object; agent-supplied text in it is escaped. */
  what: z.string(),
  verdict: z.enum(shownVerdicts),
  /** Rule id, or '' where none is named. */
  rule: z.string(),
  /** `network.yaml:7`, or ''. */
  at: z.string(),
  layer: z.string(),
  /** How many equal events this row stands for. */
  count: z.number(),
  approvalId: z.string(),
});
export const taskTableSchema = z.object({
  rows: z.array(taskRowSchema),
  totals: z.record(z.enum(shownVerdicts), z.number()),
  /** True when the record could not be read whole. */
  incomplete: z.boolean(),
});
export type TaskTable = z.infer<typeof taskTableSchema>;

/** Text frames gateway -> client. exec ends with `exit`; run ends with `done`; both may end with `error`. */
export const execServerFrameSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('started'), execId: z.string(), pid: z.number(), taskId: z.string() }),
  /** Something a person should know while it runs, e.g. an approval waits. */
  z.object({ t: z.literal('notice'), text: z.string(), approvalId: z.string() }),
  z.object({ t: z.literal('exit'), code: z.number().nullable(), signal: z.string().nullable() }),
  z.object({ t: z.literal('done'), code: z.number(), taskId: z.string(), table: taskTableSchema }),
  z.object({ t: z.literal('error'), error: errorBodySchema.shape.error }),
]);
export type ExecServerFrame = z.infer<typeof execServerFrameSchema>;

/** GET /v1/tasks/:id */
export const taskViewSchema = z.object({
  id: z.string(),
  sandbox: z.string(),
  state: z.enum(['running', 'ended', 'interrupted']),
  /** The task as given, redacted. */
  text: z.string(),
  sha256: z.string(),
  startedAt: z.number(),
  endedAt: z.number().nullable(),
  code: z.number().nullable(),
  by: z.number(),
  table: taskTableSchema,
});
export type TaskView = z.infer<typeof taskViewSchema>;

// ---- approvals

export const approvalStates = ['waiting', 'approved', 'rejected', 'expired', 'withdrawn', 'granted'] as const;
export const approvalCardSchema = z.object({
  /** Verb and object, first on every card. */
  summary: z.string(),
  chips: z.object({ sensitivity: z.string(), reversibility: z.string(), scope: z.string(), compliance: z.string() }),
  who: z.object({ sandbox: z.string(), agent: z.string(), role: z.string(), task: z.string() }),
  why: z.string(),
  rule: z.object({ id: z.string(), at: z.string() }),
  /** The exact request, masked where secret; shown folded, boxed as quoted. */
  detail: z.string(),
  /** What an approval lets happen, exactly. */
  creates: z.string(),
  deadline: z.number(),
  defaultAction: z.literal('deny'),
  /** e.g. "single operator". */
  notices: z.array(z.string()),
});
export const approvalViewSchema = z.object({
  id: z.string(),
  sandbox: z.string(),
  state: z.enum(approvalStates),
  kind: z.enum(['tool', 'http', 'syscall']),
  action: z.string(),
  task: z.string(),
  createdAt: z.number(),
  deadline: z.number(),
  decidedAt: z.number().nullable(),
  /** `uid:1000`, `demo rule`, `timeout`, `policy`; '' while waiting. */
  by: z.string(),
  reason: z.string(),
  /** True while somebody still holds the request; false: an approval becomes a one-shot grant. */
  held: z.boolean(),
  /** What became of it, e.g. `performed`; '' until known. */
  effect: z.string(),
  card: approvalCardSchema,
});
export type ApprovalView = z.infer<typeof approvalViewSchema>;

/** POST /v1/approvals/:id/decision -> ApprovalView; a second decision is a conflict that names the first. */
export const decideApprovalSchema = z.strictObject({ verdict: z.enum(['approve', 'deny']), reason: z.string().max(2000).default('') });
export type DecideApproval = z.input<typeof decideApprovalSchema>;

/** GET /v1/approvals/grants */
export const grantViewSchema = z.object({
  id: z.string(),
  sandbox: z.string(),
  approvalId: z.string(),
  action: z.string(),
  summary: z.string(),
  by: z.string(),
  createdAt: z.number(),
  expiresAt: z.number(),
  state: z.enum(['unused', 'used', 'expired']),
});
export type GrantView = z.infer<typeof grantViewSchema>;

// ---- events, explain, blueprints

/** One event of GET /v1/events: as SSE (`id:` = sequence) with follow=1, else JSON {events, next}. `event` is the OCSF form the record keeps. */
export const eventViewSchema = z.object({ sequence: z.number(), event: z.record(z.string(), z.unknown()) });
export type EventView = z.infer<typeof eventViewSchema>;
export const eventsQuerySchema = z.object({
  after: z.coerce.number().int().min(0).default(0),
  sandbox: z.string().default(''),
  limit: z.coerce.number().int().min(1).max(10_000).default(1000),
  follow: z.enum(['0', '1']).default('0'),
});

/** POST /v1/policy/explain -> {decision, policyVersion}: what would be decided, by the sandbox's policy; changes nothing and puts nothing on record. */
/** What can be asked of a file: see `ExplainQuery` in layers/openshell. */
export const explainOps = ['read', 'write', 'create', 'mkdir', 'delete', 'rename', 'link', 'truncate', 'chmod', 'exec', 'connect'] as const;
const insidePath = z.string().max(4096).refine((path) => path === '/' || (path.startsWith('/') && path.split('/').slice(1).every((name) => name !== '' && name !== '.' && name !== '..')), 'A path of the sandbox is absolute, without . or ..');

export const explainSchema = z.strictObject({
  sandbox: z.string(),
  request: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('tool'), tool: z.string().max(256), arguments: z.record(z.string(), z.unknown()).default({}) }),
    z.strictObject({ kind: z.literal('http'), method: z.string().max(32).default('GET'), url: z.string().max(8192), body: z.record(z.string(), z.unknown()).default({}) }),
    z.strictObject({ kind: z.literal('connect'), host: z.string().max(253), port: z.number().int().min(1).max(65_535) }),
    /** An operation on a file of the sandbox; `toPath` with rename and link alone. */
    z.strictObject({ kind: z.literal('file'), op: z.enum(explainOps), path: insidePath, toPath: insidePath.optional() }),
    z.strictObject({ kind: z.literal('action'), action: z.string().max(256), params: z.record(z.string(), z.unknown()).default({}) }),
  ]),
});
export type Explain = z.input<typeof explainSchema>;
export const explainedSchema = z.object({
  verdict: z.enum(['allow', 'deny', 'escalate']),
  action: z.string(),
  rules: z.array(z.object({ id: z.string(), file: z.string().optional(), line: z.number().optional() })),
  reason: z.string(),
  hint: z.string(),
  policyVersion: z.number(),
});
export type Explained = z.infer<typeof explainedSchema>;

export const blueprintViewSchema = z.object({
  name: z.string(),
  version: z.string(),
  digest: z.string(),
  description: z.string(),
  role: z.string(),
  agent: z.string(),
  /** Why it cannot be used; '' if it can. */
  problem: z.string(),
});
export type BlueprintView = z.infer<typeof blueprintViewSchema>;
