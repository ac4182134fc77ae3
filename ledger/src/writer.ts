/** The one writer of the record: takes events of all sources, chains them, commits in groups, acknowledges what is durable. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Ids, LedgerEvent } from '@nemoclaw/contract';
import * as admit from './admissions.ts';
import { after, noHead, seal, sha256, type ChainState } from './chain.ts';
import { CheckpointSigner, type Sign, type Why } from './checkpoint-signer.ts';
import { holdFolder } from './one-writer.ts';
import { openExisting, type Opened } from './opening.ts';
import { Recent } from './recent.ts';
import type { Redact } from './redactor.ts';
import { SegmentFile } from './segment-file.ts';
import { listSegments, segmentBytes, segmentName } from './segments.ts';
import { SourceBook } from './source-book.ts';

export interface LedgerOptions {
  /** Folder of the segments; made where it is missing. */
  readonly dir: string;
  readonly redact: Redact;
  readonly sign: Sign;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Called once when the record can no longer be written (disk full, sync failed); the process must end, so that its successor reads what is really there. */
  readonly onFailure: (error: Error) => void;
  /** Bytes at which a new segment starts. Default 64 MiB. */
  readonly segmentSize?: number;
  /** ms a non-commit event may wait for its batch. Default 15, which leaves 35 of the promised 50 for the sync. */
  readonly batchMs?: number;
  /** ms between checkpoints. Default 1000. */
  readonly checkpointMs?: number;
}

/** One link of a source. */
export interface SourceHandle {
  /** Which life of the source's numbering this is; call before the first event where the source says so. */
  run(run: string): void;
  receive(seq: number, event: unknown, commit: boolean): void;
  /** Stops acknowledgements; what was received stays. */
  close(): void;
}

export interface LedgerStatus {
  readonly chain: string;
  readonly count: number;
  readonly head: string;
  readonly durable: number;
  readonly signed: number;
  readonly segments: number;
  readonly bytes: number;
  readonly sources: readonly { readonly name: string; readonly run: string; readonly last: number }[];
  /** Decisions put on record by this process: `layer verdict` -> how many. */
  readonly decisions: Readonly<Record<string, number>>;
}

export interface LedgerWriter {
  /** Registers a link; `onDurable(seq)` is called when everything up to `seq` of this source is synced. */
  connect(source: string, onDurable: (seq: number) => void): SourceHandle;
  /** The ledger's own events. Resolves when durable. */
  record(event: LedgerEvent): Promise<void>;
  /** Asks for a signed checkpoint of all that is durable; resolves when it was answered. */
  checkpoint(why: Why): Promise<void>;
  /** Called with each durable batch's last sequence. Returns the way to stop. */
  onDurable(listener: (sequence: number) => void): () => void;
  readonly recent: Recent;
  readonly dir: string;
  /** Sequence up to which records are synced. */
  readonly durable: number;
  /** Writes what is queued now instead of gathering more. */
  sync(): void;
  /** Resolves when this source's events up to `seq` are durable, or after a second: what has not come by then may be lost. */
  settled(source: string, seq: number): Promise<void>;
  status(): LedgerStatus;
  /** Writes what is queued, records the stop, asks for the last checkpoint, closes. */
  close(): Promise<void>;
}

/** Opens (or begins) the record. Rejects if the folder cannot be read or written, or if another process writes there. */
export async function openLedger(options: LedgerOptions): Promise<LedgerWriter> {
  const book = new SourceBook();
  mkdirSync(options.dir, { recursive: true, mode: 0o750 });
  const release = await holdFolder(options.dir);
  try {
    const segments = listSegments(options.dir);
    const opened = openExisting(segments, book);
    const ledger = new Writer(options, book, opened, release);
    await ledger.begin(segments.at(-2)?.file ?? '');
    return ledger;
  } catch (error) {
    release();
    throw error;
  }
}

/** ms that `settled` waits at most. */
const settleMs = 1000;
/** ms after a commit until its checkpoint is asked for. */
const signAfterMs = 25;

interface Queued {
  readonly event: LedgerEvent;
  readonly source: { readonly name: string; readonly run: string; readonly seq: number };
}

class Writer implements LedgerWriter {
  readonly recent = new Recent();
  readonly dir: string;
  readonly #options: LedgerOptions;
  readonly #book: SourceBook;
  readonly #signer: CheckpointSigner;
  readonly #links = new Map<string, Set<(seq: number) => void>>();
  readonly #decisions = new Map<string, number>();
  readonly #listeners = new Set<(sequence: number) => void>();
  #state: ChainState;
  #durable: { count: number; head: string };
  #file: SegmentFile | undefined;
  #opened: Opened | undefined;
  #queue: Queued[] = [];
  #waiters: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #commitQueued = false;
  #soon = false;
  #awaited: { readonly source: string; readonly seq: number; readonly done: () => void }[] = [];
  #flushing: Promise<void> | undefined;
  #batchTimer: NodeJS.Timeout | undefined;
  #signTimer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #interval: NodeJS.Timeout | undefined;
  #failed: Error | undefined;
  readonly #release: () => void;
  #closed = false;

