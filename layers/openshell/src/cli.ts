/** The `openshell` command line: run a command in a sandbox without any daemon, and say what a policy means and what this host can enforce. */
import { NemoError, renderError } from '@nemoclaw/contract';
import { HelpAsked, usage } from './cli-words.ts';

const help = `openshell: run a command in a kernel sandbox

  openshell run --policy FILE [--workspace DIR | --no-workspace] [--overlay] [--json] [--] COMMAND...
  openshell diff | commit | discard | snapshot NAME | snapshots | restore NAME [--workspace DIR] [--json]
  openshell explain --policy FILE [--tier A|B|C] [--json] OPERATION PATH [NEW-PATH]
  openshell policy check FILE [--json]
  openshell top [--socket FILE] [--every SECONDS] [--times N] [--json]
  openshell doctor [--json]
  openshell --version

run      DIR (the current folder if not given) is /workspace inside. The exit code is the command's.
         On its own openshell gives no network beyond loopback; \`network-policy run\` and NemoClaw do.
         What the policy asks a person about is asked at the terminal; where there is none it is denied.
         --json: nobody is asked; prints one object with output, end and events.
         --overlay (as root): DIR stays as it is; what the command changes is kept in a layer over it, and the
         next run --overlay goes on there. diff shows what is in it, commit carries it out in DIR as its owner,
         discard drops it; snapshot, snapshots and restore copy it, list the copies, and bring one back.
         Layers lie in /var/lib/openshell, or where --state DIR says.
explain  says what the policy answers, and which rule. OPERATION: read, write, create, mkdir, delete, rename,
         link, truncate, chmod, exec, connect. Exit code 0: allowed, 3: denied, 4: a person would be asked.
policy   check reads a policy and says what of it this host does not enforce. Exit code 2 if it could not start here.
top      system calls per second of the sandboxes of a running NemoClaw, by what became of them; --json: a line for each look.
doctor   launches an empty sandbox, tries what must not be possible, and prints what is enforced.
`;

const layer = async (op: Parameters<typeof import('./cli-layer.ts').layerCommand>[0], args: readonly string[]): Promise<number> => (await import('./cli-layer.ts')).layerCommand(op, args);

/** Each verb brings its own code only when it is called. */
const verbs: Readonly<Record<string, (args: readonly string[]) => Promise<number>>> = {
  run: async (args) => (await import('./cli-run.ts')).run(args),
  diff: (args) => layer('diff', args),
  commit: (args) => layer('commit', args),
  discard: (args) => layer('discard', args),
  snapshot: (args) => layer('snapshot', args),
  snapshots: (args) => layer('snapshots', args),
  restore: (args) => layer('restore', args),
  explain: async (args) => (await import('./cli-explain.ts')).explainCommand(args),
  policy: async (args) => (await import('./cli-policy.ts')).policyCommand(args),
  top: async (args) => (await import('./cli-top.ts')).top(args),
  doctor: async (args) => (await import('./cli-doctor.ts')).doctor(args),
};

/** Whether what goes wrong is told as JSON; a command's own `--json` is not ours. */
async function wantsJson([verb, ...rest]: readonly string[]): Promise<boolean> {
  if (verb !== 'run') return rest.includes('--json');
  try {
    return (await import('./cli-run.ts')).runWords(rest).flags.has('--json');
  } catch {
    return false;
  }
}

/** As text or JSON; who runs openshell by itself has its doctor, not NemoClaw's. */
const told = (error: NemoError, json: boolean): string => (json ? JSON.stringify({ error }) : renderError(error)).replaceAll('nemoclaw doctor', 'openshell doctor');

/** Runs one command line; the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const [verb, ...rest] = args;
    if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
      process.stdout.write(help);
      return verb === undefined ? 2 : 0;
    }
    const known = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (known === undefined) throw usage(`${verb} is not a command of openshell.`);
    return await known(rest);
  } catch (error) {
    if (error instanceof HelpAsked) {
      process.stdout.write(help);
      return 0;
    }
    const known = error instanceof NemoError ? error : new NemoError('NEMO_E_INTERNAL', { what: error instanceof Error ? error.message : String(error), fix: 'Run `openshell doctor`.', cause: error });
    process.stderr.write(`${told(known, await wantsJson(args))}\n`);
    return known.exit;
  }
}
