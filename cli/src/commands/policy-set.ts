/** `nemoclaw policy set <name> file…`: new files in force, all or nothing. */
import type { PolicyApplied, PolicyView, PutPolicy } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { AnsweredFailure, Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { checkPolicyFile, policyKind, readPolicyFiles } from '../policy-files.ts';
import { sandboxPath } from '../sandbox-path.ts';

export async function run(this: CliContext, flags: CommonFlags, ...args: string[]): Promise<void> {
  const name = this.sandbox === '' ? (args[0] ?? '') : this.sandbox;
  const given = readPolicyFiles(this.sandbox === '' ? args.slice(1) : args, this.world.cwd);
  if (given.length === 0) throw new Failure('NEMO_E_USAGE', { what: 'No policy file was given.' });
  // Checked here first, so that places in error messages are those of the person's own files.
  for (const file of given) await checkPolicyFile(file);
  const now = await call<PolicyView>(this, 'GET', sandboxPath(name, '/policy'));
  const kinds = new Map(Object.entries(now.files).map(([file, text]) => [policyKind(text), file]));
  const files: Record<string, string> = Object.create(null);
  const named = new Map<string, string>();
  for (const file of given) {
    const target = Object.hasOwn(now.files, file.name) ? file.name : kinds.get(policyKind(file.text));
    if (target === undefined) throw new Failure('NEMO_E_USAGE', { what: `'${file.path}' is not a file of this policy.`, fix: `Give one of: ${Object.keys(now.files).join(', ')}.` });
    files[target] = file.text;
    named.set(target, file.path);
  }
  const applied = await call<PolicyApplied>(this, 'PUT', sandboxPath(name, '/policy'), { files, expectedVersion: now.version } satisfies PutPolicy).catch((error: unknown) => {
    throw placedIn(named, error);
  });
  if (flags.json) return sayJson(this, applied);
  const redecided = applied.redecided > 0 ? `; ${applied.redecided} waiting ${applied.redecided === 1 ? 'request was' : 'requests were'} decided by it` : '';
  say(this, `Version ${applied.version} is in force (${applied.changed.join(', ')}; ${applied.appliedMs.toFixed(1)} ms)${redecided}.`);
}

/** The gateway knows the files by their names in the policy; the person knows them by where they are. */
function placedIn(named: ReadonlyMap<string, string>, error: unknown): unknown {
  if (!(error instanceof AnsweredFailure) || error.body.where === undefined) return error;
  const { where } = error.body;
  return new AnsweredFailure({ ...error.body, where: { ...where, file: named.get(where.file) ?? where.file } });
}
