/** Files that hold secrets: read only where nobody else can have read them. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { NemoError } from '@nemoclaw/contract';
import type { Where } from '@nemoclaw/contract';

/** Throws NEMO_E_CREDENTIALS for a file that is not there, not ours, or open to others. `where`: what named it. */
export function readPrivate(path: string, where?: Where): string {
  const refused = (what: string, why?: string): NemoError => new NemoError('NEMO_E_CREDENTIALS', { what, ...(why === undefined ? {} : { why }), ...(where === undefined ? {} : { where }) });
  let fd: number;
  try {
    // A pipe would be waited for.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw refused(`${path} cannot be read.`, cause instanceof Error ? cause.message : String(cause));
  }
  try {
    // Of what is open, not of the name: that may be another file's by now.
    const { uid, mode } = fstatSync(fd);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw refused(`${path} is not a file.`);
    if (uid !== process.geteuid?.()) throw refused(`${path} belongs to somebody else.`);
    if ((mode & 0o077) !== 0) throw refused(`${path} can be read or changed by others (mode ${(mode & 0o777).toString(8)}).`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}
