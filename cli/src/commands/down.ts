/** `nemoclaw down [--purge]`: stops every sandbox and every service; with --purge removes what NemoClaw put on this machine. */
import { lstatSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { Quit } from '../failure.ts';
import { removeIdentities } from '../setup/identities.ts';
import { needRoot } from '../setup/start-instance.ts';
import { stopSupervisor } from '../setup/supervisor.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly purge?: boolean; readonly yes?: boolean }): Promise<void> {
  needRoot(this, 'Stopping NemoClaw');
  const { places, world } = this;
  if (flags.purge && !flags.yes && world.stdin.isTTY && world.stdout.isTTY) {
    const { confirm } = await import('@clack/prompts');
    if ((await confirm({ message: `Remove the record, all sandboxes and settings in ${places.state}, and the installed copy? Workspaces stay.`, initialValue: false })) !== true) throw new Quit(1);
  }
  const stopped = await stopSupervisor(this);
  const kept = flags.purge ? purge(this) : [];
  if (flags.json) return sayJson(this, { stopped, purged: flags.purge === true, kept });
  say(this, stopped ? 'NemoClaw is stopped.' : 'NemoClaw was not running.');
  if (flags.purge) say(this, 'State, record, settings and the installed copy are removed. Workspaces stay.');
  for (const text of kept) note(this, `kept: ${text}`);
}

function purge({ places }: CliContext): string[] {
  const kept = removeIdentities(places);
  const link = '/usr/local/bin/nemoclaw';
  const there = lstatSync(link, { throwIfNoEntry: false });
  if (there?.isSymbolicLink() && readlinkSync(link) === join(places.prefix, 'bin/nemoclaw')) rmSync(link);
  for (const folder of [places.run, places.state, places.etc, places.prefix]) rmSync(folder, { recursive: true, force: true });
  return kept;
}
