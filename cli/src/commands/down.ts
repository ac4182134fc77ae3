/** `nemoclaw down [--purge]`: stops every sandbox and every service; with --purge removes what NemoClaw put on this machine. */
import { lstatSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { Quit } from '../failure.ts';
import { removeIdentities } from '../setup/identities.ts';
import { Progress } from '../setup/progress.ts';
import { needRoot } from '../setup/start-instance.ts';
import { stopSupervisor } from '../setup/supervisor.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly purge?: boolean; readonly yes?: boolean }): Promise<void> {
  needRoot(this, 'Stopping NemoClaw');
  const { places, world } = this;
  if (flags.purge && !flags.yes && world.stdin.isTTY && world.stdout.isTTY) {
    const { confirm } = await import('@clack/prompts');
    if ((await confirm({ message: `Remove the record, all sandboxes and settings in ${places.state}, and the installed copy? Workspaces stay.`, initialValue: false })) !== true) throw new Quit(1);
  }
  const progress = new Progress(this);
  const stopped = await progress.step('stop the services', () => stopSupervisor(this));
  const kept = flags.purge ? await purge(this, progress) : [];
  if (flags.json) return sayJson(this, { stopped, purged: flags.purge === true, kept });
  say(this, stopped ? 'NemoClaw is stopped.' : 'NemoClaw was not running.');
  if (flags.purge) say(this, 'State, record, settings and the installed copy are removed. Workspaces stay.');
  for (const text of kept) note(this, `kept: ${text}`);
}

async function purge({ places }: CliContext, progress: Progress): Promise<string[]> {
  const kept = await progress.step('remove the system users', () => removeIdentities(places));
  const link = '/usr/local/bin/nemoclaw';
  const there = lstatSync(link, { throwIfNoEntry: false });
  if (there?.isSymbolicLink() && readlinkSync(link) === join(places.prefix, 'bin/nemoclaw')) await rm(link);
  // the copy that runs this last
  for (const [what, folders] of [
    ['state, record and settings', [places.run, places.state, places.etc]],
    ['the installed copy', [places.prefix]],
  ] as const) {
    await progress.step(`remove ${what}`, () => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));
  }
  return kept;
}
