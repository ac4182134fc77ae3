/** `openshell diff|commit|discard|snapshot|snapshots|restore`: what commands left in the layer over a folder. */
import { safeLine, type LayerCommit, type LayerDiff, type LayerOp, type LayerSnapshots } from '@nemoclaw/contract';
import { readWords, usage } from './cli-words.ts';
import { layerAlone, stateFolder } from './layer-alone.ts';
import { workspaceFolder } from './workspace-folder.ts';

const marks = { added: '+', changed: '~', deleted: '-' } as const;
const reasons = {
  conflict: 'you changed it meanwhile',
  protected: 'your shell, git, editor or agents would obey it by themselves',
  refused: 'neither file, folder nor link',
  failed: 'it could not be written',
} as const;

function differences({ changes, more, checked }: LayerDiff): string[] {
  return [
    ...changes.map(({ change, path, type }) => `${marks[change]} ${safeLine(path, 400)}${type === 'folder' ? '/' : ''}`),
    ...(more > 0 ? [`and ${more} more`] : []),
    ...(changes.length === 0 ? ['Nothing was changed.'] : []),
    ...(checked ? [] : ['NOT ALL of it could be looked at.']),
  ];
}

function carriedOut({ committed, left, more, checked }: LayerCommit): string[] {
  return [
    checked ? `${committed} ${committed === 1 ? 'change is' : 'changes are'} in the folder.` : 'Nothing was carried out: not everything could be looked at.',
    ...left.map(({ path, why }) => `  left  ${safeLine(path, 400)}: ${reasons[why]}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}

/** One of the verbs; the exit code: 1 where a commit left something behind. Throws as layerAlone, and NEMO_E_USAGE. */
export async function layerCommand(op: Exclude<LayerOp, 'remove'>, args: readonly string[]): Promise<number> {
  const { flags, values, rest } = readWords(op, args, ['--json'], ['--workspace', '--state']);
  const named = op === 'snapshot' || op === 'restore';
  const [name = '', ...others] = rest;
  if (others.length > 0 || named !== (name !== '')) throw usage(named ? `${op} needs the name of a snapshot: small letters, digits and dashes.` : `${op} takes no name.`);
  const found = await layerAlone(workspaceFolder(values.get('--workspace') ?? process.cwd()), stateFolder(values.get('--state')), op, name);
  const say = (lines: readonly string[]): void => void process.stdout.write(flags.has('--json') ? `${JSON.stringify(found)}\n` : lines.map((line) => `${line}\n`).join(''));
  switch (op) {
    case 'diff': say(differences(found as LayerDiff)); return 0;
    case 'commit': {
      const done = found as LayerCommit;
      say(carriedOut(done));
      return done.checked && done.left.length === 0 ? 0 : 1;
    }
    case 'snapshots': say((found as LayerSnapshots).snapshots.map((one) => `${safeLine(one.name, 40)}  ${new Date(one.at).toISOString()}`)); return 0;
    case 'discard': say(['What was changed is dropped; the snapshots stay.']); return 0;
    case 'snapshot': say([`The snapshot ${safeLine(name, 40)} is taken.`]); return 0;
    case 'restore': say([`The layer is as it was in the snapshot ${safeLine(name, 40)}.`]); return 0;
  }
}
