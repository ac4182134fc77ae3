/** What a sandbox left in the workspace at names that other programs obey by themselves, and how to take it back. */
import { safeLine, type LeftView } from '@nemoclaw/contract';

const shown = 10;

/** Lines to print; [] if nothing was left. `folder`: the workspace as its owner named it. */
export function leftLines(left: LeftView | undefined, folder: string): string[] {
  if (left === undefined) return [];
  const lines: string[] = [];
  const total = left.found.length + left.more;
  if (total > 0) lines.push(`It left ${total} ${total === 1 ? 'thing' : 'things'} in ${safeLine(folder, 400)} that your shell, git, editor or agents would obey by themselves:`);
  for (const one of left.found.slice(0, shown)) lines.push(`  ${one.moved ? 'put away' : 'STILL THERE'}  ${safeLine(one.path, 200)} (${one.why})`);
  if (total > shown) lines.push(`  and ${total - shown} more`);
  if (left.quarantine !== '') lines.push(`Take one back:  chmod u+rwx '${safeLine(folder, 400)}/${safeLine(left.quarantine, 200)}', look at it, move it to its place.`);
  if (left.problem !== '') lines.push(`${left.checked ? 'Careful' : 'NOT CHECKED'}: ${safeLine(left.problem, 300)}.`);
  return lines;
}