  constructor(options: LedgerOptions, book: SourceBook, opened: Opened | undefined, release: () => void) {
    this.#options = options;
    this.#release = release;
    this.dir = options.dir;
    this.#book = book;
    this.#opened = opened;
    const chain = opened?.state.chain || options.ids.next('chain');
    this.#state = { chain, count: opened?.state.count ?? 0, head: opened?.state.head ?? noHead, typeUid: opened?.state.typeUid ?? 0 };
    this.#durable = { count: this.#state.count, head: this.#state.head };
    for (const line of opened?.lines ?? []) this.recent.push(line);
    this.#signer = new CheckpointSigner({
      sign: options.sign,
      state: () => this.#durable,
      onRefused: (count, why) => this.#own(admit.unsigned(this.#now(), count, why)),
      onResumed: (count) => this.#own(admit.signedAgain(this.#now(), count)),
    });
  }

  /** Writes the first record of this life: over a torn tail, where there is one, so that no moment exists in which it is gone and not admitted. */
  async begin(before: string): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    if (!opened?.segment) this.#openSegment('');
    else {
      this.#file = new SegmentFile(opened.segment, opened.size, false);
      if (opened.torn.length > 0) this.#admitTorn(opened.torn);
      if (opened.size === 0) this.#sealNow({ event: admit.segmentOpened(this.#now(), before, this.#book.list()), source: this.#self() }, true);
      this.#own(admit.reopened(this.#now(), this.#state.count));
    }
    await this.#flush();
    if (this.#failed) throw this.#failed;
    this.#interval = setInterval(() => void this.checkpoint('interval'), this.#options.checkpointMs ?? 1000);
  }

  #admitTorn(torn: Buffer): void {
    const quote = torn.toString('utf8', 0, 64 * 1024);
    this.#sealNow({ event: admit.tornTail(this.#now(), torn.length, sha256(torn), quote), source: this.#self() }, true);
    this.#file?.cut();
  }

  connect(source: string, onDurable: (seq: number) => void): SourceHandle {
    const links = this.#links.get(source) ?? new Set();
    this.#links.set(source, links);
    links.add(onDurable);
    return {
      run: (run) => {
        const ended = this.#book.begin(source, run);
        if (ended > 0) this.#own(admit.restarted(this.#now(), source, ended));
      },
      receive: (seq, event, commit) => this.#receive(source, seq, event, commit, onDurable),
      close: () => links.delete(onDurable),
    };
  }

  #receive(source: string, seq: number, event: unknown, commit: boolean, onDurable: (seq: number) => void): void {
    if (this.#closed || this.#failed) return;
    const arrival = this.#book.arrive(source, seq);
    const state = this.#book.state(source);
    if (!arrival.take) {
      // Sent again after a reconnect: already in the chain. The source may not have seen the acknowledgement.
      if (state.durable > 0) onDurable(state.durable);
      return;
    }
    if (arrival.restart !== undefined) this.#own(admit.restarted(this.#now(), source, arrival.restart));
    if (arrival.gap) this.#own(admit.gap(this.#now(), source, arrival.gap.from, arrival.gap.to));
    this.#enqueue({ event: this.#options.redact(event), source: { name: source, run: state.run, seq } }, commit);
    if (this.#awaited.some((one) => one.source === source && one.seq <= seq)) this.sync();
  }

  record(event: LedgerEvent): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#enqueue({ event: this.#options.redact(event), source: this.#self() }, true);
    });
  }

  checkpoint(why: Why): Promise<void> {
    return this.#signer.request(why);
  }

  sync(): void {
    if (this.#queue.length === 0) return;
    this.#soon = true;
    this.#schedule();
  }

  settled(source: string, seq: number): Promise<void> {
    const state = this.#book.state(source);
    if (this.#failed || this.#closed || state.durable >= seq) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => waiting.done(), settleMs);
      const waiting = {
        source,
        seq,
        done: () => {
          clearTimeout(timer);
          this.#awaited = this.#awaited.filter((one) => one !== waiting);
          resolve();
        },
      };
      this.#awaited.push(waiting);
      if (state.last >= seq) this.sync();
    });
  }

  onDurable(listener: (sequence: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get durable(): number {
    return this.#durable.count;
  }

  status(): LedgerStatus {
    const segments = listSegments(this.dir);
    return {
      chain: this.#state.chain,
      count: this.#state.count,
      head: this.#state.head,
      durable: this.#durable.count,
      signed: this.#signer.signed,
      segments: segments.length,
      bytes: segmentBytes(segments),
      sources: this.#book.list(),
      decisions: Object.fromEntries(this.#decisions),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#interval);
    clearTimeout(this.#signTimer);
    if (!this.#failed) {
      await this.record(admit.stopped(this.#now()));
      await this.#signer.request('stop');
    }
    this.#closed = true;
    clearTimeout(this.#batchTimer);
    clearImmediate(this.#immediate);
    while (this.#flushing) await this.#flushing;
    if (!this.#failed && this.#queue.length > 0) await this.#flush();
    this.#file?.close();
    this.#release();
  }

  #own(event: LedgerEvent): void {
    this.#enqueue({ event, source: this.#self() }, false);
  }

  #self(): Queued['source'] {
    return { name: 'ledger', run: '', seq: 0 };
  }

  #now(): number {
    return this.#options.clock.now();
  }

  #enqueue(item: Queued, commit: boolean): void {
    this.#queue.push(item);
    if (commit) this.#commitQueued = true;
    this.#schedule();
  }

  /** A commit goes with everything that arrived in this turn of the loop; the rest waits for its batch. */
  #schedule(): void {
    if (this.#flushing || this.#closed || this.#failed) return;
    if (this.#commitQueued || this.#soon) this.#immediate ??= setImmediate(() => void this.#flush());
    else this.#batchTimer ??= setTimeout(() => void this.#flush(), this.#options.batchMs ?? 15);
  }

  #flush(): Promise<void> {
    this.#flushing ??= this.#flushOnce().finally(() => {
      this.#flushing = undefined;
      if (this.#queue.length > 0) this.#schedule();
    });
    return this.#flushing;
  }

  async #flushOnce(): Promise<void> {
    clearTimeout(this.#batchTimer);
    clearImmediate(this.#immediate);
    this.#batchTimer = undefined;
    this.#immediate = undefined;
    const [batch, waiters, commit] = [this.#queue, this.#waiters, this.#commitQueued];
    this.#queue = [];
    this.#waiters = [];
    this.#commitQueued = false;
    this.#soon = false;
    try {
      await this.#write(batch);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)), waiters);
      return;
    }
    for (const waiter of waiters) waiter.resolve();
    this.#acknowledge(batch);
    for (const listener of this.#listeners) listener(this.#durable.count);
    if (commit && !this.#closed) this.#signSoon();
  }

  /** Not at once: its sync would delay what the commit was waited for, such as the store of the one that asked for it. */
  #signSoon(): void {
    this.#signTimer ??= setTimeout(() => {
      this.#signTimer = undefined;
      if (!this.#closed) void this.#signer.request('commit');
    }, signAfterMs);
  }

  async #write(batch: readonly Queued[]): Promise<void> {
    let text = '';
    for (const item of batch) {
      if (this.#file && this.#file.size + text.length >= (this.#options.segmentSize ?? 64 * 1024 * 1024)) {
        this.#file.write(text);
        text = '';
        await this.#rotate();
      }
      text += this.#seal(item);
    }
    this.#file?.write(text);
    await this.#file?.sync();
    this.#durable = { count: this.#state.count, head: this.#state.head };
  }

  async #rotate(): Promise<void> {
    const full = this.#file;
    await full?.sync();
    full?.close();
    this.#openSegment(full?.segment.file ?? '');
  }

  #openSegment(previous: string): void {
    const first = this.#state.count + 1;
    const file = segmentName(first);
    this.#file = new SegmentFile({ file, path: join(this.dir, file), first }, 0, true);
    this.#sealNow({ event: admit.segmentOpened(this.#now(), previous, this.#book.list()), source: this.#self() }, true);
  }

  #sealNow(item: Queued, write: boolean): void {
    const text = this.#seal(item);
    if (write) this.#file?.write(text);
  }

  #seal(item: Queued): string {
    const sealed = seal(item.event, this.#state, item.source, this.#now());
    this.#state = after(this.#state, sealed);
    if (item.event.verdict !== undefined) this.#count(`${item.event.layer} ${item.event.verdict}`);
    if (item.source.seq > 0) this.#book.seal(item.source.name, item.source.run, item.source.seq);
    this.recent.push({ sequence: sealed.sequence, sandbox: item.event.sandbox, line: sealed.line });
    return `${sealed.line}\n`;
  }

  #count(decision: string): void {
    this.#decisions.set(decision, (this.#decisions.get(decision) ?? 0) + 1);
  }

  #acknowledge(batch: readonly Queued[]): void {
    const touched = new Set<string>();
    for (const { source } of batch) {
      const state = this.#book.state(source.name);
      // A number of a life that ended meanwhile says nothing about the new one.
      if (source.seq === 0 || source.run !== state.run || source.seq > state.last) continue;
      state.durable = Math.max(state.durable, source.seq);
      touched.add(source.name);
    }
    for (const name of touched) {
      const { durable } = this.#book.state(name);
      for (const link of this.#links.get(name) ?? []) link(durable);
      for (const one of this.#awaited) if (one.source === name && one.seq <= durable) one.done();
    }
  }

  #fail(error: Error, waiters: readonly { readonly reject: (error: Error) => void }[]): void {
    this.#failed = error;
    clearInterval(this.#interval);
    clearTimeout(this.#signTimer);
    for (const waiter of [...waiters, ...this.#waiters]) waiter.reject(error);
    for (const one of this.#awaited) one.done();
    this.#waiters = [];
    this.#options.onFailure(error);
  }
}
