/** Remembers the turns whose answers people had to approve, so that a repeat after a broken connection gets the same answer. */
import { canonicalHash } from './canonical.ts';
import type { Dialect, Turn } from './dialect.ts';
import type { Exchange } from './exchange.ts';
import { plainId } from './sealed.ts';

interface Kept {
  readonly exchange: Exchange;
  readonly settings: string;
  readonly messages: readonly string[];
  timer: NodeJS.Timeout | undefined;
}

export class Turns {
  readonly #kept = new Set<Kept>();
  readonly #dialect: Dialect;
  readonly #max: number;

  constructor(dialect: Dialect, max: number) {
    this.#dialect = dialect;
    this.#max = max;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** False if too many are held. Finished answers give way first. */
  add(exchange: Exchange, task: string): boolean {
    if (this.#kept.size >= this.#max) {
      const old = [...this.#kept].find((kept) => kept.exchange.state === 'finished');
      if (!old) return false;
      this.#drop(old);
    }
    this.#kept.add({ exchange, settings: settingsKey(exchange.turn, task), messages: exchange.turn.messages.map(canonicalHash), timer: undefined });
    return true;
  }

  /** Forgets the exchange after `ms`, unless it is taken up before; `then` is called if it was forgotten. */
  expire(exchange: Exchange, ms: number, then: () => void): void {
    const kept = this.#of(exchange);
    if (!kept) return;
    clearTimeout(kept.timer);
    kept.timer = setTimeout(() => {
      this.#kept.delete(kept);
      then();
    }, ms);
  }

  forget(exchange: Exchange): void {
    const kept = this.#of(exchange);
    if (kept) this.#drop(kept);
  }

  /** The exchange that this turn repeats, if any. On the way, what the conversation has gone beyond is forgotten: delivered answers, and questions the user has dropped. */
  find(turn: Turn, task: string): Exchange | undefined {
    if (this.#kept.size === 0) return undefined;
    const settings = settingsKey(turn, task);
    const hashes = turn.messages.map(canonicalHash);
    const shown = new Set(this.#dialect.callIds(turn.messages).map(plainId));
    for (const kept of this.#kept) {
      const { exchange } = kept;
      if (exchange.deliveredIds.some((id) => shown.has(plainId(id)))) {
        this.#drop(kept);
        continue;
      }
      const length = kept.messages.length;
      if (kept.settings !== settings || length > hashes.length || kept.messages.some((hash, i) => hash !== hashes[i])) continue;
      const added = turn.messages.slice(length);
      if (added.length === 0 || this.#dialect.isRepeatNote(added)) {
        clearTimeout(kept.timer);
        return exchange;
      }
      if (exchange.isAbandoned) {
        this.#drop(kept);
        exchange.withdraw();
      }
    }
    return undefined;
  }

  /** Withdraws everything. */
  close(): void {
    for (const kept of this.#kept) {
      clearTimeout(kept.timer);
      kept.exchange.withdraw();
    }
    this.#kept.clear();
  }

  #of(exchange: Exchange): Kept | undefined {
    for (const kept of this.#kept) if (kept.exchange === exchange) return kept;
    return undefined;
  }

  #drop(kept: Kept): void {
    clearTimeout(kept.timer);
    this.#kept.delete(kept);
  }
}

/** Digest of all that makes two requests the same question, apart from the messages and the form of the answer. */
function settingsKey(turn: Turn, task: string): string {
  return canonicalHash([task, turn.model, turn.settings]);
}
