/** Reading a command line: options first, then what is left. */
import { NemoError } from '@nemoclaw/contract';

export const usage = (what: string): NemoError => new NemoError('NEMO_E_USAGE', { what });

export interface Words {
  /** Options without a value that were given. */
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/** `flags` and `valued` are options with their dashes. The first word that is none of them, or `--`, ends the options. Throws NEMO_E_USAGE. */
export function readWords(verb: string, args: readonly string[], flags: readonly string[], valued: readonly string[]): Words {
  const given = { flags: new Set<string>(), values: new Map<string, string>() };
  let at = 0;
  for (; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '--') {
      at++;
      break;
    }
    if (flags.includes(word)) given.flags.add(word);
    else if (valued.includes(word)) {
      const value = args[++at];
      if (value === undefined) throw usage(`${word} needs a value.`);
      given.values.set(word, value);
    } else if (word.startsWith('-')) throw usage(`${word} is not an option of ${verb}.`);
    else break;
  }
  return { ...given, rest: args.slice(at) };
}
