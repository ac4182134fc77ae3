/** What is kept of a question to a human: the record outlives the process that holds the request; what the request carries is in it only while it waits. */
import { approvalStates, type ActionRequest, type ApprovalView, type HoldRequestWire, type StoreEntry } from '@nemoclaw/contract';
import { z } from 'zod';

const ruleSchema = z.object({ id: z.string(), file: z.string().optional(), line: z.number().optional() });
const labelsSchema = z.object({
  sensitivity: z.enum(['public', 'internal', 'confidential', 'restricted']),
  reversibility: z.enum(['fully-reversible', 'partially-reversible', 'irreversible']),
  scope: z.enum(['single', 'team', 'organization', 'external']),
  compliance: z.array(z.string().max(64)).max(16),
});
const word = z.string().max(65_536);
/** `AppMessage` of contract. */
const messageSchema = z.discriminatedUnion('protocol', [
  z.strictObject({ protocol: z.enum(['websocket', 'grpc', 'none']) }),
  z.strictObject({ protocol: z.literal('graphql'), operation: z.enum(['query', 'mutation', 'subscription']), name: word, fields: z.array(word).max(65_536) }),
  z.strictObject({ protocol: z.literal('mcp'), method: word, tool: word, arguments: z.record(z.string(), z.unknown()) }),
  z.strictObject({ protocol: z.literal('json-rpc'), method: word }),
  z.strictObject({ protocol: z.literal('smtp'), recipients: z.array(word).max(65_536), tls: z.boolean() }),
  z.strictObject({ protocol: z.literal('postgres'), user: word, database: word }),
  z.strictObject({ protocol: z.literal('redis'), command: word }),
]);
const seen = { message: messageSchema.optional(), program: z.string().max(4096).optional() };
/** `Resource` of contract, each field of it: the key binds them all, so one that is lost on the way makes every question of its kind a lie. */
const resourceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tool'), name: z.string().max(1024) }),
  z.strictObject({ kind: z.literal('host'), host: z.string().max(253), port: z.number(), ...seen }),
  z.strictObject({
    kind: z.literal('http'),
    host: z.string().max(253),
    port: z.number(),
    method: z.string().max(64),
    path: z.string().max(65_536),
    query: z.array(z.tuple([z.string(), z.string()])).max(1024),
    tls: z.boolean(),
    headers: z.record(z.string(), z.array(word).max(1024)).optional(),
    ...seen,
  }),
  z.strictObject({ kind: z.literal('file'), path: z.string().max(4096), op: z.enum(['read', 'write', 'create', 'delete', 'rename', 'exec', 'connect']), dev: z.number().optional(), ino: z.number().optional(), toPath: z.string().max(4096).optional() }),
  z.strictObject({ kind: z.literal('call'), name: z.string().max(64), args: z.string().max(4096) }),
  z.strictObject({ kind: z.literal('none') }),
]);

/** A held request as it travels: maps are entry lists. */
const requestWireSchema = z.object({
  sandbox: z.string().max(128),
  role: z.string().max(128),
  task: z.string().max(128),
  source: z.enum(['model', 'mcp', 'http', 'connect', 'dns', 'syscall', 'hook']),
  action: z.string().max(256),
  resource: resourceSchema,
  params: z.array(z.tuple([z.string().max(1024), z.unknown()])).max(1024),
  labels: labelsSchema,
});
export type RequestWire = z.infer<typeof requestWireSchema>;

const decisionSchema = z.object({
  verdict: z.enum(['allow', 'deny', 'escalate']),
  action: z.string().max(256),
  rules: z.array(ruleSchema).max(64),
  reason: z.string().max(4096),
  hint: z.string().max(4096),
  intent: labelsSchema,
  policyVersion: z.number(),
  decidedBy: z.enum(['table', 'cedar', 'default', 'error', 'approval']),
  micros: z.number(),
});

/** A hold as a worker sends it; every text is bounded. */
export const holdWireSchema: z.ZodType<HoldRequestWire> = z.object({
  holdId: z.string().min(1).max(128),
  sandbox: z.string().min(1).max(128),
  kind: z.enum(['tool', 'http', 'syscall']),
  request: requestWireSchema,
  decision: decisionSchema,
  key: z.string().regex(/^[0-9a-f]{64}$/),
  summary: z.string().max(2000),
  detail: z.string().max(1024 * 1024),
  answer: z.string().regex(/^[0-9a-f]{64}$/).optional(),
  tainted: z.boolean().optional(),
  patienceMs: z.number().min(0).max(7 * 24 * 3600 * 1000),
}) as z.ZodType<HoldRequestWire>;

export const approvalRecordSchema = z.object({
  id: z.string(),
  sandbox: z.string(),
  sandboxName: z.string(),
  agent: z.string(),
  createdByUid: z.number(),
  /** Whose folder it works in, and who ran something in it before it asked. */
  drivenBy: z.array(z.number()).default([]),
  holdId: z.string(),
  kind: z.enum(['tool', 'http', 'syscall']),
  key: z.string(),
  request: requestWireSchema,
  decision: decisionSchema,
  /** Whether the answer to the request is delivered; the request itself was made. */
  ofAnswer: z.boolean().default(false),
  summary: z.string(),
  detail: z.string(),
  createdAt: z.number(),
  deadline: z.number(),
  state: z.enum(approvalStates),
  held: z.boolean(),
  decidedAt: z.number().nullable(),
  by: z.string(),
  reason: z.string(),
  effect: z.string(),
  /** The decided action can also be seen as an HTTP request, so approving the tool call covers that one request too. */
  alsoHttp: z.boolean(),
});
export type ApprovalRecord = z.infer<typeof approvalRecordSchema>;

export const grantRecordSchema = z.object({
  id: z.string(),
  sandbox: z.string(),
  approvalId: z.string(),
  key: z.string(),
  action: z.string(),
  summary: z.string(),
  by: z.string(),
  createdAt: z.number(),
  expiresAt: z.number(),
  usedAt: z.number().nullable(),
});
export type GrantRecord = z.infer<typeof grantRecordSchema>;

export function approvalKey(record: { readonly sandbox: string; readonly id: string }): string {
  return `sandbox/${record.sandbox}/approval/${record.id}`;
}
export function grantKey(record: { readonly sandbox: string; readonly id: string }): string {
  return `sandbox/${record.sandbox}/grant/${record.id}`;
}

/** A stored entry with its revision; undefined if it is not what it should be. */
export interface Kept<T> {
  record: T;
  revision: number;
}
export function readKept<T>(schema: z.ZodType<T>, entry: StoreEntry): Kept<T> | undefined {
  const parsed = schema.safeParse(entry.value);
  return parsed.success ? { record: parsed.data, revision: entry.revision } : undefined;
}

/** The request as `decide` takes it; history and provenance do not travel. */
export function asRequest(wire: RequestWire): ActionRequest {
  return {
    ...wire,
    resource: wire.resource as ActionRequest['resource'],
    params: new Map(wire.params),
    provenance: new Map(),
    history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() },
  };
}

/** The states that a person may still decide. */
export function isOpen(state: ApprovalView['state']): boolean {
  return state === 'waiting';
}
