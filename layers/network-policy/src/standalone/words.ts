/** Reading the command line of `network-policy`. */
import { NemoError } from '@nemoclaw/contract';

export const usage = (what: string): NemoError => new NemoError('NEMO_E_USAGE', { what });

export interface Words {
  readonly policy: string;
  readonly json: boolean;
  readonly bestEffort: boolean;
  /** File that gets the certificate authority's certificate. */
  readonly caOut: string | undefined;
  /** File that every event is appended to. */
  readonly record: string | undefined;
  /** `run`: who the command runs as, a name or number; `serve`: the namespace, a name or pid. */
  readonly user: string | undefined;
  readonly netns: string | undefined;
  readonly command: readonly string[];
}

/** Options, then `--` or the first word of the command. Throws NEMO_E_USAGE. */
export function readWords(verb: 'run' | 'serve', args: readonly string[]): Words {
  const flags = ['--json', '--best-effort'];
  const valued = ['--policy', '--ca-out', '--record', ...(verb === 'run' ? ['--user'] : ['--netns'])];
  const given = new Map<string, string>();
  let at = 0;
  for (; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '--') {
      at += 1;
      break;
    }
    if (flags.includes(word)) given.set(word, '');
    else if (valued.includes(word)) {
      const value = args[(at += 1)];
      if (value === undefined || value === '') throw usage(`${word} needs a value.`);
      given.set(word, value);
    } else if (word.startsWith('-')) throw usage(`${word} is not an option of ${verb}.`);
    else break;
  }
  const command = args.slice(at);
  const policy = given.get('--policy');
  if (policy === undefined) throw usage(`${verb} needs --policy FILE.`);
  if (verb === 'run' && command.length === 0) throw usage('run needs a command.');
  if (verb === 'serve' && command.length > 0) throw usage('serve takes no command.');
  if (verb === 'serve' && !given.has('--netns')) throw usage('serve needs --netns NAME or --netns PID.');
  return { policy, json: given.has('--json'), bestEffort: given.has('--best-effort'), caOut: given.get('--ca-out'), record: given.get('--record'), user: given.get('--user'), netns: given.get('--netns'), command };
}
