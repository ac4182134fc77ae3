/** Watchers of a store: changes after a revision in order, then live, without a gap between the two. */
import type { StoreChange } from '@nemoclaw/contract';

/** Hands changes to any number of watchers; the adapter says what lies before them. */
export class ChangeLog {
  readonly #watchers = new Set<(change: StoreChange) => void>();

  /** Whether anybody would hear of a change. */
  get watched(): boolean {
    return this.#watchers.size > 0;
  }

  publish(changes: readonly StoreChange[]): void {
    for (const change of changes) for (const watcher of this.#watchers) watcher(change);
  }

  /**
   * Changes under `prefix` after revision `after`, until the signal aborts.
   * `past` is read after the live subscription stands, so that nothing falls between; what comes twice is dropped by revision.
   */
  async *watch(prefix: string, after: number, past: () => readonly StoreChange[], signal: AbortSignal): AsyncIterable<StoreChange> {
    let queue: StoreChange[] = [];
    let wake: (() => void) | undefined;
    const watcher = (change: StoreChange): void => {
      if (!change.key.startsWith(prefix)) return;
      queue.push(change);
      wake?.();
    };
    const stop = (): void => wake?.();
    this.#watchers.add(watcher);
    signal.addEventListener('abort', stop);
    try {
      let seen = after;
      queue = [...past(), ...queue];
      while (!signal.aborted) {
        const change = queue.shift();
        if (change === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (queue.length > 0 || signal.aborted) resolve();
          });
          wake = undefined;
        } else if (change.revision > seen) {
          seen = change.revision;
          yield change;
        }
      }
    } finally {
      this.#watchers.delete(watcher);
      signal.removeEventListener('abort', stop);
    }
  }
}
