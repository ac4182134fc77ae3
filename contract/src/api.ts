/** The words of the gateway's HTTP API (`/v1/…` on gateway.sock): zod schemas, from which the types come. Times are ms since epoch. */
import { z } from 'zod';
import { errorTable, type ErrorCode } from './errors.ts';

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
const hostViewSchema = z.object({
  tier: z.string(),
  enforced: z.array(z.string()),
  notEnforced: z.array(z.string()),
  facts: z.record(z.string(), z.unknown()),
});
export type HostView = z.infer<typeof hostViewSchema>;

export const providerKinds = ['demo', 'nvidia', 'nim', 'vllm', 'ollama', 'openai', 'anthropic', 'compatible'] as const;
/** Where the scripted model and the demo company's services listen, on loopback. */
export const demoPorts = { model: 8930, services: 8931 } as const;
const providerViewSchema = z.object({
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
const policyFilesSchema = z.record(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/), z.string().max(1024 * 1024));

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

// ---- events, explain, blueprints

/** One event of GET /v1/events: as SSE (`id:` = sequence) with follow=1, else an `EventsPage`. `event` is the OCSF form the record keeps. */
const eventViewSchema = z.object({ sequence: z.number(), event: z.record(z.string(), z.unknown()) });
export type EventView = z.infer<typeof eventViewSchema>;
/** A page of the record. It may be shorter than `limit`: go on after `next` until a page is empty, or until `newest`, the last event when it was asked for. */
export interface EventsPage {
  readonly events: readonly EventView[];
  readonly next: number;
  readonly newest: number;
}
export const eventsQuerySchema = z.object({
  after: z.coerce.number().int().min(0).default(0),
  sandbox: z.string().default(''),
  limit: z.coerce.number().int().min(1).max(10_000).default(1000),
  follow: z.enum(['0', '1']).default('0'),
});

/** What can be asked of a file: see `ExplainQuery` in layers/openshell. */
export const explainOps = ['read', 'write', 'create', 'mkdir', 'delete', 'rename', 'link', 'truncate', 'chmod', 'exec', 'connect'] as const;
const insidePath = z.string().max(4096).refine((path) => path === '/' || (path.startsWith('/') && path.split('/').slice(1).every((name) => name !== '' && name !== '.' && name !== '..')), 'A path of the sandbox is absolute, without . or ..');

/** An application message as `AppMessage` of decision.ts. */
const messageSchema = z.union([
  z.strictObject({ protocol: z.enum(['websocket', 'grpc', 'none']) }),
  z.strictObject({ protocol: z.literal('postgres'), user: z.string().max(256), database: z.string().max(256) }),
  z.strictObject({ protocol: z.literal('redis'), command: z.string().max(256) }),
  z.strictObject({ protocol: z.literal('graphql'), operation: z.enum(['query', 'mutation', 'subscription']), name: z.string().max(256).default(''), fields: z.array(z.string().max(256)).max(256).default([]) }),
  z.strictObject({ protocol: z.literal('mcp'), method: z.string().max(256), tool: z.string().max(256).default(''), arguments: z.record(z.string(), z.unknown()).default({}) }),
  z.strictObject({ protocol: z.literal('json-rpc'), method: z.string().max(256) }),
  z.strictObject({ protocol: z.literal('smtp'), recipients: z.array(z.string().max(320)).max(256).default([]), tls: z.boolean().default(true) }),
]);

/** POST /v1/policy/explain -> {decision, policyVersion}: what would be decided, by the sandbox's policy; changes nothing and puts nothing on record. */
export const explainSchema = z.strictObject({
  sandbox: z.string(),
  request: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('tool'), tool: z.string().max(256), arguments: z.record(z.string(), z.unknown()).default({}) }),
    z.strictObject({ kind: z.literal('http'), method: z.string().max(32).default('GET'), url: z.string().max(8192), headers: z.record(z.string().max(128), z.union([z.string(), z.array(z.string())])).default({}), body: z.record(z.string(), z.unknown()).default({}), message: messageSchema.optional() }),
    z.strictObject({ kind: z.literal('connect'), host: z.string().max(253), port: z.number().int().min(1).max(65_535), message: messageSchema.optional(), program: z.string().max(4096).optional() }),
    /** What was decided, and recorded, of an event: its number, or the event id of a denial. */
    z.strictObject({ kind: z.literal('event'), id: z.string().min(1).max(128) }),
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
  /** What it would be if no rule were in `mode: monitor`, where that is stricter. */
  monitored: z.object({ verdict: z.enum(['deny', 'escalate']), rules: z.array(z.object({ id: z.string(), file: z.string().optional(), line: z.number().optional() })), reason: z.string() }).optional(),
  /** The event that was asked about. */
  event: z.object({ sequence: z.number(), time: z.number(), message: z.string(), layer: z.string() }).optional(),
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
