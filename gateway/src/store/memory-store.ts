/** Store in memory: the second adapter, for tests and a lone process. */
import { StoreConflict, type Store, type StoreChange, type StoreEntry, type StoreWrite } from '@nemoclaw/contract';
import { ChangeLog } from './change-log.ts';
import { checkBatch } from './one-prefix.ts';

/** Values are copied on the way in and out, as any real store would. */
export class MemoryStore implements Store {
  readonly #entries = new Map<string, StoreEntry>();
  readonly #history: StoreChange[] = [];
  readonly #log = new ChangeLog();
  #revision = 0;

  async get(key: string): Promise<StoreEntry | undefined> {
    return structuredClone(this.#entries.get(key));
  }

  async list(prefix: string): Promise<StoreEntry[]> {
    return [...this.#entries.values()].filter((entry) => entry.key.startsWith(prefix)).sort((a, b) => (a.key < b.key ? -1 : 1)).map((entry) => structuredClone(entry));
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
    for (const write of writes) {
      const expected = write.op === 'put' ? write.expectedRevision : write.revision;
      if ((this.#entries.get(write.key)?.revision ?? 0) !== expected || (write.op === 'delete' && expected === 0)) throw new StoreConflict(write.key);
    }
    const changes = writes.map((write): StoreChange => {
      const revision = ++this.#revision;
      if (write.op === 'delete') {
        this.#entries.delete(write.key);
        return { key: write.key, deleted: true, revision };
      }
      const entry: StoreEntry = { key: write.key, value: JSON.parse(JSON.stringify(write.value)), revision };
      this.#entries.set(write.key, entry);
      return structuredClone(entry);
    });
    this.#history.push(...changes);
    this.#log.publish(changes);
    return changes.map((change) => change.revision);
  }

  watch(prefix: string, after: number, signal: AbortSignal): AsyncIterable<StoreChange> {
    return this.#log.watch(prefix, after, () => this.#history.filter((change) => change.revision > after && change.key.startsWith(prefix)), signal);
  }

  async close(): Promise<void> {
    this.#entries.clear();
  }
}
