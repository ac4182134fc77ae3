/** `openshell explain`: what a policy answers to one operation, and which rule says so. */
import { unenforced } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';
import { explain, explainOps, type ExplainOp } from './explain.ts';
import { gpuDevices, usualGpuDevices } from './gpu-devices.ts';
import { readPolicyFile } from './policy-file.ts';

const words = { allow: 'allowed', deny: 'denied', escalate: 'a person is asked' } as const;
const codes = { allow: 0, deny: 3, escalate: 4 } as const;

const isOp = (word: string): word is ExplainOp => (explainOps as readonly string[]).includes(word);

/** Exit code 0: allowed, 3: denied, 4: a person would be asked. */
export function explainCommand(args: readonly string[]): Promise<number> {
  const { flags, values, rest } = readWords('explain', args, ['--json'], ['--policy', '--tier']);
  const file = values.get('--policy');
  const tier = values.get('--tier') ?? (process.getuid?.() === 0 ? 'B' : 'C');
  const [op, path, toPath, ...more] = rest;
  if (file === undefined) throw usage('explain needs --policy FILE.');
  if (tier !== 'A' && tier !== 'B' && tier !== 'C') throw usage(`${tier} is not a tier: A, B or C.`);
  if (op === undefined || path === undefined || more.length > 0) throw usage('explain needs an operation and a path.');
  if (!isOp(op)) throw usage(`${op} is not an operation: ${explainOps.join(', ')}.`);
  const two = op === 'rename' || op === 'link';
  if (two !== (toPath !== undefined)) throw usage(two ? `${op} needs a second path, the new name.` : `${op} needs one path only.`);
  for (const one of [path, ...(toPath === undefined ? [] : [toPath])]) if (!one.startsWith('/')) throw usage(`${one} is not a path of the sandbox; those begin with /, e.g. /workspace/notes.`);
  const policy = readPolicyFile(file);
  const gpu = policy.spec.resources.gpuAccess === 'full' ? gpuDevices(usualGpuDevices) : [];
  const answer = explain(policy, tier, { op, path, ...(toPath === undefined ? {} : { toPath }) }, { gpu });
  if (flags.has('--json')) process.stdout.write(`${JSON.stringify({ op, path, ...(toPath === undefined ? {} : { toPath }), tier, ...answer })}\n`);
  else {
    const lines = [`${words[answer.verdict]}, by ${answer.rule}`];
    if (answer.verdict === 'deny') lines.push(`  stopped by ${answer.layer ?? 'the policy'}${answer.errno === null ? '' : `; the program sees ${answer.errno}`}`);
    if (answer.verdict === 'escalate' && answer.errno !== null) lines.push(`  where nobody approves the program sees ${answer.errno}`);
    for (const gap of unenforced(policy, { tier, gpu })) lines.push(`  note: ${gap}`);
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  return Promise.resolve(codes[answer.verdict]);
}
