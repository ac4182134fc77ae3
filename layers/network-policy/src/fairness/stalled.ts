/** Answers whose client does not read them: each keeps memory of the kernel filled on both sides of the proxy, so that one sandbox may have only so many. */

/** Answers of one sandbox that may stand still for longer than a moment. */
const most = 64;
/** ms: a client that is only slow goes on sooner. */
const moment = 1000;
/** Answers that may stand still at all. */
const mostAtOnce = 96;
/** ms after which one that stands still gives way to those that wait for it. */
const patience = 10_000;

/** One answer that may stand still. */
export interface Stall {
  /** It gives way: nothing more of it is read. */
  giveWay(): void;
}

export class Stalled {
  /** In the order in which they stopped. */
  readonly #still = new Map<Stall, number>();
  readonly #waiting = new Set<() => void>();
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  /** Answers that gave way. */
  ended = 0;

  /** `now`: monotonic ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Calls back at once, or when fewer stand still: what brings more to read waits until then. What is given back, if it waits: forgets it, so that nothing is kept for who has left. */
  whenFewer(task: () => void): (() => void) | undefined {
    if (!this.full) {
      task();
      return undefined;
    }
    this.#waiting.add(task);
    this.#arm();
    return () => void this.#waiting.delete(task);
  }

  /** What waits. */
  get waiting(): number {
    return this.#waiting.size;
  }

  get size(): number {
    return this.#still.size;
  }

  /** Whether what brings more to read should wait. */
  get full(): boolean {
    if (this.#still.size < most) return false;
    if (this.#still.size >= mostAtOnce) return true;
    let older = 0;
    for (const since of this.#still.values()) {
      if (this.#now() - since < moment) return false;
      older += 1;
      if (older === most) return true;
    }
    return false;
  }

  /** The client of this answer takes no more. */
  begin(stall: Stall): void {
    this.#still.set(stall, this.#now());
  }

  /** It goes on, or is over. */
  end(stall: Stall): void {
    if (this.#still.delete(stall)) this.#next();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#still.clear();
    this.#waiting.clear();
  }

  #next(): void {
    while (!this.full) {
      const [task] = this.#waiting;
      if (task) this.#waiting.delete(task);
      else {
        clearTimeout(this.#timer);
        this.#timer = undefined;
        return;
      }
      try {
        task();
      } catch {
        // What waits ends its own request; the next one is another.
      }
    }
  }

  #arm(): void {
    const [oldest] = this.#still.values();
    if (this.#timer !== undefined || this.#waiting.size === 0 || oldest === undefined) return;
    this.#timer = setTimeout(() => this.tick(), Math.max(10, oldest + patience - this.#now()));
  }

  /** Those that have stood still for too long give way to those that wait. */
  tick(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const over = [...this.#still].filter(([, since]) => this.#now() - since >= patience).slice(0, this.#waiting.size);
    for (const [stall] of over) {
      this.ended += 1;
      stall.giveWay();
      this.end(stall);
    }
    this.#arm();
  }
}
