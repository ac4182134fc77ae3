/** Stops every process of a network namespace for as long as a question stands at its terminal. */
import { readdirSync, readlinkSync } from 'node:fs';

/** Stops what shares the namespace of `pid`, and gives what lets it go on. */
export function freeze(pid: number): () => void {
  const stopped: number[] = [];
  const namespace = linkOf(pid);
  if (namespace === undefined || namespace === linkOf(process.pid)) return () => undefined;
  for (const name of readdirSync('/proc')) {
    const other = Number(name);
    if (!Number.isInteger(other) || linkOf(other) !== namespace) continue;
    try {
      process.kill(other, 'SIGSTOP');
      stopped.push(other);
    } catch {
      // It has ended.
    }
  }
  return () => {
    for (const other of stopped) {
      try {
        if (linkOf(other) === namespace) process.kill(other, 'SIGCONT');
      } catch {
        // It has ended.
      }
    }
  };
}

function linkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}
