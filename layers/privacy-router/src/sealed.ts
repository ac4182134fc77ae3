/** The calls that were refused, as the model made them: kept out of the agent's reach, in memory only, to repair the history with. */
import type { Recall, ToolCall } from './dialect.ts';

interface Entry {
  readonly call: ToolCall;
  readonly result: string;
  /** The name that stood in its place. */
  readonly placeholder: string;
  readonly size: number;
}

/** A call id as an agent may write it back: letters and digits only. */
export function plainId(id: string): string {
  return id.replace(/[^A-Za-z0-9]/g, '');
}

export class Sealed implements Recall {
  readonly #entries = new Map<string, Entry>();
  readonly #maxEntries: number;
  readonly #maxSize: number;
  #size = 0;

  /** Bounds in entries and characters; the oldest give way, their refusal text then stays in the history. */
  constructor(maxEntries = 4096, maxSize = 16 * 1024 * 1024) {
    this.#maxEntries = maxEntries;
    this.#maxSize = maxSize;
  }

  put(call: ToolCall, placeholder: string, result: string): void {
    const size = call.arguments.length + result.length + 200;
    if (size > this.#maxSize) return;
    const id = plainId(call.id);
    this.#size += size - (this.#entries.get(id)?.size ?? 0);
    this.#entries.set(id, { call, result, placeholder, size });
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries && this.#size <= this.#maxSize) break;
      this.#entries.delete(oldest);
      this.#size -= entry.size;
    }
  }

  has(callId: string): boolean {
    return this.#entries.has(plainId(callId));
  }

  original(callId: string, name: string): { readonly call: ToolCall; readonly result: string } | undefined {
    if (this.#entries.size === 0) return undefined;
    const entry = this.#entries.get(plainId(callId));
    return entry?.placeholder === name ? entry : undefined;
  }
}
