/** Reads records out of the segment files: pages one after the other, and the newest ones. */
import { open } from 'node:fs/promises';
import { glance } from './glance.ts';
import type { RecentRecord } from './recent.ts';
import { eachLine, listSegments, type Segment } from './segments.ts';

/** What a page holds at most. */
export interface PageBounds {
  readonly limit: number;
  readonly characters: number;
}

/** All records of the segment up to `sequence` lie before byte `offset`. */
interface Place {
  readonly segment: number;
  readonly sequence: number;
  readonly offset: number;
}

const chunkBytes = 256 * 1024;
/** Places are kept for so many readers that page through the record at once. */
const keptPlaces = 16;

/** Lines that are no records are passed over: reporting them is verification's work. Segments only ever grow at their end. */
export class SegmentScanner {
  readonly #dir: string;
  /** Where the last pages ended: the one that follows goes on there instead of reading the segment from its start. */
  #places: Place[] = [];

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Records after `after` up to `upTo`, oldest first, as many as the bounds allow (the last one may go over the characters). Rejects if a file cannot be read. */
  async after(after: number, upTo: number, bounds: PageBounds, sandbox: string | undefined): Promise<RecentRecord[]> {
    const out: RecentRecord[] = [];
    let characters = 0;
    const segments = listSegments(this.#dir);
    for (const [index, segment] of segments.entries()) {
      const next = segments[index + 1];
      if (next && next.first <= after + 1) continue;
      const known = this.#places.filter((place) => place.segment === segment.first && place.sequence <= after);
      const start = Math.max(0, ...known.map(({ offset }) => offset));
      let ended = bounds.limit <= 0;
      await each(segment, start, (record, offset) => {
        if (ended || record.sequence > upTo) return !(ended = true);
        if (record.sequence <= after || (sandbox !== undefined && record.sandbox !== sandbox)) return true;
        out.push(record);
        characters += record.line.length;
        ended = out.length >= bounds.limit || characters >= bounds.characters;
        if (ended) this.#keep({ segment: segment.first, sequence: record.sequence, offset });
        return !ended;
      });
      if (ended) return out;
    }
    return out;
  }

  /** The newest `limit` records up to `upTo`, oldest first. Holds no more than that of the record at once. */
  async newest(upTo: number, limit: number, sandbox: string | undefined): Promise<RecentRecord[]> {
    let out: RecentRecord[] = [];
    for (const segment of listSegments(this.#dir).toReversed()) {
      if (out.length >= limit) break;
      const wanted = limit - out.length;
      let found: RecentRecord[] = [];
      await each(segment, 0, (record) => {
        if (record.sequence > upTo) return false;
        if (sandbox !== undefined && record.sandbox !== sandbox) return true;
        found.push(record);
        if (found.length >= 2 * wanted) found = found.slice(-wanted);
        return true;
      });
      out = [...found.slice(-wanted), ...out];
    }
    return out;
  }

  #keep(place: Place): void {
    this.#places = [...this.#places.slice(1 - keptPlaces), place];
  }
}

/** Calls `take` with each record from byte `start` and the byte after it, until it says false. */
async function each(segment: Segment, start: number, take: (record: RecentRecord, end: number) => boolean): Promise<void> {
  const file = await open(segment.path, 'r');
  try {
    let rest: Buffer = Buffer.alloc(0);
    let position = start;
    let more = true;
    while (more) {
      // A new one each time: a line that goes on in the next chunk is a part of it.
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
      if (bytesRead === 0) return;
      const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const begin = position - rest.length;
      position += bytesRead;
      rest = eachLine(bytes, (line, _number, _offset, end) => {
        const seen = more ? glance(line) : undefined;
        if (seen) more = take({ sequence: seen.sequence, sandbox: seen.sandbox, line }, begin + end);
      });
    }
  } finally {
    await file.close();
  }
}
