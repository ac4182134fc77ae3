/** `nemoclaw approvals list`: what waits for a person, oldest deadline first. */
import type { ApprovalView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { remaining, table } from '../table.ts';
import { mark, shownVerdict } from '../verdict-mark.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly all?: boolean }): Promise<void> {
  const approvals = await call<ApprovalView[]>(this, 'GET', flags.all ? '/v1/approvals' : '/v1/approvals?state=waiting');
  if (flags.json) return sayJson(this, approvals);
  if (approvals.length === 0) return note(this, flags.all ? 'Nobody has asked anything yet.' : 'Nothing waits. What an agent may not do alone appears here and is held until you decide.');
  const { safeLine } = await import('@nemoclaw/contract');
  const rows = [...approvals]
    .sort((a, b) => a.deadline - b.deadline)
    .map((a) => [
      a.id,
      mark(this, shownVerdict(a.state)).trimStart(),
      a.sandbox,
      a.action === '' ? a.kind : a.action,
      a.state === 'waiting' ? `denies in ${remaining(this.world.now(), a.deadline)}` : a.by,
      safeLine(a.card.summary, 120),
    ]);
  say(this, table(this, ['ID', 'STATE', 'SANDBOX', 'ACTION', 'WHEN/WHO', 'WHAT'], rows));
  if (!flags.all && this.world.stdout.isTTY) note(this, '\nDecide with: nemoclaw approvals show|approve|deny <id>');
}
