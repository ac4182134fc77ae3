/** Answers of the ledger to the gateway: tail, status, checkpoint, follow. */
import type { FromLedger } from '@nemoclaw/contract';
import type { RecentRecord } from './recent.ts';
import type { LedgerReader } from './reader.ts';
import type { LedgerWriter } from './writer.ts';

export interface QueryContext {
  readonly writer: LedgerWriter;
  readonly reader: LedgerReader;
  readonly follows: Map<number, () => void>;
  readonly send: (message: FromLedger) => void;
}

/** Of one answer; well below the frame limit, also where each character takes several bytes. */
const pageCharacters = 1024 * 1024;

type Message = Readonly<Record<string, unknown>>;

/** Answers one question over `send`. Throws if it has no usable id (the link is then closed); all else is an answer with `ok: false`. */
export function answerQuery(message: Message, context: QueryContext): void {
  const id = message['id'];
  if (!Number.isSafeInteger(id)) throw new Error('a question without a number');
  const key = id as number;
  if (message['t'] === 'unfollow') {
    context.follows.get(key)?.();
    context.follows.delete(key);
    return;
  }
  if (message['t'] === 'follow') {
    follow(key, message, context);
    return;
  }
  answer(message, context).then(
    (result) => context.send({ t: 'reply', id: key, ok: true, result }),
    (error: unknown) => context.send({ t: 'reply', id: key, ok: false, result: error instanceof Error ? error.message : String(error) }),
  );
}

async function answer(message: Message, { writer, reader }: QueryContext): Promise<unknown> {
  const q = (message['q'] ?? {}) as Message;
  if (q['kind'] === 'status') return writer.status();
  if (q['kind'] === 'checkpoint') {
    await writer.checkpoint('commit');
    const { signed, count, head } = writer.status();
    return { signed, count, head };
  }
  if (q['kind'] === 'settled') {
    const seq = q['openshelld'];
    if (!Number.isSafeInteger(seq)) throw new Error('settled needs the number of an event');
    await writer.settled('openshelld', seq as number);
    return {};
  }
  if (q['kind'] === 'tail') {
    const { after, limit } = q;
    if (typeof after !== 'number' || typeof limit !== 'number') throw new Error('tail needs `after` and `limit`');
    return parse(await reader.tail({ ...sandboxOf(q), after, limit, characters: pageCharacters }));
  }
  throw new Error('unknown question');
}

function follow(id: number, message: Message, { reader, follows, send }: QueryContext): void {
  const after = typeof message['after'] === 'number' ? message['after'] : -1;
  follows.get(id)?.();
  const stop = reader.follow(
    { ...sandboxOf(message), after },
    (records) => {
      for (const page of pages(records)) send({ t: 'records', id, records: parse(page) });
    },
    (error) => send({ t: 'reply', id, ok: false, result: error instanceof Error ? error.message : String(error) }),
  );
  follows.set(id, stop);
}

function sandboxOf(q: Message): { sandbox?: string } {
  return typeof q['sandbox'] === 'string' ? { sandbox: q['sandbox'] } : {};
}

function parse(records: readonly RecentRecord[]): Record<string, unknown>[] {
  return records.map(({ line }) => JSON.parse(line) as Record<string, unknown>);
}

/** Pages that stay well below the frame limit. The asker goes on after the last record it got. */
function* pages(records: readonly RecentRecord[]): Generator<RecentRecord[]> {
  let page: RecentRecord[] = [];
  let size = 0;
  for (const record of records) {
    if (page.length > 0 && size + record.line.length > pageCharacters) {
      yield page;
      page = [];
      size = 0;
    }
    page.push(record);
    size += record.line.length;
  }
  if (page.length > 0) yield page;
}
