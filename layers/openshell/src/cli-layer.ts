/** `openshell diff|commit|discard|snapshot|snapshots|restore`: what commands left in the layer over a folder. */
import { commitLines, diffLines, safeLine, type LayerCommit, type LayerDiff, type LayerOp, type LayerSnapshots } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';
import { layerAlone, stateFolder } from './layer-alone.ts';
import { workspaceFolder } from './workspace-folder.ts';

/** One of the verbs; the exit code: 1 where a commit left something behind. Throws as layerAlone, and NEMO_E_USAGE. */
export async function layerCommand(op: Exclude<LayerOp, 'remove'>, args: readonly string[]): Promise<number> {
  const { flags, values, rest } = readWords(op, args, ['--json'], ['--workspace', '--state']);
  const named = op === 'snapshot' || op === 'restore';
  const [name = '', ...others] = rest;
  if (others.length > 0 || named !== (name !== '')) throw usage(named ? `${op} needs the name of a snapshot: small letters, digits and dashes.` : `${op} takes no name.`);
  if (named && !/^[a-z0-9-]{1,40}$/.test(name)) throw usage(`${JSON.stringify(name)} is no name of a snapshot: small letters, digits and dashes, at most 40.`);
  const found = await layerAlone(workspaceFolder(values.get('--workspace') ?? process.cwd()), stateFolder(values.get('--state')), op, name);
  const say = (lines: readonly string[]): void => void process.stdout.write(flags.has('--json') ? `${JSON.stringify(found)}\n` : lines.map((line) => `${line}\n`).join(''));
  switch (op) {
    case 'diff': say(diffLines(found as LayerDiff)); return 0;
    case 'commit': {
      const done = found as LayerCommit;
      say(commitLines(done, 'the folder'));
      return done.checked && done.left.length === 0 ? 0 : 1;
    }
    case 'snapshots': say((found as LayerSnapshots).snapshots.map((one) => `${safeLine(one.name, 40)}  ${new Date(one.at).toISOString()}`)); return 0;
    case 'discard': say(['What was changed is dropped; the snapshots stay.']); return 0;
    case 'snapshot': say([`The snapshot ${safeLine(name, 40)} is taken.`]); return 0;
    case 'restore': say([`The layer is as it was in the snapshot ${safeLine(name, 40)}.`]); return 0;
  }
}
