/** The user that a command is to run as. */
import { readFileSync } from 'node:fs';
import { usage } from './words.ts';

export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string | undefined;
}

/** By name or number, from /etc/passwd; a number without an entry is its own group. Throws NEMO_E_USAGE. */
export function userOf(text: string): User {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid = '', gid = '', , home] = line.split(':');
    if (name !== '' && (name === text || uid === text)) return { name, uid: Number(uid), gid: Number(gid), home };
  }
  if (!/^\d{1,9}$/.test(text)) throw usage(`There is no user ${text}.`);
  return { name: text, uid: Number(text), gid: Number(text), home: undefined };
}
