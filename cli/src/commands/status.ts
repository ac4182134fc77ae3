/** `nemoclaw status`: first what needs you, then what runs, then what is enforced and what is not. */
import type { StatusView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { age } from '../table.ts';
import { mark } from '../verdict-mark.ts';
import { sandboxTable } from './list.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const status = await call<StatusView>(this, 'GET', '/v1/status');
  if (flags.json) return sayJson(this, status);
  say(this, statusText(this, status));
}

function statusText(context: CliContext, status: StatusView): string {
  const lines: string[] = [];
  const down = status.services.filter((service) => !service.up).map((service) => service.name);
  if (status.needsYou.length === 0) lines.push('Nothing needs you.');
  else lines.push('Needs you:', ...status.needsYou.map((need) => `  ${need.text}  ->  ${need.command}`));
  lines.push('', status.sandboxes.length === 0 ? 'No sandboxes yet. Make one with: nemoclaw onboard' : sandboxTable(context, status.sandboxes), '');
  lines.push(`Isolation  tier ${status.host.tier}`);
  for (const text of status.host.enforced) lines.push(`  ${mark(context, 'yes')}  ${text}`);
  for (const text of status.host.notEnforced) lines.push(`  ${mark(context, 'no')}   ${text}`);
  lines.push(`Services   ${down.length === 0 ? `all ${status.services.length} up` : `down: ${down.join(', ')}`}`);
  lines.push(`Record     ${status.record.up ? `${status.record.count} events, head ${status.record.head.slice(0, 12)}` : 'not available: nothing that must be on record can happen'}`);
  lines.push(`Approvals  ${status.approvalsWaiting} waiting${status.singleOperator ? '; single operator: the person who runs the agents also approves what they ask' : ''}`);
  lines.push(`NemoClaw   ${status.version}, up for ${age(context.world.now(), status.startedAt)}`);
  return lines.join('\n');
}
