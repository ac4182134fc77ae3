/** Tells whoever watches a sandbox that something about its approvals changed. */
import type { ApprovalView } from '@nemoclaw/contract';

type Listener = (approval: ApprovalView) => void;

export class Notices {
  readonly #listeners = new Map<string, Set<Listener>>();

  /** `sandbox` is an id. Returns how to stop. */
  listen(sandbox: string, listener: Listener): () => void {
    const set = this.#listeners.get(sandbox) ?? new Set<Listener>();
    this.#listeners.set(sandbox, set);
    set.add(listener);
    return () => {
      set.delete(listener);
      if (set.size === 0) this.#listeners.delete(sandbox);
    };
  }

  tell(sandbox: string, approval: ApprovalView): void {
    for (const listener of this.#listeners.get(sandbox) ?? []) listener(approval);
  }
}
