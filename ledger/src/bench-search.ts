/** Measures how long a search of a large record takes, asked as `audit search` asks: page by page over a link, every event read and compared. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, type Figure, type FromLedger } from '@nemoclaw/contract';
import { figure, sample, sinkOf, withWriter } from './bench-append.ts';

/** `ledger.search` in ms: from the first question until the last page of `n` events was read; the older half of them lies in files only. */
export async function benchSearch(n = 100_000, times = 5): Promise<Readonly<Record<'ledger.search', Figure>>> {
  const dir = mkdtempSync(join(tmpdir(), 'ledger-bench-search-'));
  try {
    await withWriter(dir, (link) => fill(link, n));
    return { 'ledger.search': await withWriter(dir, async (link) => figure(await search(link, n, times), 'ms')) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function fill(link: Duplex, n: number): Promise<void> {
  const sink = sinkOf(() => {
    throw new Error('the buffer was full: not all events are on record');
  });
  sink.attach(link);
  for (let i = 0; i < n; i += 1) {
    if (i % 500 === 0) await sink.commit(sample(i));
    else sink.emit(sample(i));
  }
  await sink.commit(sample(n));
}

async function search(link: Duplex, n: number, times: number): Promise<number[]> {
  const decoder = new FrameDecoder();
  let answered: (page: readonly Record<string, unknown>[]) => void = () => undefined;
  link.on('data', (chunk: Buffer) => {
    for (const message of decoder.push(chunk)) {
      const { t, ok, result } = message as Extract<FromLedger, { t: 'reply' }>;
      if (t === 'reply' && ok) answered(result as readonly Record<string, unknown>[]);
    }
  });
  const page = (id: number, after: number): Promise<readonly Record<string, unknown>[]> =>
    new Promise((resolve) => {
      answered = resolve;
      link.write(encodeFrame({ t: 'query', id, q: { kind: 'tail', after, limit: 1000 } }));
    });
  const out: number[] = [];
  let id = 0;
  for (let run = 0; run < times; run += 1) {
    const start = process.hrtime.bigint();
    let [seen, found] = [0, 0];
    for (let after = 0; ; ) {
      const records = await page((id += 1), after);
      const last = records.at(-1);
      if (last === undefined) break;
      seen += records.length;
      found += records.filter((record) => JSON.stringify(record).toLowerCase().includes('/customers/777 ')).length;
      after = (last['metadata'] as { sequence: number }).sequence;
    }
    out.push(Number(process.hrtime.bigint() - start) / 1e6);
    if (seen < n || found !== 1) throw new Error(`${seen} events were read and ${found} found`);
  }
  return out;
}
