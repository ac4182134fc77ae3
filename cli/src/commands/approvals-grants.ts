/** `nemoclaw approvals grants`: approvals that still let one identical request through. */
import type { GrantView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { remaining, table } from '../table.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const grants = await call<GrantView[]>(this, 'GET', '/v1/approvals/grants');
  if (flags.json) return sayJson(this, grants);
  if (grants.length === 0) return note(this, 'No grants. A grant is made when a request is approved after its holder is gone; it lets one identical request through.');
  const { safeLine } = await import('@nemoclaw/contract');
  say(
    this,
    table(
      this,
      ['ID', 'STATE', 'SANDBOX', 'ENDS IN', 'BY', 'WHAT'],
      grants.map((g) => [g.id, g.state, g.sandbox, g.state === 'unused' ? remaining(this.world.now(), g.expiresAt) : '-', g.by, safeLine(g.summary, 120)]),
    ),
  );
}
