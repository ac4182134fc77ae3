/** `nemoclaw list`: every sandbox, one line each. */
import type { SandboxView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { age, table } from '../table.ts';
import { mark } from '../verdict-mark.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const sandboxes = await call<SandboxView[]>(this, 'GET', '/v1/sandboxes');
  if (flags.json) return sayJson(this, sandboxes);
  if (sandboxes.length === 0) return note(this, 'No sandboxes yet. Make one with: nemoclaw onboard');
  say(this, sandboxTable(this, sandboxes));
}

/** The table that `list` and `status` print. */
export function sandboxTable(context: CliContext, sandboxes: readonly SandboxView[]): string {
  const plain = !context.world.stdout.isTTY;
  const rows = sandboxes.map((s) => [
    s.name,
    plain ? s.state : mark(context, s.state).trimStart(),
    s.agent,
    modelOf(s),
    `v${s.policyVersion}`,
    s.waiting > 0 ? `${s.waiting} waiting` : '-',
    age(context.world.now(), s.createdAt),
  ]);
  return table(context, ['NAME', 'STATE', 'AGENT', 'MODEL', 'POLICY', 'APPROVALS', 'AGE'], rows);
}

/** `demo-script-1 (demo: scripted model, not an AI)`. */
export function modelOf(sandbox: SandboxView): string {
  const { model, name, kind, note: said } = sandbox.provider;
  return `${model} (${said !== '' ? `${kind}: ${said}` : name})`;
}
