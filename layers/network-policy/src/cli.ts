/** The `network-policy` command line: a command, or a network namespace, whose whole network passes one policy. */
import { NemoError, renderError } from '@nemoclaw/contract';
import { usage } from './standalone/words.ts';

const help = `network-policy: the only way out, by one policy

  network-policy run   --policy FILE [--user NAME] [--follow] [OPTIONS] [--] COMMAND...
  network-policy serve --policy FILE --netns NAME|PID [OPTIONS]
  network-policy explain --record FILE EVENT [--json]
  network-policy --version

  OPTIONS: [--credentials FILE] [--listen ADDRESS:PORT [--tls-cert FILE --tls-key FILE]] [--ca-out FILE] [--record FILE] [--best-effort] [--json]

run    runs COMMAND in a network namespace of its own; what it sends is captured, without proxy variables, and decided.
       The exit code is the command's. As root it runs as root without the capabilities that lead out (--user: as somebody else).
       This is no sandbox: files and processes are as ever. \`openshell run\` and NemoClaw make one.
serve  puts the policy in front of a namespace that exists. When serve ends, the namespace has no way out.
explain says what a denial's eventId stands for, of the events that --record kept: the rule and its place, why, and what to do next.

Denials are printed on standard error as they happen (--json: one object each). What the policy asks a person about is asked at the
terminal; where there is none it is denied. --ca-out: the certificate that clients must trust; run makes its command trust it.
--record: every event, one JSON object a line. --best-effort: start although something the policy says is not enforced.
--credentials: secrets that are put in on their way out, each where it is bound to; the command has placeholders for them in its
variables (serve prints them). The file is yours alone (mode 600), and so are those that it names.
--listen: calls from outside that a rule of ingress admits go to its port in the network; in cleartext on loopback only.
A policy file that changes is read anew; what is not right leaves the one before in force. run does so only where COMMAND could not
write to it (--user), or with --follow.
A tool that insists on a proxy: http://proxy.local:3128, socks5h://proxy.local:3128.
What was denied lately, for the command itself to read: http://proxy.local/.
`;

/** Runs one command line; the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const [verb, ...rest] = args;
    if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help' || rest[0] === '--help') {
      process.stdout.write(help);
      return verb === undefined ? 2 : 0;
    }
    if (verb === 'run') return await (await import('./standalone/run.ts')).run(rest);
    if (verb === 'serve') return await (await import('./standalone/netns.ts')).serve(rest);
    if (verb === 'explain') return await (await import('./standalone/explain.ts')).explain(rest);
    throw usage(`${verb} is not a command of network-policy.`);
  } catch (error) {
    const known = error instanceof NemoError ? error : new NemoError('NEMO_E_INTERNAL', { what: error instanceof Error ? error.message : String(error), cause: error });
    process.stderr.write(args.includes('--json') ? `${JSON.stringify({ error: known })}\n` : `${renderError(known)}\n`);
    return known.exit;
  }
}
