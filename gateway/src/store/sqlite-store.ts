/** Store on SQLite: the first adapter; the only file that speaks SQL. */
import { fdatasyncSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { StoreConflict, type Store, type StoreChange, type StoreEntry, type StoreWrite } from '@nemoclaw/contract';
import { ChangeLog } from './change-log.ts';
import { checkBatch } from './one-prefix.ts';
import { SyncedLog } from './synced-log.ts';

/** NORMAL: SQLite syncs the log before it folds it, and we after each commit. What is removed or replaced is overwritten. */
const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  PRAGMA secure_delete = ON;
  PRAGMA wal_autocheckpoint = 8000;
  CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS removal (revision INTEGER PRIMARY KEY, key TEXT NOT NULL);
`;
/** Revisions for which removals are kept, for watchers that come back. */
const keptRevisions = 100_000;
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

/** A store of an earlier form kept every value that was ever written; of those only what was removed is needed. */
function dropChanges(db: DatabaseSync): void {
  if (!db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'change'").get()) return;
  db.exec('BEGIN IMMEDIATE; INSERT OR IGNORE INTO removal SELECT revision, key FROM change WHERE value IS NULL; DROP TABLE change; COMMIT');
}

/** One process writes; a commit is on disk when `put` or `batch` resolves (write-ahead log, synced). */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #synced: SyncedLog;
  readonly #watchers = new ChangeLog();
  readonly #read: StatementSync;
  readonly #range: StatementSync;
  readonly #upsert: StatementSync;
  readonly #remove: StatementSync;
  readonly #noteRemoval: StatementSync;
  readonly #since: StatementSync;
  readonly #trim: StatementSync;
  #revision: number;
  #fold: NodeJS.Timeout | undefined;

  /** `path`: file that is made if absent, mode 0600 by the caller's umask. `sync`: puts on disk what was written to a descriptor. */
  constructor(path: string, sync: (fd: number) => void = fdatasyncSync) {
    this.#db = new DatabaseSync(path);
    this.#db.exec(schema);
    dropChanges(this.#db);
    this.#synced = new SyncedLog(`${path}-wal`, sync);
    this.#read = this.#db.prepare('SELECT key, value, revision FROM entry WHERE key = ?');
    this.#range = this.#db.prepare('SELECT key, value, revision FROM entry WHERE key >= ? AND key < ? ORDER BY key');
    this.#upsert = this.#db.prepare('INSERT INTO entry (key, value, revision) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision');
    this.#remove = this.#db.prepare('DELETE FROM entry WHERE key = ?');
    this.#noteRemoval = this.#db.prepare('INSERT INTO removal (revision, key) VALUES (?, ?)');
    this.#since = this.#db.prepare(
      'SELECT key, value, revision FROM entry WHERE revision > ?1 AND key >= ?2 AND key < ?3 UNION ALL SELECT key, NULL, revision FROM removal WHERE revision > ?1 AND key >= ?2 AND key < ?3 ORDER BY revision',
    );
    this.#trim = this.#db.prepare('DELETE FROM removal WHERE revision <= ?');
    this.#revision = Number(this.#db.prepare('SELECT max(coalesce((SELECT max(revision) FROM removal), 0), coalesce((SELECT max(revision) FROM entry), 0)) AS top').get()?.['top'] ?? 0);
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
    this.#synced.check();
    const before = this.#revision;
    this.#db.exec('BEGIN IMMEDIATE');
    let rows: Row[];
    try {
      rows = writes.map((write) => this.#apply(write));
      if (Math.floor(this.#revision / 1000) > Math.floor(before / 1000)) this.#trim.run(this.#revision - keptRevisions);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#revision = before;
      this.#db.exec('ROLLBACK');
      throw error;
    }
    this.#synced.sync();
    this.#foldWhenQuiet();
    if (this.#watchers.watched) this.#watchers.publish(rows.map(asChange));
    return rows.map((row) => row.revision);
  }

  #foldWhenQuiet(): void {
    clearTimeout(this.#fold);
    this.#fold = setTimeout(() => {
      try {
        // The commit that then begins the log anew waits for a sync of its header: an empty one does it here (it writes the header of the file).
        this.#db.exec('PRAGMA wal_checkpoint(PASSIVE); PRAGMA user_version = 0');
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
    if (value === null) {
      this.#remove.run(write.key);
      this.#noteRemoval.run(revision, write.key);
    } else this.#upsert.run(write.key, value, revision);
    return { key: write.key, value, revision };
  }

  watch(prefix: string, after: number, signal: AbortSignal): AsyncIterable<StoreChange> {
    return this.#watchers.watch(prefix, after, () => this.#since.all(after, prefix, `${prefix}\u{10FFFF}`).map((row) => asChange(asRow(row))), signal);
  }

  async close(): Promise<void> {
    clearTimeout(this.#fold);
    this.#synced.close();
    this.#db.close();
  }
}
