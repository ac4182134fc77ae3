/** The last records in memory, so that following and short looks back cost no file read. */
export interface RecentRecord {
  readonly sequence: number;
  readonly sandbox: string;
  readonly line: string;
}

/** A ring bounded by count and by characters. */
export class Recent {
  readonly #limit: number;
  readonly #maxCharacters: number;
  #items: RecentRecord[] = [];
  #start = 0;
  #characters = 0;

  constructor(limit = 50_000, maxCharacters = 64 * 1024 * 1024) {
    this.#limit = limit;
    this.#maxCharacters = maxCharacters;
  }

  push(record: RecentRecord): void {
    this.#items.push(record);
    this.#characters += record.line.length;
    while (this.#items.length - this.#start > this.#limit || (this.#characters > this.#maxCharacters && this.#items.length - this.#start > 1)) {
      this.#characters -= this.#items[this.#start]?.line.length ?? 0;
      this.#start += 1;
    }
    if (this.#start > 4096 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Sequence of the oldest record held; Infinity when empty. */
  get first(): number {
    return this.#items[this.#start]?.sequence ?? Infinity;
  }

  /** Records after `after`, oldest first, at most `limit`; of one sandbox if given. */
  after(after: number, limit: number, sandbox?: string): RecentRecord[] {
    const out: RecentRecord[] = [];
    // Sequences in the ring are consecutive, so the place is found by subtraction.
    const skip = Math.max(0, after + 1 - this.first);
    for (let i = this.#start + (Number.isFinite(skip) ? skip : 0); i < this.#items.length && out.length < limit; i += 1) {
      const item = this.#items[i];
      if (item && item.sequence > after && (sandbox === undefined || item.sandbox === sandbox)) out.push(item);
    }
    return out;
  }

  /** The newest `limit` records, oldest first. */
  newest(limit: number, sandbox?: string): RecentRecord[] {
    const out: RecentRecord[] = [];
    for (let i = this.#items.length - 1; i >= this.#start && out.length < limit; i -= 1) {
      const item = this.#items[i];
      if (item && (sandbox === undefined || item.sandbox === sandbox)) out.push(item);
    }
    return out.reverse();
  }
}
