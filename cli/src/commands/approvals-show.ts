/** `nemoclaw approvals show <id>`: the card, in the order of every channel. */
import type { ApprovalView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { remaining, wrapped } from '../table.ts';
import { mark, shownVerdict } from '../verdict-mark.ts';
import { findApproval } from '../find-approval.ts';

export async function run(this: CliContext, flags: CommonFlags, id: string): Promise<void> {
  const approval = await findApproval(this, id);
  if (flags.json) return sayJson(this, approval);
  say(this, await cardText(this, approval));
}

/** Summary first; agent-supplied text last, quoted and escaped. On a terminal no line is left for it to break: one that began at the left edge could look like ours. */
async function cardText(context: CliContext, approval: ApprovalView): Promise<string> {
  const { safeBlock, safeLine } = await import('@nemoclaw/contract');
  const { card } = approval;
  const { isTTY, columns } = context.world.stdout;
  const fit = (text: string, indent: string): string => wrapped(text, isTTY ? columns : undefined, indent);
  const chips = [`sensitivity ${card.chips.sensitivity}`, card.chips.reversibility, `scope ${card.chips.scope}`, card.chips.compliance === '' ? 'no regulation' : card.chips.compliance];
  const lines = [
    safeLine(card.summary),
    `  ${chips.join(' | ')}`,
    `  who      ${card.who.sandbox}, agent ${card.who.agent}, role ${card.who.role === '' ? '-' : card.who.role}${card.who.task === '' ? '' : `, task ${card.who.task}`}`,
    `  why      ${safeLine(card.why)}`,
    `  rule     ${card.rule.id}${card.rule.at === '' ? '' : ` (${card.rule.at})`}`,
    `  state    ${mark(context, shownVerdict(approval.state)).trim()}${approval.state === 'waiting' ? `, denies in ${remaining(context.world.now(), approval.deadline)}` : ` by ${approval.by}`}${approval.reason === '' ? '' : `: ${safeLine(approval.reason)}`}`,
  ];
  if (approval.effect !== '') lines.push(`  effect   ${safeLine(approval.effect)}`);
  for (const notice of card.notices) lines.push(`  note     ${notice}`);
  lines.push(`  approve  ${safeLine(card.creates, 1000)}`);
  for (const [index, line] of lines.entries()) lines[index] = fit(line, ' '.repeat(index === 0 ? 2 : 11));
  if (card.detail !== '') {
    lines.push(
      '',
      'The request, as the agent made it (quoted):',
      ...safeBlock(card.detail)
        .split('\n')
        .map((line) => fit(`  > ${line}`, '  · ')),
    );
  }
  if (approval.state === 'waiting') lines.push('', `nemoclaw approvals deny ${approval.id}`, `nemoclaw approvals approve ${approval.id}`);
  return lines.join('\n');
}
