/** The paths of a policy, sorted into what the sandbox's root is built from. Patterns are a path or `dir/**`. */
import { sandboxFiles } from '@nemoclaw/contract';

export const { workspace, home, scratch, rootOf, isBelow } = sandboxFiles;

/** Folders strictly between `root` and `path`, outermost first. */
export function between(root: string, path: string): string[] {
  const out: string[] = [];
  for (let at = path.lastIndexOf('/'); at > root.length; at = path.lastIndexOf('/', at - 1)) out.unshift(path.slice(0, at));
  return out;
}

/** Without those that lie below another one; sorted, so that a folder comes before what is in it. */
export function outermost(paths: Iterable<string>): string[] {
  const out: string[] = [];
  for (const path of [...new Set(paths)].sort()) if (!out.some((o) => isBelow(path, o))) out.push(path);
  return out;
}
