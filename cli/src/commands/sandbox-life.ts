/** `nemoclaw <name> stop|start|destroy`. */
import type { LeftView, SandboxView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { Quit } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { leftLines } from '../left-lines.ts';
import { sandboxPath } from '../sandbox-path.ts';

export async function stop(this: CliContext, flags: CommonFlags): Promise<void> {
  const sandbox = await call<SandboxView>(this, 'POST', sandboxPath(this.sandbox, '/stop'));
  if (flags.json) return sayJson(this, sandbox);
  say(this, `${this.sandbox} is stopped. Workspace, policy and record stay.`);
  for (const line of leftLines(sandbox.left, sandbox.workspace?.path ?? '')) say(this, line);
}

export async function start(this: CliContext, flags: CommonFlags): Promise<void> {
  const { restoreWorkspace } = await import('../setup/workspace.ts');
  await restoreWorkspace(this, await call<SandboxView>(this, 'GET', sandboxPath(this.sandbox)));
  const sandbox = await call<SandboxView>(this, 'POST', sandboxPath(this.sandbox, '/start'));
  if (flags.json) return sayJson(this, sandbox);
  say(this, `${this.sandbox} is ${sandbox.state}.`);
}

export async function destroy(this: CliContext, flags: CommonFlags & { readonly yes?: boolean }): Promise<void> {
  if (!flags.yes && !flags.json && this.world.stdin.isTTY && this.world.stdout.isTTY) {
    const { confirm } = await import('@clack/prompts');
    if ((await confirm({ message: `Remove ${this.sandbox}? Its workspace and the record stay.`, initialValue: false })) !== true) throw new Quit(1);
  }
  const { left, workspace } = (await call<{ readonly left?: LeftView; readonly workspace?: string } | undefined>(this, 'DELETE', sandboxPath(this.sandbox))) ?? {};
  if (flags.json) return sayJson(this, { name: this.sandbox, destroyed: true, ...(left === undefined ? {} : { left }) });
  say(this, `${this.sandbox} is removed. Its workspace and the record stay.`);
  for (const line of leftLines(left, workspace ?? '')) say(this, line);
}
