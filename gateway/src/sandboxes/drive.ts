/** Who may run commands in a sandbox: whoever does has the workspace in hand, with its owner's rights on disk. */
import { NemoError } from '@nemoclaw/contract';
import type { House } from '../house.ts';
import { saveRecord, type LiveSandbox } from './live.ts';

/**
 * Notes that `uid` runs something in it, so that the same person does not approve what it then asks.
 * Throws NEMO_E_NOT_YOURS where the workspace is another person's folder; root and who made the sandbox may always.
 */
export async function drive(house: House, live: LiveSandbox, uid: number): Promise<void> {
  mayUse(live, uid);
  if (live.drivers.has(uid)) return;
  live.drivers.add(uid);
  try {
    // Stored before anything runs: the next gateway must not take this person for somebody else.
    await saveRecord(house.store, live, { drivers: [...live.drivers] });
  } catch (error) {
    live.drivers.delete(uid);
    throw error;
  }
}

/** Throws NEMO_E_NOT_YOURS where the workspace is another person's folder; root and who made the sandbox may always. */
export function mayUse(live: LiveSandbox, uid: number): void {
  const { owner, createdBy, name } = live.record.value;
  if (owner === undefined || uid === owner || uid === createdBy || uid === 0) return;
  throw new NemoError('NEMO_E_NOT_YOURS', { what: `${name} works in another person's folder.`, why: 'Whoever runs a command in it reads and writes that folder as its owner.' });
}
