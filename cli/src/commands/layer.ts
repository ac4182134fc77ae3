/** `nemoclaw <name> diff|commit|discard|snapshot …`: the layer that an overlay workspace is written to. */
import { commitLines, diffLines, safeLine, type LayerCommit, type LayerDiff, type LayerSnapshots } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { Quit } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { sandboxPath } from '../sandbox-path.ts';

export async function diff(this: CliContext, flags: CommonFlags): Promise<void> {
  const found = await call<LayerDiff>(this, 'GET', sandboxPath(this.sandbox, '/diff'));
  if (flags.json) return sayJson(this, found);
  for (const line of diffLines(found)) say(this, line);
}

export async function commit(this: CliContext, flags: CommonFlags): Promise<void> {
  const done = await call<LayerCommit>(this, 'POST', sandboxPath(this.sandbox, '/commit'));
  if (flags.json) sayJson(this, done);
  else for (const line of commitLines(done, 'the workspace')) say(this, line);
  if (!done.checked || done.left.length > 0) throw new Quit(1);
}

export async function discard(this: CliContext, flags: CommonFlags & { readonly yes?: boolean }): Promise<void> {
  if (!flags.yes && !flags.json && this.world.stdin.isTTY && this.world.stdout.isTTY) {
    const { confirm } = await import('@clack/prompts');
    if ((await confirm({ message: `Drop everything that ${this.sandbox} changed?`, initialValue: false })) !== true) throw new Quit(1);
  }
  await call(this, 'POST', sandboxPath(this.sandbox, '/discard'));
  if (flags.json) return sayJson(this, { discarded: this.sandbox });
  say(this, `What ${this.sandbox} changed is dropped; its snapshots stay.`);
}

export async function create(this: CliContext, flags: CommonFlags, name: string): Promise<void> {
  await call(this, 'PUT', sandboxPath(this.sandbox, `/snapshots/${encodeURIComponent(name)}`));
  if (flags.json) return sayJson(this, { name });
  say(this, `The snapshot ${safeLine(name, 40)} is taken.`);
}

export async function list(this: CliContext, flags: CommonFlags): Promise<void> {
  const { snapshots } = await call<LayerSnapshots>(this, 'GET', sandboxPath(this.sandbox, '/snapshots'));
  if (flags.json) return sayJson(this, snapshots);
  for (const { name, at } of snapshots) say(this, `${safeLine(name, 40)}  ${new Date(at).toISOString()}`);
  if (snapshots.length === 0) say(this, 'There are no snapshots.');
}

export async function restore(this: CliContext, flags: CommonFlags, name: string): Promise<void> {
  await call(this, 'POST', sandboxPath(this.sandbox, `/snapshots/${encodeURIComponent(name)}/restore`));
  if (flags.json) return sayJson(this, { restored: name });
  say(this, `${this.sandbox} is as it was in the snapshot ${safeLine(name, 40)}.`);
}
