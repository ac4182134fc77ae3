/** Reading the command line of `network-policy`. */
import { isIP } from 'node:net';
import { NemoError } from '@nemoclaw/contract';

export const usage = (what: string): NemoError => new NemoError('NEMO_E_USAGE', { what });

export interface Words {
  readonly policy: string;
  readonly json: boolean;
  readonly bestEffort: boolean;
  /** `run`: the policy is read anew when it changes, although the command could change it. */
  readonly follow: boolean;
  /** File that gets the certificate authority's certificate. */
  readonly caOut: string | undefined;
  /** File that every event is appended to. */
  readonly record: string | undefined;
  /** File of the credentials that are put in. */
  readonly credentials: string | undefined;
  /** Where calls from outside are taken, and under which certificate. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** `run`: who the command runs as, a name or number; `serve`: the namespace, a name or pid. */
  readonly user: string | undefined;
  readonly netns: string | undefined;
  readonly command: readonly string[];
}

/** Options, then `--` or the first word of the command. Throws NEMO_E_USAGE. */
export function readWords(verb: 'run' | 'serve', args: readonly string[]): Words {
  const flags = ['--json', '--best-effort', ...(verb === 'run' ? ['--follow'] : [])];
  const valued = ['--policy', '--ca-out', '--record', '--credentials', '--listen', '--tls-cert', '--tls-key', ...(verb === 'run' ? ['--user'] : ['--netns'])];
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
  const [tlsCert, tlsKey, listen] = [given.get('--tls-cert'), given.get('--tls-key'), given.get('--listen')];
  if ((tlsCert === undefined) !== (tlsKey === undefined)) throw usage('--tls-cert and --tls-key belong together.');
  if (tlsCert !== undefined && listen === undefined) throw usage('--tls-cert is for --listen.');
  return { policy, json: given.has('--json'), bestEffort: given.has('--best-effort'), follow: given.has('--follow'), caOut: given.get('--ca-out'), record: given.get('--record'), credentials: given.get('--credentials'), listen: listen === undefined ? undefined : readListen(listen), tlsCert, tlsKey, user: given.get('--user'), netns: given.get('--netns'), command };
}

/** `127.0.0.1:8443`, `[::1]:8443`: an address, no name, so that it is known where is listened. */
function readListen(text: string): NonNullable<Words['listen']> {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = six ?? four ?? '';
  if (isIP(host) !== (six === undefined ? 4 : 6) || Number(port) > 65_535) throw usage(`--listen needs ADDRESS:PORT or [ADDRESS]:PORT, not ${text}.`);
  return { host, port: Number(port) };
}
