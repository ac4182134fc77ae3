/** One-shot grants: an approval that came too late for its holder, or that covers the HTTP request of an approved tool call. */
import { StoreConflict, type AuditSink, type Clock, type GrantView, type Ids, type Store, type StoreWrite } from '@nemoclaw/contract';
import { gatewayEvent } from '../backend.ts';
import { grantLifetime } from './card.ts';
import { grantKey, grantRecordSchema, readKept, type ApprovalRecord, type GrantRecord, type Kept } from './record.ts';
import { Window } from './window.ts';

type KeptGrant = Kept<GrantRecord> & { readonly window: Window };

export class Grants {
  readonly #store: Store;
  readonly #audit: AuditSink;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #isOwn: (sandbox: string, by: string) => boolean;
  readonly #kept = new Map<string, KeptGrant>();

  /** `isOwn`: who gave it has come to drive the sandbox, so that it would be for what they ask themself. */
  constructor(deps: { store: Store; audit: AuditSink; clock: Clock; ids: Ids }, isOwn: (sandbox: string, by: string) => boolean) {
    this.#store = deps.store;
    this.#audit = deps.audit;
    this.#clock = deps.clock;
    this.#ids = deps.ids;
    this.#isOwn = isOwn;
  }

  async load(): Promise<void> {
    for (const entry of await this.#store.list('sandbox/')) {
      if (entry.key.split('/')[2] !== 'grant') continue;
      const kept = readKept(grantRecordSchema, entry);
      if (kept) this.#kept.set(kept.record.id, { ...kept, window: this.#window(kept.record) });
    }
  }

  /** The grant for an approval and the write that makes it; the caller puts the write in the same batch as the decision. */
  prepare(approval: ApprovalRecord, by: string): { write: StoreWrite; made: (revision: number) => void; id: string } {
    const now = this.#clock.now();
    const record: GrantRecord = {
      id: this.#ids.next('grt'),
      sandbox: approval.sandbox,
      approvalId: approval.id,
      key: approval.key,
      action: approval.decision.action,
      summary: approval.summary,
      by,
      createdAt: now,
      expiresAt: now + grantLifetime,
      usedAt: null,
    };
    const window = this.#window(record);
    return {
      id: record.id,
      write: { op: 'put', key: grantKey(record), value: record, expectedRevision: 0 },
      made: (revision) => this.#kept.set(record.id, { record, revision, window }),
    };
  }

  /** Uses up a grant for exactly this key. True only when the use is in the store and on record; two callers never both get true. */
  async consume(sandbox: string, key: string): Promise<GrantRecord | undefined> {
    const kept = this.#usable(sandbox, key);
    if (!kept) return undefined;
    const used: GrantRecord = { ...kept.record, usedAt: this.#clock.now() };
    const before = kept.record;
    kept.record = used;
    try {
      kept.revision = await this.#store.put(grantKey(used), used, kept.revision);
    } catch (error) {
      if (!(error instanceof StoreConflict)) kept.record = before;
      return undefined;
    }
    try {
      await this.#audit.commit(
        gatewayEvent(used.usedAt ?? 0, sandbox, `A one-shot grant was used: ${used.summary}`, {
          class: 'userAccess',
          activity: 1,
          layer: 'approval',
          verdict: 'approved',
          correlation: used.approvalId,
          data: { grant: used.id, approvalId: used.approvalId, action: used.action, by: used.by },
        }),
      );
    } catch {
      return undefined; // used up, but not on record: the effect must not happen
    }
    return used;
  }

  /** Keys that would pass now, with the approval they came from. */
  unused(sandbox: string): { key: string; approvalId: string }[] {
    return [...this.#kept.values()].filter((kept) => this.#passes(kept, sandbox)).map(({ record }) => ({ key: record.key, approvalId: record.approvalId }));
  }

  list(nameOf: (sandbox: string) => string): GrantView[] {
    return [...this.#kept.values()]
      .map(({ record, window }): GrantView => ({
        id: record.id,
        sandbox: nameOf(record.sandbox),
        approvalId: record.approvalId,
        action: record.action,
        summary: record.summary,
        by: record.by,
        createdAt: record.createdAt,
        expiresAt: record.expiresAt,
        state: record.usedAt !== null ? 'used' : isUsable({ record, window }) ? 'unused' : 'expired',
      }))
      .sort((a, b) => b.createdAt - a.createdAt);
  }

  /** Removes the oldest used and expired ones of a sandbox, beyond `most`. */
  async forgetOld(sandbox: string, most: number): Promise<void> {
    const spent = [...this.#kept.values()].filter((kept) => kept.record.sandbox === sandbox && !isUsable(kept)).sort((a, b) => a.record.createdAt - b.record.createdAt);
    for (const kept of spent.slice(0, Math.max(0, spent.length - most))) {
      await this.#store.delete(grantKey(kept.record), kept.revision).catch(() => undefined);
      this.#kept.delete(kept.record.id);
    }
  }

  /** Takes back every unused grant of a sandbox: it is gone, and so is what was granted to it. */
  async drop(sandbox: string): Promise<void> {
    for (const [id, kept] of this.#kept) {
      if (kept.record.sandbox !== sandbox) continue;
      this.#kept.delete(id);
      await this.#store.delete(grantKey(kept.record), kept.revision);
    }
  }

  #usable(sandbox: string, key: string): KeptGrant | undefined {
    return [...this.#kept.values()].find((kept) => kept.record.key === key && this.#passes(kept, sandbox));
  }

  #passes(kept: KeptGrant, sandbox: string): boolean {
    return kept.record.sandbox === sandbox && isUsable(kept) && !this.#isOwn(sandbox, kept.record.by);
  }

  #window({ createdAt, expiresAt }: GrantRecord): Window {
    return new Window(this.#clock, createdAt, expiresAt);
  }
}

function isUsable({ record, window }: Pick<KeptGrant, 'record' | 'window'>): boolean {
  return record.usedAt === null && !window.over;
}
