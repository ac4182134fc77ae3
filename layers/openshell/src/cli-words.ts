/** Reading a command line: options, and what is left. */
import { NemoError } from '@nemoclaw/contract';

export const usage = (what: string): NemoError => new NemoError('NEMO_E_USAGE', { what });

export interface Words {
  /** Options without a value that were given. */
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/** `--help` was among the words. */
export class HelpAsked extends Error {}

/**
 * `flags` and `valued` are options with their dashes. `--` ends them; so does the first other word where a command follows, whose options are its own.
 * Throws NEMO_E_USAGE, HelpAsked.
 */
export function readWords(verb: string, args: readonly string[], flags: readonly string[], valued: readonly string[], follows?: 'a command'): Words {
  const given = { flags: new Set<string>(), values: new Map<string, string>() };
  const rest: string[] = [];
  let at = 0;
  for (; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '--') {
      at++;
      break;
    }
    if (word === '--help' || word === '-h') throw new HelpAsked();
    if (flags.includes(word)) given.flags.add(word);
    else if (valued.includes(word)) {
      const value = args[++at];
      if (value === undefined) throw usage(`${word} needs a value.`);
      given.values.set(word, value);
    } else if (word.startsWith('-')) throw usage(`${word} is not an option of ${verb}.`);
    else if (follows !== undefined) break;
    else rest.push(word);
  }
  return { ...given, rest: [...rest, ...args.slice(at)] };
}
