/** What a layer holds and what a commit did, as lines for a person. */
import { safeLine } from './agent-text.ts';
import type { LayerCommit, LayerDiff } from './control.ts';

const marks = { added: '+', changed: '~', deleted: '-' } as const;
const reasons = {
  conflict: 'you changed it meanwhile',
  protected: 'your shell, git, editor or agents would obey it by themselves',
  refused: 'neither file, folder nor link',
  failed: 'it could not be written',
} as const;

/** One line a change: `+` added, `~` changed, `-` deleted; names are the agent's, and shown as such. */
export function diffLines({ changes, more, checked }: LayerDiff): string[] {
  return [
    ...changes.map(({ change, path, type }) => `${marks[change]} ${safeLine(path, 400)}${type === 'folder' ? '/' : ''}`),
    ...(more > 0 ? [`and ${more} more`] : []),
    ...(changes.length === 0 ? ['Nothing was changed.'] : []),
    ...(checked ? [] : ['NOT ALL of it could be looked at.']),
  ];
}

/** `where`: what the caller calls the folder below, e.g. "the workspace". */
export function commitLines({ committed, left, more, checked }: LayerCommit, where: string): string[] {
  return [
    checked ? `${committed} ${committed === 1 ? 'change is' : 'changes are'} in ${where}.` : 'Nothing was carried out: not everything could be looked at.',
    ...left.map(({ path, why }) => `  left  ${safeLine(path, 400)}: ${reasons[why]}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ];
}
