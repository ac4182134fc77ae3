/** Which GPU devices of this host a sandbox could use: found by trying, where no daemon says it. */
import { accessSync, constants, globSync, lstatSync } from 'node:fs';

/** NVIDIA's and AMD's own nodes, and those that render without a screen. */
export const usualGpuDevices: readonly string[] = ['/dev/nvidia*', '/dev/nvidia-caps/*', '/dev/dri/renderD*', '/dev/kfd'];

/** As root agents get a uid of their own and no groups, so that only what everybody may use is of use to them; without root they are this user. */
function usable(path: string): boolean {
  try {
    const found = lstatSync(path);
    if (!found.isCharacterDevice()) return false;
    if (process.geteuid?.() === 0) return (found.mode & 0o6) === 0o6;
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Sorted paths. `patterns`: below /dev, `*` within a name. */
export function gpuDevices(patterns: readonly string[]): string[] {
  const found = patterns.flatMap((pattern) => (pattern.includes('*') ? globSync(pattern) : [pattern]));
  return [...new Set(found)].filter((path) => path.startsWith('/dev/') && !path.includes('/.') && usable(path)).sort();
}
