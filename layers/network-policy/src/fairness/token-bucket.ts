/** A rate limit on the monotonic clock. */
import type { Clock } from '@nemoclaw/contract';

export class TokenBucket {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** `left`: of the burst, full unless said otherwise. */
  constructor(clock: Clock, perSecond: number, burst: number, left = burst) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = Math.max(0, Math.min(burst, left));
    this.#at = clock.monotonic();
  }

  /** True and one token fewer, or false. */
  take(): boolean {
    if (this.left < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Tokens there now. */
  get left(): number {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    return this.#tokens;
  }
}
