/** The events of one sandbox: the last ones kept, and live ones for whoever iterates. */
import type { LedgerEvent } from '@nemoclaw/contract';

const keptEvents = 1000;

export class EventFeed {
  readonly #kept: LedgerEvent[] = [];
  /** Number of the first event in `#kept`. */
  #first = 0;
  #ended = false;
  #wake: (() => void)[] = [];

  push(event: LedgerEvent): void {
    if (this.#ended) return;
    this.#kept.push(event);
    if (this.#kept.length > keptEvents) {
      this.#kept.shift();
      this.#first += 1;
    }
    this.#awaken();
  }

  end(): void {
    this.#ended = true;
    this.#awaken();
  }

  /** From the oldest that is kept; ends with the sandbox. A reader who is more than 1,000 events behind misses the oldest and is told how many. */
  async *read(): AsyncGenerator<LedgerEvent, void, undefined> {
    let next = this.#first;
    for (;;) {
      if (next < this.#first) {
        const oldest = this.#kept[0];
        if (oldest) yield { time: oldest.time, class: 'applicationLifecycle', activity: 99, severity: 3, sandbox: oldest.sandbox, layer: 'openshelld', message: `${this.#first - next} events were not read in time`, data: { lost: this.#first - next } };
        next = this.#first;
      }
      const event = this.#kept[next - this.#first];
      if (event) {
        next += 1;
        yield event;
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  #awaken(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
