/** The read side: durable records after a place, from memory where possible, else from the files. */
import type { RecentRecord } from './recent.ts';
import { SegmentScanner } from './segment-scanner.ts';
import type { LedgerWriter } from './writer.ts';

export interface TailQuery {
  /** Only this sandbox's records. */
  readonly sandbox?: string;
  /** Records with a greater sequence, oldest first; negative: the newest `limit` ones. */
  readonly after: number;
  /** At most this many; bounded to 10,000. */
  readonly limit: number;
  /** Characters of all lines together at most, but one record in any case; as many as there are when left out. */
  readonly characters?: number;
}

/** Reads what is on record: the newest events from memory, older ones from the segments, each as the record keeps it. */
export class LedgerReader {
  readonly #writer: LedgerWriter;
  readonly #files: SegmentScanner;

  constructor(writer: LedgerWriter) {
    this.#writer = writer;
    this.#files = new SegmentScanner(writer.dir);
  }

  /**
   * Canonical JSON lines of durable records. Fewer than `limit` do not mean that there are no more: ask again after the last one, until none comes.
   * Rejects if a file cannot be read.
   */
  async tail(query: TailQuery): Promise<RecentRecord[]> {
    const limit = Math.min(Math.max(Math.trunc(query.limit), 0), 10_000);
    const { characters = Infinity, sandbox } = query;
    const durable = this.#writer.durable;
    const { recent } = this.#writer;
    if (query.after < 0) {
      const newest = recent.newest(limit, sandbox).filter(({ sequence }) => sequence <= durable);
      const found = newest.length >= limit || recent.first <= 1 ? newest : await this.#files.newest(durable, limit, sandbox);
      return fitting(found.toReversed(), characters).toReversed();
    }
    const found = query.after + 1 >= recent.first ? recent.after(query.after, limit, sandbox) : await this.#files.after(query.after, durable, { limit, characters }, sandbox);
    return fitting(found.filter(({ sequence }) => sequence <= durable), characters);
  }

  /**
   * Calls `onRecords` with everything after `after`, then with each new batch, in order and without gaps, until the returned function is called.
   * `onError` gets a file error, after which nothing more comes.
   */
  follow(query: { readonly sandbox?: string; readonly after: number }, onRecords: (records: RecentRecord[]) => void, onError: (error: unknown) => void): () => void {
    let after = query.after < 0 ? this.#writer.durable : query.after;
    let busy = false;
    let again = false;
    let ended = false;
    const pump = async (): Promise<void> => {
      if (busy || ended) {
        again = true;
        return;
      }
      busy = true;
      do {
        again = false;
        const upTo = this.#writer.durable;
        const records = await this.tail({ ...query, after, limit: 1000 });
        if (ended) return;
        const last = records.at(-1);
        // A full page may have more behind it; a short one means that nothing else up to `upTo` is for this follower.
        after = records.length === 1000 && last ? last.sequence : Math.max(after, upTo, last?.sequence ?? 0);
        if (records.length > 0) onRecords(records);
        if (records.length === 1000) again = true;
      } while (again && !ended);
      busy = false;
    };
    const run = (): void =>
      void pump().catch((error: unknown) => {
        stop();
        onError(error);
      });
    const unsubscribe = this.#writer.onDurable(run);
    const stop = (): void => {
      ended = true;
      unsubscribe();
    };
    run();
    return stop;
  }
}

/** The first records that have so many characters together, one at least. */
function fitting(records: readonly RecentRecord[], characters: number): RecentRecord[] {
  let size = 0;
  const end = records.findIndex(({ line }, index) => (size += line.length) > characters && index > 0);
  return end < 0 ? [...records] : records.slice(0, end);
}
