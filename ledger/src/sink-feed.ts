/** Carries the record to a sink, at least once: the place reached is kept in a file and moves only after the sink has it on disk. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { LedgerReader } from './reader.ts';
import type { LedgerWriter } from './writer.ts';

export interface SinkFeedOptions {
  readonly writer: LedgerWriter;
  readonly reader: LedgerReader;
  /** Takes whole lines; must have them durable when it returns, throws where it cannot. */
  readonly deliver: (lines: readonly string[]) => void;
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

/** Starts delivery after the cursor. A cursor that cannot be read starts at 0: twice is better than never. */
export function feedSink(options: SinkFeedOptions): SinkFeed {
  let delivered = readCursor(options.cursorFile);
  let error = '';
  let ended = false;
  let running: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  const drain = async (): Promise<void> => {
    for (;;) {
      const records = await options.reader.tail({ after: delivered, limit: 5000 });
      const last = records.at(-1);
      if (!last) return;
      options.deliver(records.map(({ line }) => line));
      delivered = last.sequence;
      writeCursor(options.cursorFile, delivered);
      error = '';
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
    if (!ended && !running)
      timer ??= setTimeout(() => {
        timer = undefined;
        void run();
      }, 100);
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

/** A `deliver` that appends JSON lines to a file; opened anew for each batch, so that the file may be rotated away. */
export function fileDelivery(path: string): (lines: readonly string[]) => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  return (lines) => {
    const fd = openSync(path, 'a', 0o640);
    try {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''), 'utf8');
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
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

function writeCursor(file: string, sequence: number): void {
  const temporary = `${file}.new`;
  const fd = openSync(temporary, 'w', 0o640);
  writeSync(fd, JSON.stringify({ sequence }));
  fsyncSync(fd);
  closeSync(fd);
  renameSync(temporary, file);
}
