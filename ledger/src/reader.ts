/** The read side: durable records after a place, from memory where possible, else from the files. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { glance } from './glance.ts';
import type { RecentRecord } from './recent.ts';
import { listSegments } from './segments.ts';
import type { LedgerWriter } from './writer.ts';

export interface TailQuery {
  /** Only this sandbox's records. */
  readonly sandbox?: string;
  /** Records with a greater sequence, oldest first; negative: the newest `limit` ones. */
  readonly after: number;
  /** At most this many; bounded to 10,000. */
  readonly limit: number;
}

/** Reads what is on record: the newest events from memory, older ones from the segments, each as the record keeps it. */
export class LedgerReader {
  readonly #writer: LedgerWriter;

  constructor(writer: LedgerWriter) {
    this.#writer = writer;
  }

  /** Canonical JSON lines of durable records. Rejects if a file cannot be read. */
  async tail(query: TailQuery): Promise<RecentRecord[]> {
    const limit = Math.min(Math.max(Math.trunc(query.limit), 0), 10_000);
    const durable = this.#writer.durable;
    const { recent } = this.#writer;
    if (query.after < 0) {
      const newest = recent.newest(limit, query.sandbox).filter(({ sequence }) => sequence <= durable);
      if (newest.length >= limit || recent.first <= 1) return newest;
      return (await this.#scan(-1, durable, Infinity, query.sandbox)).slice(-limit);
    }
    const found = query.after + 1 >= recent.first ? recent.after(query.after, limit, query.sandbox) : await this.#scan(query.after, durable, limit, query.sandbox);
    return found.filter(({ sequence }) => sequence <= durable);
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

  /** Reads segments from the one that holds `after + 1`. Lines that are no records are passed over: reporting them is verification's work. */
  async #scan(after: number, upTo: number, limit: number, sandbox: string | undefined): Promise<RecentRecord[]> {
    const out: RecentRecord[] = [];
    const segments = listSegments(this.#writer.dir);
    for (const [index, segment] of segments.entries()) {
      const next = segments[index + 1];
      if (next && next.first <= after + 1) continue;
      const stream = createReadStream(segment.path);
      const lines = createInterface({ input: stream, crlfDelay: Infinity });
      try {
        for await (const line of lines) {
          const seen = glance(line);
          const record = seen && { sequence: seen.sequence, sandbox: seen.sandbox, line };
          if (!record || record.sequence <= after || (sandbox !== undefined && record.sandbox !== sandbox)) continue;
          if (record.sequence > upTo) return out;
          out.push(record);
          if (out.length >= limit) return out;
        }
      } finally {
        lines.close();
        stream.destroy();
      }
    }
    return out;
  }
}
