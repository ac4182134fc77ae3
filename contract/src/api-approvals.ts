/** The words of questions to a person in the HTTP API. Times are ms since epoch. */
import { z } from 'zod';

export const approvalStates = ['waiting', 'approved', 'rejected', 'expired', 'withdrawn', 'granted'] as const;
const approvalCardSchema = z.object({
  /** Verb and object, first on every card; after the decision without what the request carried. */
  summary: z.string(),
  chips: z.object({ sensitivity: z.string(), reversibility: z.string(), scope: z.string(), compliance: z.string() }),
  who: z.object({ sandbox: z.string(), agent: z.string(), role: z.string(), task: z.string() }),
  why: z.string(),
  rule: z.object({ id: z.string(), at: z.string() }),
  /** The exact request, masked where secret; shown folded, boxed as quoted. '' after the decision. */
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
const grantViewSchema = z.object({
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
