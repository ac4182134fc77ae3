/** Shares the one thread of a data-plane process between its sandboxes: who is alone is never kept waiting, who keeps the others waiting works on credit and rests. */
import type { Clock } from '@nemoclaw/contract';

/** ms of work that a sandbox may do at once while others work too: so long may each of them make the others wait. */
const burst = 4;
/** ms of work that a sandbox may do in one turn of the event loop while others work too: so soon does everybody else's input get read again. */
const slice = 2;
/** ms that a sandbox rests at most, however many work: of hundreds each has a few ms a second, and one pause of the process in a task of its own would keep it waiting for a minute. */
const longestRest = 2000;
/** ms since its last work for which a sandbox counts as one that works. */
const remembered = 200;
/** Tasks of one sandbox that may wait. */
const mostWaiting = 4096;

/** ms for which one reading of the thread's processor time is good enough to begin with. */
const exact = 1;
/** ms of processor time that this thread has had. */
export type ThreadTime = () => number;
export const threadTime: ThreadTime = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
/** The last reading: asking costs a system call, so it is asked once a millisecond and after long tasks. */
const read = { at: -Infinity, ms: 0 };
/** What the tasks took of the thread's time, so that what is done before and after them (reading, parsing, writing, memory) is charged to them, too: to each the same. */
const whole = { from: 0, counted: 0, tasks: 0, besides: 0 };
/** ms of thread time after which that is taken anew, and the most that it can be for one task. */
const enough = 10;
const mostBesides = 0.5;

/** The turn of the event loop that this is; it goes up after each in which something was done. */
const turn = { number: 0, ends: false };

function inThisTurn(): number {
  if (!turn.ends) {
    turn.ends = true;
    setImmediate(() => {
      turn.ends = false;
      turn.number += 1;
    }).unref();
  }
  return turn.number;
}

interface Sharer {
  readonly seen: number;
}

/** All sandboxes of this process. */
const sharers = new Set<Sharer>();

export class Pace {
  readonly #clock: Clock;
  readonly #thread: ThreadTime;
  readonly #queue: (() => void)[] = [];
  #credit = burst;
  #within = false;
  /** The turn of its last work, and the ms that it took in it. */
  #turn = -1;
  #spent = 0;
  #at: number;
  /** Ends its waiting for the next turn, or for credit. */
  #waits: (() => void) | undefined;
  /** Monotonic ms of the last work. */
  seen = -Infinity;
  /** Tasks that had to wait for a turn, and those for which there was no room to. */
  waited = 0;
  refused = 0;

  constructor(clock: Clock, thread: ThreadTime = threadTime) {
    this.#clock = clock;
    this.#thread = thread;
    this.#at = clock.monotonic();
    sharers.add(this);
  }

  /** Does `task` now, or when this sandbox has rested. False: too much waits already, and it is never done. */
  run(task: () => void): boolean {
    if (this.#waits === undefined && this.#mayWork()) {
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
    return this.#waits !== undefined || !this.#mayWork();
  }

  /** Resolves when this sandbox may work again. Rejects where too much waits already. */
  async rested(): Promise<void> {
    if (this.rests) await this.turn(() => undefined);
  }

  /** Work that cannot wait any more; it counts all the same. */
  measure<T>(task: () => T): T {
    return this.#work(task);
  }

  /** Nothing that waits is done any more. */
  close(): void {
    sharers.delete(this);
    this.#waits?.();
    this.#waits = undefined;
    this.#queue.length = 0;
  }

  #work<T>(task: () => T): T {
    // What a counted task does is counted with it.
    if (this.#within) return task();
    this.#within = true;
    const from = this.#clock.monotonic();
    if (from - read.at >= exact || from < read.at) this.#readAt(from);
    const before = read.ms;
    try {
      return task();
    } finally {
      this.#within = false;
      this.seen = this.#clock.monotonic();
      // A debt has its limit too: nobody is shut out for long by one slow task.
      const own = this.#cost(this.seen - from, before);
      whole.counted += own;
      whole.tasks += 1;
      const cost = own + whole.besides;
      this.#credit = Math.max(-50 * burst, this.#credit - cost);
      const now = inThisTurn();
      this.#spent = this.#turn === now ? this.#spent + cost : cost;
      this.#turn = now;
    }
  }

  /** What a task took, without the time in which the machine had given the processor to somebody else. */
  #cost(ms: number, before: number): number {
    if (ms < exact) return ms;
    this.#readAt(this.seen);
    return Math.max(0, Math.min(ms, read.ms - before));
  }

  #readAt(now: number): void {
    read.at = now;
    read.ms = this.#thread();
    const passed = read.ms - whole.from;
    if (passed >= 0 && passed < enough) return;
    whole.besides = Math.min(mostBesides, Math.max(0, (passed - whole.counted) / Math.max(1, whole.tasks)));
    whole.from = read.ms;
    whole.counted = 0;
    whole.tasks = 0;
  }

  #mayWork(): boolean {
    const now = this.#clock.monotonic();
    let working = 1;
    for (const other of sharers) if (other !== this && now - other.seen < remembered) working += 1;
    if (working === 1) this.#credit = burst;
    else this.#credit = Math.min(burst, Math.max(-longestRest / working, this.#credit) + (now - this.#at) / working);
    this.#at = now;
    return this.#credit > 0 && (working === 1 || this.#turn !== turn.number || this.#spent < slice);
  }

  #arm(): void {
    if (this.#waits) return;
    const next = (): void => {
      this.#waits = undefined;
      while (this.#queue.length > 0 && this.#mayWork()) {
        const task = this.#queue.shift();
        if (task) this.#guarded(task);
      }
      if (this.#queue.length > 0) this.#arm();
    };
    if (this.#credit > 0) {
      const immediate = setImmediate(next);
      this.#waits = () => clearImmediate(immediate);
    } else {
      const timer = setTimeout(next, 1);
      this.#waits = () => clearTimeout(timer);
    }
  }

  #guarded(task: () => void): void {
    try {
      this.#work(task);
    } catch {
      // A task ends its own connection; the next one is somebody else's.
    }
  }
}
