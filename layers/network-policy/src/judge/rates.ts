/** What is left of the rates of one sandbox's rules, told to somebody who outlives this process, so that its end gives nothing back. */
import type { Clock, RateLeft } from '@nemoclaw/contract';
import { TokenBucket } from '../fairness/token-bucket.ts';

/** Who keeps it. */
export interface RateKeeper {
  /** What was left when it was last told; undefined where nobody knows: then every rate begins with nothing left. */
  readonly known: readonly RateLeft[] | undefined;
  /** All rates that were ever used, whenever one changed. */
  tell(rates: readonly RateLeft[]): void;
}

/** ms between two tellings. */
const tellMs = 50;
/** Rates that are kept: those used last. */
const most = 512;
/** Stands for all rates that are not named. */
const others = '';

export class Rates {
  readonly #clock: Clock;
  readonly #keeper: RateKeeper | undefined;
  readonly #known: ReadonlyMap<string, RateLeft>;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, TokenBucket>();
  #timer: NodeJS.Timeout | undefined;
  #changed = false;

  constructor(clock: Clock, keeper: RateKeeper | undefined) {
    this.#clock = clock;
    this.#keeper = keeper;
    const known = keeper?.known ?? [{ key: others, left: 0, at: clock.now() }];
    this.#known = new Map(known.map((one) => [one.key, one]));
  }

  /** Takes one of the rate's requests if there is one. `burst`: all of a window. */
  take(key: string, perSecond: number, burst: number): boolean {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, perSecond, burst, this.#leftOf(key, perSecond, burst));
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const taken = bucket.take();
    if (taken && this.#keeper) this.#tell();
    return taken;
  }

  #leftOf(key: string, perSecond: number, burst: number): number {
    const known = this.#keeper && (this.#known.get(key) ?? this.#known.get(others));
    return known ? known.left + (Math.max(0, this.#clock.now() - known.at) / 1000) * perSecond : burst;
  }

  /** The first at once, then at most so often: who is limited to a few in an hour loses none of them to the end of this process. */
  #tell(): void {
    this.#changed = true;
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#changed) this.#tell();
    }, tellMs);
    this.#timer.unref();
    this.#changed = false;
    const at = this.#clock.now();
    const all = new Map<string, RateLeft>(this.#known);
    for (const [key, bucket] of this.#buckets) {
      all.delete(key);
      all.set(key, { key, left: bucket.left, at });
    }
    const forgotten = all.size > most ? [{ key: others, left: 0, at }] : [];
    this.#keeper?.tell([...forgotten, ...[...all.values()].slice(-most)]);
  }
}
