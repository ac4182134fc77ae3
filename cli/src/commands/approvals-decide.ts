/** `nemoclaw approvals approve|deny <id>`. */
import type { ApprovalView, DecideApproval } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { findApproval } from '../find-approval.ts';

type Flags = CommonFlags & { readonly reason?: string };

export function approve(this: CliContext, flags: Flags, id: string): Promise<void> {
  return decide(this, flags, id, 'approve');
}

export function deny(this: CliContext, flags: Flags, id: string): Promise<void> {
  return decide(this, flags, id, 'deny');
}

async function decide(context: CliContext, flags: Flags, id: string, verdict: DecideApproval['verdict']): Promise<void> {
  const found = await findApproval(context, id);
  const approval = await call<ApprovalView>(context, 'POST', `/v1/approvals/${encodeURIComponent(found.id)}/decision`, { verdict, reason: flags.reason ?? '' } satisfies DecideApproval);
  if (flags.json) return sayJson(context, approval);
  const { safeLine } = await import('@nemoclaw/contract');
  const outcome = verdict === 'deny' ? 'Rejected' : found.held ? 'Approved' : 'Approved; nobody held it any more, so the identical request passes once within 10 minutes';
  say(context, `${outcome}: ${safeLine(found.card.summary)} (${approval.id})`);
}
