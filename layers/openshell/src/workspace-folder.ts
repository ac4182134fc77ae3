/** Which folder of the host may be a workspace. */
import { realpathSync } from 'node:fs';
import { NemoError } from '@nemoclaw/contract';

/** Folders that are never somebody's project. */
const systemFolders = new Set(['/', '/bin', '/boot', '/dev', '/etc', '/home', '/lib', '/lib64', '/opt', '/proc', '/root', '/run', '/sbin', '/srv', '/sys', '/tmp', '/usr', '/var']);

/** The folder without links. Throws NEMO_E_USAGE: it does not exist, or is one that an agent must never be let into. */
export function workspaceFolder(given: string): string {
  let real: string;
  try {
    real = realpathSync(given);
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${given} cannot be used as workspace.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
  if (systemFolders.has(real)) throw new NemoError('NEMO_E_USAGE', { what: `${real} is not a workspace.`, why: 'The agent may be allowed to change everything in it.', fix: 'Go to a project folder, or give --workspace DIR or --no-workspace.' });
  return real;
}
