/** A stretch of time that ends when either clock says so: the wall's, which people read and somebody may set, or the machine's own, which nobody can. */
import type { Clock } from '@nemoclaw/contract';

/** What a wall clock may be set back, ms, before what was made "later" counts as of an unknown age. */
const slack = 60_000;

export class Window {
  readonly #clock: Clock;
  readonly #until: number;
  readonly #ends: number;

  /** `from` and `until` in wall time, ms. Begun earlier (read from the store after a restart) it is over at once if its beginning lies in the future. */
  constructor(clock: Clock, from: number, until: number) {
    this.#clock = clock;
    this.#until = until;
    const left = Math.min(until - clock.now(), until - from);
    this.#ends = from > clock.now() + slack ? -Infinity : clock.monotonic() + left;
  }

  get over(): boolean {
    return this.#clock.now() >= this.#until || this.#clock.monotonic() >= this.#ends;
  }
}
