/** `nemoclaw <name> status`: what it is, what waits, what is enforced and what was proved from inside. */
import type { SandboxView, StatusView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { call } from '../gateway-client.ts';
import { leftLines } from '../left-lines.ts';
import { age } from '../table.ts';
import { mark } from '../verdict-mark.ts';
import { modelOf } from './list.ts';
import { sandboxPath } from '../sandbox-path.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  const sandbox = await call<SandboxView>(this, 'GET', sandboxPath(this.sandbox));
  if (flags.json) return sayJson(this, sandbox);
  const { host, singleOperator } = await call<StatusView>(this, 'GET', '/v1/status');
  const lines: string[] = [];
  if (sandbox.waiting > 0) lines.push(`Needs you:  ${sandbox.waiting} waiting  ->  nemoclaw approvals list`, '');
  lines.push(`Sandbox     ${sandbox.name}  ${mark(this, sandbox.state).trim()}${sandbox.problem === '' ? '' : `: ${sandbox.problem}`}`);
  lines.push(`Blueprint   ${sandbox.blueprint.name}@${sandbox.blueprint.version} (sha256 ${sandbox.blueprint.digest.slice(0, 12)})`);
  lines.push(`Agent       ${sandbox.agent}, role ${sandbox.role === '' ? '-' : sandbox.role}`);
  lines.push(`Model       ${modelOf(sandbox)}, ${sandbox.provider.location}`);
  lines.push(`Workspace   ${sandbox.workspace ? `${sandbox.workspace.path} at /workspace` : 'none'}`);
  lines.push(`Policy      version ${sandbox.policyVersion}; data label ${sandbox.label}`);
  lines.push(`Created     ${age(this.world.now(), sandbox.createdAt)} ago by uid ${sandbox.createdBy}`);
  for (const line of leftLines(sandbox.left, sandbox.workspace?.path ?? '')) lines.push(line);
  if (singleOperator) lines.push('Approvals   single operator: the person who runs this agent also approves what it asks');
  lines.push(`Isolation   tier ${host.tier}`);
  for (const text of host.notEnforced) lines.push(`  ${mark(this, 'no')}   ${text}`);
  for (const text of sandbox.unenforced) lines.push(`  ${mark(this, 'no')}   asked for by the policy, not enforced: ${text}`);
  const probe = Object.entries(sandbox.probe);
  if (probe.length > 0) {
    const stopped = probe.filter(([, held]) => held).length;
    lines.push(`Proved      ${stopped} of ${probe.length} forbidden things were tried from inside before the agent started, and stopped`);
    for (const [name, held] of probe) if (!held) lines.push(`  ${mark(this, 'no')}   ${name}`);
  }
  say(this, lines.join('\n'));
}
