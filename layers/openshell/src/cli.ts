/** The `openshell` command line: run a command in a sandbox without any daemon, and say what this host can enforce. */
import { readFileSync, realpathSync } from 'node:fs';
import { checkHost, loadSandboxPolicy, NemoError, renderError, unenforced, type SandboxPolicy } from '@nemoclaw/contract';
import { doctor } from './cli-doctor.ts';
import { readHostFacts } from './host-facts.ts';
import { launchAlone } from './launch-alone.ts';
import { kernelSetting, namespaceHint, policyFactsOf, readLaunchFacts } from './launch-facts.ts';
import { planFor } from './plan-for.ts';

const help = `openshell: run a command in a kernel sandbox

  openshell run --policy FILE [--workspace DIR | --no-workspace] [--] COMMAND...
  openshell doctor [--json]

run     DIR (the current folder if not given) is /workspace inside. The exit code is the command's.
        On its own openshell gives no network beyond loopback; \`network-policy run\` and NemoClaw do.
        What the policy would ask a person about is refused.
doctor  launches an empty sandbox, tries what must not be possible, and prints what is enforced.
`;

/** Folders that are never somebody's project. */
const systemFolders = new Set(['/', '/bin', '/boot', '/dev', '/etc', '/home', '/lib', '/lib64', '/opt', '/proc', '/root', '/run', '/sbin', '/srv', '/sys', '/tmp', '/usr', '/var']);

interface RunArguments {
  readonly policy: string;
  readonly workspace: string | undefined;
  readonly command: readonly string[];
}

function usage(what: string): NemoError {
  return new NemoError('NEMO_E_USAGE', { what });
}

function parseRun(args: readonly string[]): RunArguments {
  let policy: string | undefined;
  let workspace: string | undefined = process.cwd();
  let at = 0;
  for (; at < args.length; at++) {
    const word = args[at];
    if (word === '--') {
      at++;
      break;
    }
    if (word === '--no-workspace') workspace = undefined;
    else if (word === '--policy' || word === '--workspace') {
      const value = args[++at];
      if (value === undefined) throw usage(`${word} needs a value.`);
      if (word === '--policy') policy = value;
      else workspace = value;
    } else if (word?.startsWith('-') === true) throw usage(`${word} is not an option of run.`);
    else break;
  }
  if (policy === undefined) throw usage('run needs --policy FILE.');
  if (at >= args.length) throw usage('run needs a command.');
  return { policy, workspace, command: args.slice(at) };
}

function readPolicy(file: string): SandboxPolicy {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${file} cannot be read.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
  return loadSandboxPolicy(text, file);
}

function workspaceFolder(given: string): string {
  let real: string;
  try {
    real = realpathSync(given);
  } catch (cause) {
    throw new NemoError('NEMO_E_USAGE', { what: `${given} cannot be used as workspace.`, why: cause instanceof Error ? cause.message : String(cause), cause });
  }
  if (systemFolders.has(real)) throw new NemoError('NEMO_E_USAGE', { what: `${real} is not a workspace.`, why: 'The agent may be allowed to change everything in it.', fix: 'Go to a project folder, or give --workspace DIR or --no-workspace.' });
  return real;
}

async function run(args: readonly string[]): Promise<number> {
  const { policy: file, workspace, command } = parseRun(args);
  const policy = readPolicy(file);
  const facts = readLaunchFacts();
  const hint = namespaceHint(facts, kernelSetting);
  if (hint !== '') throw new NemoError('NEMO_E_ROOT', { what: 'No sandbox can be made here.', why: facts.namespaces, fix: hint });
  const limited = policyFactsOf(facts);
  checkHost(policy, limited);
  const host = { ...readHostFacts({ nodeBinary: process.execPath }), limits: limited.limits };
  const folder = workspace === undefined ? undefined : workspaceFolder(workspace);
  const term = process.env['TERM'];
  const plan = planFor(policy, host, { hasWorkspace: folder !== undefined, escalations: 'refuse', ...(term ? { env: [`TERM=${term}`] } : {}) });
  if (process.stderr.isTTY === true) {
    for (const note of [...plan.notes, ...unenforced(policy, limited)]) process.stderr.write(`note: ${note}\n`);
    if (plan.network === 'capture') process.stderr.write('note: no network beyond loopback: openshell runs alone.\n');
  }
  const result = await launchAlone(plan, { command, bindRoots: host.bindRoots, stdio: 'inherit', ...(folder === undefined ? {} : { workspace: folder }) });
  return result.code;
}

/** Runs one command line; the exit code. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const [verb, ...rest] = args;
    if (verb === 'run') return await run(rest);
    if (verb === 'doctor') return await doctor(rest.includes('--json'));
    if (verb === undefined || verb === '--help' || verb === 'help') {
      process.stdout.write(help);
      return verb === undefined ? 2 : 0;
    }
    throw usage(`${verb} is not a command of openshell.`);
  } catch (error) {
    const known = error instanceof NemoError ? error : new NemoError('NEMO_E_INTERNAL', { what: error instanceof Error ? error.message : String(error), cause: error });
    process.stderr.write(`${renderError(known)}\n`);
    return known.exit;
  }
}
