/** The approval policy: which actions ask a person, through which channels, for how long. */
import { z } from 'zod';
import { NemoError } from '../errors.ts';
import { loadWith, problem, type Loaded } from './issue.ts';
import { objectLiteral } from './literal.ts';
import { nearest } from './nearest.ts';
import { deniedAction, duration } from './scalars.ts';
import { whereOf } from './source.ts';

export type Threshold = { readonly kind: 'always' } | { readonly kind: 'external-only' } | { readonly kind: 'above'; readonly usd: number };

const threshold = z.string().transform((given, ctx): Threshold => {
  if (given === 'always' || given === 'external-only') return { kind: given };
  const match = /^above-(\d{1,9}(?:\.\d{1,2})?)-usd$/.exec(given);
  if (match !== null) return { kind: 'above', usd: Number(match[1]) };
  ctx.addIssue({ code: 'custom', message: `${JSON.stringify(given)} is not a threshold.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Use always, external-only or e.g. above-100-usd.') });
  return z.NEVER;
});

export const approvalPolicySchema = z.strictObject({
  triggers: z.array(z.strictObject({ action: deniedAction, threshold })).max(4096).default([]),
  channels: z.array(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'This is not the name of a channel')).min(1).default(['terminal']),
  /** ms a question waits */
  timeout: duration.default(15 * 60_000),
  /** What an unanswered question means; only `deny` exists. */
  defaultAction: z.enum(['deny']).default('deny'),
});
export type ApprovalPolicy = z.output<typeof approvalPolicySchema>;

export interface ApprovalPolicyOptions {
  /** Names of configured channels; `terminal` when left out. */
  readonly channels?: ReadonlySet<string>;
}

/**
 * Reads an approval policy from YAML or JSON, or from a TypeScript file that holds one object literal (`const x = { … };`), which is read as
 * data and never run. Throws NemoError with the place of the first problem.
 */
export function loadApprovalPolicy(text: string, file: string, options: ApprovalPolicyOptions = {}): Loaded<ApprovalPolicy> {
  const policy = loadWith(approvalPolicySchema, /^\s*(\/\/|const|export)/.test(text) ? (objectLiteral(text) ?? text) : text, file);
  const known = options.channels ?? new Set(['terminal']);
  policy.channels.forEach((channel, index) => {
    if (known.has(channel)) return;
    const where = whereOf(policy, ['channels', index]);
    const guess = nearest(channel, known);
    throw new NemoError('NEMO_E_POLICY_CHANNEL', {
      what: `No approval channel is called ${channel}.`,
      ...(where ? { where } : {}),
      why: 'A question that reaches nobody is never answered.',
      fix: `${guess === undefined ? '' : `Did you mean ${guess}? `}Configured: ${[...known].join(', ')}.`,
    });
  });
  return policy;
}
