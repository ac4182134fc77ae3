/** Shares the one thread of a data-plane process between its sandboxes: who is alone is never kept waiting, who keeps the others waiting works on credit and rests. */
import type { Clock } from '@nemoclaw/contract';

/** ms of work that a sandbox may do at once while others work too: so long may each of them make the others wait. */
const burst = 4;
/** ms since its last work for which a sandbox counts as one that works. */
const remembered = 200;
/** Tasks of one sandbox that may wait. */
const mostWaiting = 4096;

interface Sharer {
  readonly seen: number;
}

/** All sandboxes of this process. */
const sharers = new Set<Sharer>();

export class Pace {
  readonly #clock: Clock;
  readonly #queue: (() => void)[] = [];
  #credit = burst;
  #at: number;
  #timer: NodeJS.Timeout | undefined;
  /** Monotonic ms of the last work. */
  seen = -Infinity;
  /** Tasks that had to wait for a turn, and those for which there was no room to. */
  waited = 0;
  refused = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = clock.monotonic();
    sharers.add(this);
  }

  /** Does `task` now, or when this sandbox has rested. False: too much waits already, and it is never done. */
  run(task: () => void): boolean {
    if (this.#timer === undefined && this.#mayWork()) {
      this.#work(task);
      return true;
    }
    if (this.#queue.length >= mostWaiting) {
      this.refused += 1;
      return false;
    }
    this.waited += 1;
    this.#queue.push(task);
    this.#arm();
    return true;
  }

  /** `task` when this sandbox's turn comes. Rejects where too much waits already, or with what it throws. */
  turn<T>(task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const taken = this.run(() => {
        try {
          resolve(task());
        } catch (error) {
          reject(error instanceof Error ? error : new Error('the task failed'));
        }
      });
      if (!taken) reject(new Error('too much of this sandbox waits for its turn'));
    });
  }

  /** Whether it rests now: what can wait, should, by `run`. */
  get rests(): boolean {
    return this.#timer !== undefined || !this.#mayWork();
  }

  /** Work that cannot wait any more; it counts all the same. */
  measure<T>(task: () => T): T {
    return this.#work(task);
  }

  /** Nothing that waits is done any more. */
  close(): void {
    sharers.delete(this);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#queue.length = 0;
  }

  #work<T>(task: () => T): T {
    const from = this.#clock.monotonic();
    try {
      return task();
    } finally {
      this.seen = this.#clock.monotonic();
      // A debt has its limit too: nobody is shut out for long by one slow task.
      this.#credit = Math.max(-50 * burst, this.#credit - (this.seen - from));
    }
  }

  #mayWork(): boolean {
    const now = this.#clock.monotonic();
    let working = 1;
    for (const other of sharers) if (other !== this && now - other.seen < remembered) working += 1;
    if (working === 1) this.#credit = burst;
    else this.#credit = Math.min(burst, this.#credit + (now - this.#at) / working);
    this.#at = now;
    return this.#credit > 0;
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      while (this.#queue.length > 0 && this.#mayWork()) {
        const task = this.#queue.shift();
        if (task) this.#guarded(task);
      }
      if (this.#queue.length > 0) this.#arm();
    }, 1);
  }

  #guarded(task: () => void): void {
    try {
      this.#work(task);
    } catch {
      // A task ends its own connection; the next one is somebody else's.
    }
  }
}
