/** `openshell run`: one command in a sandbox; with a person at the terminal where the policy asks one. */
import { checkHost, unenforced, type LedgerEvent, type SandboxPolicy } from '@nemoclaw/contract';
import { readWords, usage, type Words } from './cli-words.ts';
import { readHostFacts } from './host-facts.ts';
import { stateFolder } from './layer-alone.ts';
import { launchAlone } from './launch-alone.ts';
import { launchableHere, mayHaveTierA } from './launch-facts.ts';
import { planFor } from './plan-for.ts';
import { readPolicyFile } from './policy-file.ts';
import { workspaceFolder } from './workspace-folder.ts';
import type { RunOptions } from './run-with-person.ts';

function notes(lines: readonly string[]): void {
  if (process.stderr.isTTY === true) for (const line of lines) process.stderr.write(`note: ${line}\n`);
}

/** The same policy with a layer. Throws NEMO_E_USAGE. */
function overlaid(policy: SandboxPolicy): SandboxPolicy {
  if (policy.spec.isolation.filesystem === 'ephemeral') throw usage('run --overlay keeps what the command changes; the policy says `filesystem: ephemeral`, which keeps nothing.');
  return { ...policy, spec: { ...policy.spec, filesystem: { ...policy.spec.filesystem, overlay: true } } };
}

/** What stands before the command. Throws as readWords. */
export const runWords = (args: readonly string[]): Words => readWords('run', args, ['--json', '--no-workspace', '--overlay'], ['--policy', '--workspace', '--state'], 'a command');

/** The exit code: the command's, or as a shell reports it (128 + signal; 126, 127 where it could not be started). */
export async function run(args: readonly string[]): Promise<number> {
  const { flags, values, rest: command } = runWords(args);
  const file = values.get('--policy');
  if (file === undefined) throw usage('run needs --policy FILE.');
  if (command.length === 0) throw usage('run needs a command.');
  const policy = flags.has('--overlay') ? overlaid(readPolicyFile(file)) : readPolicyFile(file);
  const limited = launchableHere();
  const host = { ...readHostFacts({ nodeBinary: process.execPath }), limits: limited.limits };
  // Where the kernel's own program can decide, it does, though a start without openshelld is quicker; the policy is checked again against what openshelld then finds.
  const tierA = mayHaveTierA() ? { tier: 'A' as const } : {};
  const facts = { ...limited, ...tierA, ...(host.gpu && { gpu: host.gpu }) };
  checkHost(policy, facts);
  const folder = flags.has('--no-workspace') ? undefined : workspaceFolder(values.get('--workspace') ?? process.cwd());
  if (folder === undefined && policy.spec.filesystem.overlay) throw usage('A layer lies over a workspace: leave --no-workspace out, or the overlay.');
  const layers = policy.spec.filesystem.overlay && policy.spec.isolation.filesystem !== 'ephemeral' && folder !== undefined ? stateFolder(values.get('--state')) : undefined;
  const term = process.env['TERM'];
  const plan = planFor(policy, { ...host, ...tierA }, { hasWorkspace: folder !== undefined, ...(term ? { env: [`TERM=${term}`] } : {}) });
  const options: RunOptions = { policy, command, host, ...(folder === undefined ? {} : { workspace: folder }), ...(term ? { env: { TERM: term } } : {}), ...(layers === undefined ? {} : { layers }), notes };
  if (flags.has('--json')) {
    const { runForReport } = await import('./run-with-person.ts');
    const { exit, ...report } = await runForReport(options);
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
    return exit;
  }
  if (plan.network === 'capture') notes(['no network beyond loopback: openshell runs alone.']);
  // Who asks, who decides in the kernel, who counts and who keeps a layer is openshelld.
  if (plan.escalate.length > 0 || tierA.tier === 'A' || plan.limits.diskBytes !== undefined || layers !== undefined) {
    const { runWithPerson } = await import('./run-with-person.ts');
    const code = await runWithPerson(options);
    if (layers !== undefined) process.stderr.write('openshell: what it changed is in a layer over the folder: `openshell diff` shows it, `openshell commit` carries it out, `openshell discard` drops it.\n');
    return code;
  }
  notes([...plan.notes, ...unenforced(policy, facts)]);
  const result = await launchAlone(plan, { command, bindRoots: host.bindRoots, ...(host.gpu && { devices: host.gpu }), stdio: 'inherit', ...(folder === undefined ? {} : { workspace: folder }) });
  return result.code;
}

/** What `run --json` prints. */
export interface RunReport {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly tier: 'A' | 'B' | 'C';
  readonly notes: readonly string[];
  readonly probe: Readonly<Record<string, boolean>>;
  readonly events: readonly LedgerEvent[];
}
