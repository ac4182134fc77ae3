/** Which number each source has reached, so that duplicates are dropped and gaps are seen. */
import { parseRecord } from './chain.ts';

export interface SourceState {
  readonly name: string;
  run: string;
  /** Last number taken into the chain. */
  last: number;
  /** Last number synced to disk. */
  durable: number;
  /** Life and last number that stand in the chain; numbers still queued are not among them. */
  sealed: { readonly run: string; readonly seq: number };
}

/** What to do with a number: `gap` and `restart` are admitted before the event is taken. */
export type Arrival = { readonly take: false } | { readonly take: true; readonly gap?: { readonly from: number; readonly to: number }; readonly restart?: number };

export class SourceBook {
  readonly #sources = new Map<string, SourceState>();

  state(name: string): SourceState {
    let state = this.#sources.get(name);
    if (!state) {
      state = { name, run: '', last: 0, durable: 0, sealed: { run: '', seq: 0 } };
      this.#sources.set(name, state);
    }
    return state;
  }

  /** A source said which life it is in. Returns the last number of its former life, or 0 where nothing ended. */
  begin(name: string, run: string): number {
    const state = this.state(name);
    if (run === '' || state.run === run) return 0;
    const ended = state.last;
    state.run = run;
    state.last = 0;
    state.durable = 0;
    return ended;
  }

  /** Judges number `seq`. A source without a run that counts from 1 again has restarted. */
  arrive(name: string, seq: number): Arrival {
    const state = this.state(name);
    const restart = state.run === '' && seq === 1 && state.last > 0 ? state.last : 0;
    if (restart > 0) {
      state.last = 0;
      state.durable = 0;
    }
    if (seq <= state.last) return { take: false };
    const gap = seq > state.last + 1 ? { from: state.last + 1, to: seq - 1 } : undefined;
    state.last = seq;
    return { take: true, ...(gap && { gap }), ...(restart > 0 && { restart }) };
  }

  /** The event with this number is in the chain. */
  seal(name: string, run: string, seq: number): void {
    this.state(name).sealed = { run, seq };
  }

  /** Learns from a record already in the chain: its source, and for the ledger's own records the line, which may open a segment. */
  recall(source: { readonly name: string; readonly run: string; readonly seq: number }, own: string): void {
    if (source.name !== 'ledger') {
      this.#restore({ name: source.name, run: source.run, last: source.seq });
      return;
    }
    if (!own.includes('"kind":"segment.opened"')) return;
    const sources = parseRecord(own).unmapped.data?.['sources'];
    for (const item of Array.isArray(sources) ? (sources as unknown[]) : []) this.#restore(item);
  }

  #restore(item: unknown): void {
    const { name, run, last } = item as { name?: unknown; run?: unknown; last?: unknown };
    if (typeof name !== 'string' || typeof run !== 'string' || typeof last !== 'number') return;
    const state = this.state(name);
    state.run = run;
    state.last = last;
    state.durable = last;
    state.sealed = { run, seq: last };
  }

  /** For the head of a segment and for `status`: what stands in the chain, so that a crash never makes a lost number look like a duplicate. */
  list(): { name: string; run: string; last: number }[] {
    return [...this.#sources.values()].filter(({ name }) => name !== 'ledger').map(({ name, sealed }) => ({ name, run: sealed.run, last: sealed.seq }));
  }
}
