/** The read side of the link to the ledger: tail, follow, status. The events themselves go by the sink on the same link. */
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, type FromLedger, type ToLedger } from '@nemoclaw/contract';
import type { OcsfRecord, RecordReader } from '../backend.ts';

interface Follow {
  readonly sandbox: string | undefined;
  after: number;
  readonly onRecords: (records: readonly OcsfRecord[]) => void;
}

/** Sequence of a record, 0 if it has none. */
export function sequenceOf(record: OcsfRecord): number {
  const metadata = record['metadata'];
  const sequence = typeof metadata === 'object' && metadata !== null ? (metadata as Record<string, unknown>)['sequence'] : undefined;
  return typeof sequence === 'number' ? sequence : 0;
}

export class LedgerLink implements RecordReader {
  #link: Duplex | undefined;
  #next = 1;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  readonly #follows = new Map<number, Follow>();

  /** Uses a new link, whose first frame the sink has already written; follows go on after the last record they saw. */
  attach(link: Duplex): void {
    this.#link = link;
    const decoder = new FrameDecoder();
    link.on('data', (chunk: Buffer) => {
      if (this.#link !== link) return;
      try {
        for (const message of decoder.push(chunk)) this.#take(message as FromLedger);
      } catch {
        link.destroy();
      }
    });
    link.on('close', () => this.#gone(link));
    for (const [id, follow] of this.#follows) this.#send(followMessage(id, follow));
  }

  async tail(query: { readonly sandbox?: string; readonly after: number; readonly limit: number }): Promise<readonly OcsfRecord[]> {
    const result = await this.#ask({ kind: 'tail', ...query });
    return Array.isArray(result) ? (result as OcsfRecord[]) : [];
  }

  follow(query: { readonly sandbox?: string; readonly after: number }, onRecords: (records: readonly OcsfRecord[]) => void, signal: AbortSignal): void {
    const id = this.#next++;
    const follow: Follow = { sandbox: query.sandbox, after: query.after, onRecords };
    this.#follows.set(id, follow);
    this.#send(followMessage(id, follow));
    signal.addEventListener(
      'abort',
      () => {
        this.#follows.delete(id);
        this.#send({ t: 'unfollow', id });
      },
      { once: true },
    );
  }

  async settled(openshelld: number): Promise<void> {
    await this.#ask({ kind: 'settled', openshelld }).catch(() => undefined);
  }

  async status(): Promise<{ readonly up: boolean; readonly count: number; readonly head: string; readonly decisions?: Readonly<Record<string, number>> }> {
    try {
      const result = (await this.#ask({ kind: 'status' })) as { count?: unknown; head?: unknown; decisions?: Readonly<Record<string, number>> };
      return { up: true, count: Number(result.count ?? 0), head: String(result.head ?? ''), decisions: result.decisions ?? {} };
    } catch {
      return { up: false, count: 0, head: '' };
    }
  }

  #take(message: FromLedger): void {
    if (message.t === 'records') {
      const follow = this.#follows.get(message.id);
      if (!follow) return;
      // The link may repeat after a reconnect what was already handed on.
      const fresh = message.records.filter((record) => sequenceOf(record) > follow.after);
      const last = fresh.at(-1);
      if (!last) return;
      follow.after = sequenceOf(last);
      follow.onRecords(fresh);
    } else if (message.t === 'reply') {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.ok) waiting?.resolve(message.result);
      else waiting?.reject(new Error(String(message.result)));
    }
  }

  #ask(q: Extract<ToLedger, { t: 'query' }>['q']): Promise<unknown> {
    if (!this.#link) return Promise.reject(new Error('the ledger is not reachable'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ t: 'query', id, q });
    });
  }

  #send(message: ToLedger): void {
    this.#link?.write(encodeFrame(message));
  }

  #gone(link: Duplex): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) waiting.reject(new Error('the ledger went away'));
  }
}

function followMessage(id: number, follow: Follow): ToLedger {
  return { t: 'follow', id, after: follow.after, ...(follow.sandbox === undefined ? {} : { sandbox: follow.sandbox }) };
}
