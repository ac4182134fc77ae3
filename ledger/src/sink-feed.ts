/** Carries the record to a sink, at least once: the place reached is kept in a file and moves only after the sink has it on disk. */
import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LedgerReader } from './reader.ts';
import type { LedgerWriter } from './writer.ts';

export interface SinkFeedOptions {
  readonly writer: LedgerWriter;
  readonly reader: LedgerReader;
  /** Takes whole lines; must have them durable when it is done, fails where it cannot. */
  readonly deliver: (lines: readonly string[]) => void | Promise<void>;
  /** JSON `{"sequence": n}`. */
  readonly cursorFile: string;
  /** ms until the next try after a failure. Default 1000. */
  readonly retryMs?: number;
}

export interface SinkFeed {
  /** Last sequence delivered, and why delivery is stuck, if it is. */
  status(): { readonly delivered: number; readonly error: string };
  /** Delivers what is durable now, then stops. */
  close(): Promise<void>;
}

/** ms in which records are gathered: each delivery syncs two files, which slows what the writer syncs. */
const gatherMs = 1000;
/** Records of one delivery. */
const atMost = 5000;

/** Starts delivery after the cursor. A cursor that cannot be read starts at 0: twice is better than never. */
export function feedSink(options: SinkFeedOptions): SinkFeed {
  let delivered = readCursor(options.cursorFile);
  let error = '';
  let ended = false;
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const drain = async (): Promise<void> => {
    for (;;) {
      const records = await options.reader.tail({ after: delivered, limit: atMost });
      const last = records.at(-1);
      if (!last) return;
      await options.deliver(records.map(({ line }) => line));
      delivered = last.sequence;
      await writeCursor(options.cursorFile, delivered);
      error = '';
      // What came meanwhile is gathered again.
      if (records.length < atMost && !ended) return wake();
    }
  };
  const run = (): Promise<void> => {
    running ??= drain()
      .catch((reason: unknown) => {
        error = reason instanceof Error ? reason.message : String(reason);
        if (!ended)
          timer ??= setTimeout(() => {
            timer = undefined;
            void run();
          }, options.retryMs ?? 1000);
      })
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  // Batches are close together: a short wait turns many small appends into few.
  const wake = (): void => {
    if (!ended)
      timer ??= setTimeout(() => {
        timer = undefined;
        void run();
      }, gatherMs);
  };
  const unsubscribe = options.writer.onDurable(wake);
  wake();
  return {
    status: () => ({ delivered, error }),
    close: async () => {
      ended = true;
      unsubscribe();
      clearTimeout(timer);
      while (running) await running;
      await run();
    },
  };
}

/** A `deliver` that appends JSON lines to a file; opened anew for each batch, so that the file may be rotated away. It syncs beside the loop, which the one writer of the record needs. */
export function fileDelivery(path: string): (lines: readonly string[]) => Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  return async (lines) => {
    const file = await open(path, 'a', 0o640);
    try {
      await file.writeFile(lines.map((line) => `${line}\n`).join(''));
      await file.datasync();
    } finally {
      await file.close();
    }
  };
}

function readCursor(file: string): number {
  try {
    const value = JSON.parse(readFileSync(file, 'utf8')) as { sequence?: unknown };
    return typeof value.sequence === 'number' && Number.isSafeInteger(value.sequence) && value.sequence >= 0 ? value.sequence : 0;
  } catch {
    return 0;
  }
}

async function writeCursor(path: string, sequence: number): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o640);
  try {
    await file.writeFile(JSON.stringify({ sequence }));
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
