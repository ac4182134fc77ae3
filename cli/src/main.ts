/** Entry of the command line: `nemoclaw <word> …` or `nemoclaw <name> <verb> …`. */
import { ArgumentScannerError, buildApplication, ExitCode, formatMessageForArgumentScannerError, run as runApplication, text_en, type ApplicationText } from '@stricli/core';
import { commandWords, laterWords, verbs } from './command-words.ts';
import type { CliContext, World } from './context.ts';
import { placesFrom } from './places.ts';
import { realWorld } from './world.ts';

/** Runs one command line. Sets the exit code through `world.setExit`; never throws. */
export async function run(args: readonly string[], world: World = realWorld()): Promise<void> {
  const first = args[0] === 'help' ? '--help' : (args[0] ?? '');
  const isName = first !== '' && !first.startsWith('-') && !commandWords.has(first);
  // of a sandbox something is asked: a word alone is a command, or was to be one
  const named = isName && !args.slice(1).every((word) => word === '--json');
  let places: CliContext['places'];
  try {
    places = placesFrom(world.env);
  } catch (error) {
    world.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    world.setExit(2);
    return;
  }
  let exit: number | string | null | undefined;
  const json = args.slice(0, args.includes('--') ? args.indexOf('--') : args.length).includes('--json');
  const context: CliContext = {
    world,
    places,
    sandbox: named ? first : '',
    process: {
      stdout: world.stdout as CliContext['process']['stdout'],
      // only what is said about the command line itself goes this way
      stderr: { write: (text: string) => sayUsage(world, json, text) } as CliContext['process']['stderr'],
      env: world.env,
      get exitCode() {
        return exit ?? null;
      },
      set exitCode(code) {
        exit = code;
      },
    },
  };
  // a proposal is a letter or two away: a name is not taken for a command
  const settings = {
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true, distanceOptions: { threshold: 3, weights: { insertion: 1, deletion: 3, substitution: 2, transposition: 0 } } },
    localization: { text: isName && !named ? wordsOfNothing : words },
    documentation: { disableAnsiColor: world.stdout.isTTY !== true || Boolean(world.env['NO_COLOR']) },
  } as const;
  const application = named
    ? buildApplication((await import('./sandbox-routes.ts')).sandboxRoutes, { name: `nemoclaw ${first}`, ...settings })
    : buildApplication((await import('./routes.ts')).rootRoutes, { name: 'nemoclaw', ...settings });
  const inputs = named ? args.slice(1) : args[0] === 'help' ? [...args.slice(1), '--help'] : args;
  const misused = isName ? whyNotAName(first) : undefined;
  if (misused !== undefined) {
    sayUsage(world, json, misused);
    world.setExit(2);
    return;
  }
  await runApplication(application, inputs.length === 0 ? ['--help'] : inputs, context);
  const notUnderstood: readonly unknown[] = [ExitCode.UnknownCommand, ExitCode.InvalidArgument];
  if (notUnderstood.includes(exit)) world.setExit(2);
  else if (typeof exit === 'number' && exit !== 0) world.setExit(1);
}

/** A command line that cannot be read, told like every other error: on stderr, or with --json on stdout. */
function sayUsage(world: World, json: boolean, text: string): void {
  const [, what, fix] = /^error: (.*?)\n  fix: ([^\n]*)\n/s.exec(`${text.trimEnd()}\n`) ?? [];
  if (json && what !== undefined && fix !== undefined) world.stdout.write(`${JSON.stringify({ error: { code: 'NEMO_E_USAGE', what, fix } })}\n`);
  else world.stderr.write(`${text.trimEnd()}\n`);
}

const usage = (what: string, fix = 'add --help to see what it takes'): string => `error: ${what}\n  fix: ${fix}\n  code: NEMO_E_USAGE`;

const notYet = (word: string): string => usage(`'${word}' is not part of this version.`, 'nemoclaw --help shows what is');

/** Said when the first word is no command and cannot be a sandbox either. */
function whyNotAName(word: string): string | undefined {
  if (verbs.has(word)) return usage(`'${word}' is said of a sandbox.`, `nemoclaw <name> ${word}`);
  if (laterWords.has(word)) return notYet(word);
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(word)) return usage(`'${word.replace(/[^\x20-\x7e]/g, '?').slice(0, 40)}' is neither a command nor a name.`, 'nemoclaw --help shows the commands');
  return undefined;
}

/** What is said about a command line that cannot be read, in the form of every other error. */
const words: ApplicationText = {
  ...text_en,
  noCommandRegisteredForInput: ({ input, corrections }) => laterWords.has(input) ? notYet(input) : usage(`There is no command '${input}'${corrections.length > 0 ? `; did you mean ${corrections.join(' or ')}?` : '.'}`),
  exceptionWhileParsingArguments: (exc) => usage(exc instanceof ArgumentScannerError ? formatMessageForArgumentScannerError(exc, {}) : String(exc)),
};

/** Where it is one word that is no command: a name with nothing after it, or a command that was misspelt. */
const wordsOfNothing: ApplicationText = {
  ...words,
  noCommandRegisteredForInput: ({ input, corrections }) =>
    usage(`'${input}' is no command${corrections.length > 0 ? `; did you mean ${corrections.join(' or ')}?` : ', and of a sandbox of that name nothing is asked.'}`, `nemoclaw ${input} --help shows what can be asked of a sandbox of that name, nemoclaw --help the commands`),
};
