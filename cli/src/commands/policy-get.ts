/** `nemoclaw policy get <name>`: the files in force. */
import type { PolicyView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, sayJson, type CliContext } from '../context.ts';
import { Failure } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { sandboxPath } from '../sandbox-path.ts';

export async function run(this: CliContext, flags: CommonFlags & { readonly file?: string }, named?: string): Promise<void> {
  const name = named ?? this.sandbox;
  const policy = await call<PolicyView>(this, 'GET', sandboxPath(name, '/policy'));
  const files = Object.entries(policy.files).filter(([file]) => flags.file === undefined || file === flags.file);
  if (files.length === 0) throw new Failure('NEMO_E_NOT_FOUND', { what: `The policy of ${name} has no file '${flags.file}'.`, fix: `It has: ${Object.keys(policy.files).join(', ')}.` });
  if (flags.json) return sayJson(this, { ...policy, files: Object.fromEntries(files) });
  note(this, `version ${policy.version}`);
  for (const [file, text] of files) {
    if (files.length > 1) this.world.stdout.write(`# ---- ${file}\n`);
    this.world.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }
  for (const text of policy.unenforced) note(this, `not enforced: ${text}`);
}
