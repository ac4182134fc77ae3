/** `nemoclaw up`: starts NemoClaw on this machine. */
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { needRoot, prepareIdentities, startInstance } from '../setup/start-instance.ts';

export async function run(this: CliContext, flags: CommonFlags): Promise<void> {
  needRoot(this, 'Starting NemoClaw');
  const { started, status } = await startInstance(this, prepareIdentities(this));
  if (flags.json) return sayJson(this, { started, version: status.version, tier: status.host.tier, sandboxes: status.sandboxes.length });
  say(this, `NemoClaw ${status.version} ${started ? 'is up' : 'was up already'}: tier ${status.host.tier}, ${status.sandboxes.length === 1 ? '1 sandbox' : `${status.sandboxes.length} sandboxes`}.`);
  for (const { name, state } of status.sandboxes) if (state === 'stopped') note(this, `${name} is stopped  ->  nemoclaw ${name} start`);
}
