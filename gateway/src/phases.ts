/** Times the named phases of one piece of work, for people and benchmarks. */
import type { Clock } from '@nemoclaw/contract';

export class Phases {
  readonly #clock: Clock;
  readonly #ms = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs `work` as phase `name`; its ms are kept whether it fails or not. */
  async time<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const start = this.#clock.monotonic();
    try {
      return await work();
    } finally {
      this.add(name, this.#clock.monotonic() - start);
    }
  }

  add(name: string, ms: number): void {
    this.#ms.set(name, Math.round(((this.#ms.get(name) ?? 0) + ms) * 1000) / 1000);
  }

  all(): Record<string, number> {
    return Object.fromEntries(this.#ms);
  }
}
