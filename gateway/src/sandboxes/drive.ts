/** Who may run commands in a sandbox: whoever does has the workspace in hand, with its owner's rights on disk. */
import { NemoError } from '@nemoclaw/contract';
import type { LiveSandbox } from './live.ts';

/**
 * Notes that `uid` runs something in it, so that the same person does not approve what it then asks.
 * Throws NEMO_E_NOT_YOURS where the workspace is another person's folder; root and who made the sandbox may always.
 */
export function drive(live: LiveSandbox, uid: number): void {
  const { owner, createdBy, name } = live.record.value;
  if (owner !== undefined && uid !== owner && uid !== createdBy && uid !== 0) {
    throw new NemoError('NEMO_E_NOT_YOURS', { what: `${name} works in another person's folder.`, why: 'Whoever runs a command in it reads and writes that folder as its owner.' });
  }
  live.drivers.add(uid);
}
