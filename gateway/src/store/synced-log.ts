/** The write-ahead log of SQLite, put on disk by us: into blocks that it has already, by fdatasync(2). */
import { closeSync, fstatSync, fsyncSync, openSync, writeSync } from 'node:fs';

/** Bytes that the log has from the start; it is written from its beginning again after each fold. */
const room = 1024 * 1024;

/**
 * SQLite itself calls fsync(2) on a file that grows: on ext4 that waits for the file system's journal, and with it for what other programs have written
 * (`data=ordered`), often for tens of milliseconds. Frames written over others need neither. What lies behind the last frame is no frame to SQLite,
 * since it does not carry the salt of the log's header (https://sqlite.org/fileformat2.html#walformat).
 */
export class SyncedLog {
  readonly #fd: number;
  readonly #sync: (fd: number) => void;
  #failed: Error | undefined;

  /** `path`: of the log, which must be there: SQLite keeps it as long as a connection is open, and locks other files. */
  constructor(path: string, sync: (fd: number) => void) {
    this.#sync = sync;
    this.#fd = openSync(path, 'r+');
    const { size } = fstatSync(this.#fd);
    try {
      if (size < room) writeSync(this.#fd, Buffer.alloc(room - size), 0, room - size, size);
    } catch {
      // A full disk: what there is room for is told by the writes themselves.
    }
    fsyncSync(this.#fd);
  }

  /** Throws where an earlier sync failed: nobody can tell what of it is on disk, so nothing more is taken. The next process reads what is really there. */
  check(): void {
    if (this.#failed) throw this.#failed;
  }

  /** What was committed is on disk after it. */
  sync(): void {
    try {
      this.#sync(this.#fd);
    } catch (cause) {
      this.#failed = new Error('The store could not be put on disk, and takes nothing more until the gateway is started anew.', { cause });
      throw this.#failed;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
