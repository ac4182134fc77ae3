/** The words of commands and tasks in the HTTP API: frames of the WebSockets, and what became of a task. Times are ms since epoch. */
import { z } from 'zod';
import { errorBodySchema } from './api.ts';

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

const taskRowSchema = z.object({
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
const taskTableSchema = z.object({
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
  /** The command does not read what it was sent (it reads again): the client waits with the rest, so that its signals come through. */
  z.object({ t: z.literal('input'), more: z.boolean() }),
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
