/** The one open segment: appends whole batches and syncs them. */
import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Segment } from './segments.ts';

export class SegmentFile {
  readonly segment: Segment;
  readonly #fd: number;
  #size: number;
  #open = true;

  /** Opens for writing at byte `size`, creating the file (0640) where it is new; a new name is synced into its folder. */
  constructor(segment: Segment, size: number, fresh: boolean) {
    this.segment = segment;
    this.#fd = openSync(segment.path, fresh ? 'wx' : 'r+', 0o640);
    this.#size = size;
    if (fresh) {
      const folder = openSync(dirname(segment.path), 'r');
      fsyncSync(folder);
      closeSync(folder);
    }
  }

  get size(): number {
    return this.#size;
  }

  /** Writes all of `text` at the end. Throws on any error; the caller must then give up, since the page cache can no longer be trusted. */
  write(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    let done = 0;
    while (done < bytes.length) done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#size + done);
    this.#size += bytes.length;
  }

  /** Cuts off whatever lies after the written part. */
  cut(): void {
    ftruncateSync(this.#fd, this.#size);
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => fdatasync(this.#fd, (error) => (error ? reject(error) : resolve())));
  }

  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }
}
