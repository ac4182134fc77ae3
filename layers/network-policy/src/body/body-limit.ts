/** The smallest limit on the body of a request that any hook names, kept while the body streams. */
import type { Decision } from '@nemoclaw/contract';
import { Stopped } from '../hooks.ts';
import type { ByteTransform, Passing } from '../hooks.ts';

const nothing = Buffer.alloc(0);

/** What counts a streamed body; undefined where nothing limits it. Throws `Stopped` (413) where its `known` length, in bytes, is over the limit already. */
export function bodyLimit(passing: Passing, known: number): ByteTransform | undefined {
  let least: { readonly bytes: number; readonly decision: Decision } | undefined;
  for (const hook of passing.core.hooks.limits) {
    const limit = hook.maxBody?.(passing);
    if (limit && (!least || limit.bytes < least.bytes)) least = limit;
  }
  if (!least) return undefined;
  const { bytes, decision } = least;
  const over = (): Stopped => new Stopped(decision, `the body is larger than ${bytes} bytes`, 413);
  if (known > bytes) throw over();
  let sent = 0;
  return {
    next: (chunk) => {
      sent += chunk.length;
      if (sent > bytes) throw over();
      return chunk;
    },
    end: () => nothing,
  };
}
