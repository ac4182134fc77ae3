/** Store on SQLite: the first adapter; the only file that speaks SQL. */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { StoreConflict, type Store, type StoreChange, type StoreEntry, type StoreWrite } from '@nemoclaw/contract';
import { ChangeLog } from './change-log.ts';
import { checkBatch } from './one-prefix.ts';

const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = 8000;
  CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS change (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT);
`;
/** Changes kept for watchers that come back; older ones are answered from the entries alone. */
const keptChanges = 100_000;
/** ms without a write after which the log is folded into the file: two syncs that nobody should wait for. A log of 8,000 pages is folded in any case. */
const quietMs = 500;

interface Row {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
}
function asRow(row: Record<string, unknown>): Row {
  return { key: String(row['key']), value: row['value'] === null ? null : String(row['value']), revision: Number(row['revision']) };
}
function asEntry(row: Row): StoreEntry {
  return { key: row.key, value: JSON.parse(row.value ?? 'null'), revision: row.revision };
}
function asChange(row: Row): StoreChange {
  return row.value === null ? { key: row.key, deleted: true, revision: row.revision } : asEntry(row);
}

/** One process writes; a commit is on disk when `put` or `batch` resolves (write-ahead log, synced). */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #log = new ChangeLog();
  readonly #read: StatementSync;
  readonly #range: StatementSync;
  readonly #upsert: StatementSync;
  readonly #remove: StatementSync;
  readonly #note: StatementSync;
  readonly #since: StatementSync;
  readonly #trim: StatementSync;
  #revision: number;
  #fold: NodeJS.Timeout | undefined;

  /** `path`: file that is made if absent, mode 0600 by the caller's umask. */
  constructor(path: string) {
    this.#db = new DatabaseSync(path);
    this.#db.exec(schema);
    this.#read = this.#db.prepare('SELECT key, value, revision FROM entry WHERE key = ?');
    this.#range = this.#db.prepare('SELECT key, value, revision FROM entry WHERE key >= ? AND key < ? ORDER BY key');
    this.#upsert = this.#db.prepare('INSERT INTO entry (key, value, revision) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision');
    this.#remove = this.#db.prepare('DELETE FROM entry WHERE key = ?');
    this.#note = this.#db.prepare('INSERT INTO change (revision, key, value) VALUES (?, ?, ?)');
    this.#since = this.#db.prepare('SELECT key, value, revision FROM change WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision');
    this.#trim = this.#db.prepare('DELETE FROM change WHERE revision <= ?');
    this.#revision = Number(this.#db.prepare('SELECT max(coalesce((SELECT max(revision) FROM change), 0), coalesce((SELECT max(revision) FROM entry), 0)) AS top').get()?.['top'] ?? 0);
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    const row = this.#read.get(key);
    return row ? asEntry(asRow(row)) : undefined;
  }

  async list(prefix: string): Promise<StoreEntry[]> {
    return this.#range.all(prefix, `${prefix}\u{10FFFF}`).map((row) => asEntry(asRow(row)));
  }

  async put(key: string, value: unknown, expectedRevision: number): Promise<number> {
    const [revision] = await this.batch([{ op: 'put', key, value, expectedRevision }]);
    return revision ?? 0;
  }

  async delete(key: string, revision: number): Promise<void> {
    await this.batch([{ op: 'delete', key, revision }]);
  }

  async batch(writes: readonly StoreWrite[]): Promise<number[]> {
    checkBatch(writes);
    const before = this.#revision;
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const rows = writes.map((write) => this.#apply(write));
      if (Math.floor(this.#revision / 1000) > Math.floor(before / 1000)) this.#trim.run(this.#revision - keptChanges);
      this.#db.exec('COMMIT');
      this.#foldWhenQuiet();
      if (this.#log.watched) this.#log.publish(rows.map(asChange));
      return rows.map((row) => row.revision);
    } catch (error) {
      this.#revision = before;
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #foldWhenQuiet(): void {
    clearTimeout(this.#fold);
    this.#fold = setTimeout(() => {
      try {
        this.#db.exec('PRAGMA wal_checkpoint(PASSIVE)');
      } catch {
        // A full disk: the log keeps what was committed, and is folded after a later write.
      }
    }, quietMs);
    this.#fold.unref();
  }

  #apply(write: StoreWrite): Row {
    const expected = write.op === 'put' ? write.expectedRevision : write.revision;
    const present = this.#read.get(write.key);
    if ((present ? asRow(present).revision : 0) !== expected || (write.op === 'delete' && expected === 0)) throw new StoreConflict(write.key);
    const revision = ++this.#revision;
    const value = write.op === 'put' ? JSON.stringify(write.value) : null;
    if (value === null) this.#remove.run(write.key);
    else this.#upsert.run(write.key, value, revision);
    this.#note.run(revision, write.key, value);
    return { key: write.key, value, revision };
  }

  watch(prefix: string, after: number, signal: AbortSignal): AsyncIterable<StoreChange> {
    return this.#log.watch(prefix, after, () => this.#since.all(after, prefix, `${prefix}\u{10FFFF}`).map((row) => asChange(asRow(row))), signal);
  }

  async close(): Promise<void> {
    clearTimeout(this.#fold);
    this.#db.close();
  }
}
