/** `openshell policy check`: reads a policy as `run` would, and says what of it this host does not enforce. */
import { checkHost, NemoError, unenforced } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';
import { readHostFacts } from './host-facts.ts';
import { policyFactsOf, readLaunchFacts } from './launch-facts.ts';
import { planFor } from './plan-for.ts';
import { readPolicyFile } from './policy-file.ts';

/** 0: it could start here. Rejects with what `run` would say, NEMO_E_POLICY_NEEDS where only the host is lacking. */
export function policyCommand(args: readonly string[]): Promise<number> {
  const { flags, rest } = readWords('policy check', args, ['--json'], []);
  const [verb, file, ...more] = rest;
  if (verb !== 'check') throw usage(verb === undefined ? 'policy needs a command: check FILE.' : `policy ${verb} is not a command of openshell.`);
  if (file === undefined || more.length > 0) throw usage('policy check needs one file.');
  const policy = readPolicyFile(file);
  const host = readHostFacts({ nodeBinary: process.execPath });
  const facts = { ...policyFactsOf(readLaunchFacts()), ...(host.gpu && { gpu: host.gpu }) };
  const { tier } = facts;
  const plan = planFor(policy, { ...host, limits: facts.limits }, { hasWorkspace: true });
  const notes = [...plan.notes, ...unenforced(policy, facts)];
  let refused: NemoError | undefined;
  try {
    checkHost(policy, facts);
  } catch (error) {
    if (!(error instanceof NemoError)) throw error;
    refused = error;
  }
  if (flags.has('--json')) process.stdout.write(`${JSON.stringify({ file, name: policy.metadata.name, tier, starts: refused === undefined, notes, ...(refused === undefined ? {} : { error: refused }) })}\n`);
  else {
    if (refused !== undefined) throw refused;
    process.stdout.write([`${file}: ${policy.metadata.name} can start here, in tier ${tier}`, ...notes.map((note) => `  note: ${note}`), ''].join('\n'));
  }
  return Promise.resolve(refused?.exit ?? 0);
}
