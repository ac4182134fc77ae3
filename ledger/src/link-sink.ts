/** An AuditSink over a link to the ledger: numbers events, keeps what is not acknowledged, sends it again over a new link, and says when it cannot keep more. */
import type { Duplex } from 'node:stream';
import { FrameDecoder, type AuditSink, type Clock, type Ids, type LedgerEvent } from '@nemoclaw/contract';
import { maskKnown } from '@nemoclaw/detect';

export interface LinkSinkOptions {
  readonly clock: Clock;
  readonly ids: Ids;
  /** Bytes (characters of JSON) that may wait for acknowledgement. Default 4 MiB. */
  readonly maxBuffered?: number;
  /** ms a commit may wait for its acknowledgement before it is refused. Default 5000. */
  readonly commitMs?: number;
  /** Secrets that never leave this process, masked before an event is queued. */
  readonly known?: () => readonly string[];
  /** Told when the record starts to refuse (`refusing` true) and when it takes events again. */
  readonly onAuditFailure?: (state: { readonly refusing: boolean; readonly refused: number; readonly why: string }) => void;
}

interface Commit {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
  readonly correlation: string | undefined;
}

interface Waiting {
  readonly seq: number;
  /** JSON of the event. */
  readonly event: string;
  readonly size: number;
  commit: Commit | undefined;
}

/** ms that events which nobody waits for are gathered. */
const gatherMs = 4;
/** ms that a flush waits at most. */
const flushMs = 1000;
/** Largest single event; beyond it only its words are kept. */
const maxEvent = 256 * 1024;

/**
 * An audit sink over a link to the ledger. Events are numbered, kept until the ledger has them, and sent again over the next link if this one ends. What does
 * not fit into the buffer is refused, counted, and said on record as soon as there is room.
 */
export class LinkSink implements AuditSink {
  readonly #options: LinkSinkOptions;
  readonly #max: number;
  readonly #run: string;
  #link: Duplex | undefined;
  #seq = 0;
  /** Not yet durable, by rising seq; entries before `#first` are done. */
  #waiting: Waiting[] = [];
  #first = 0;
  /** Index in `#waiting` of the first entry not yet sent over the current link. */
  #unsent = 0;
  #buffered = 0;
  /** Who waits for everything up to a number, by rising number. */
  #flushes: { readonly seq: number; readonly done: () => void }[] = [];
  #refused = 0;
  #refusedTotal = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LinkSinkOptions) {
    this.#options = options;
    this.#max = options.maxBuffered ?? 4 * 1024 * 1024;
    this.#run = options.ids.next('run');
  }

  /** Uses a new link; a former one is dropped. Everything unacknowledged is sent again in order. */
  attach(link: Duplex): void {
    const former = this.#link;
    this.#link = link;
    former?.destroy();
    const decoder = new FrameDecoder();
    link.on('data', (chunk: Buffer) => {
      try {
        for (const message of decoder.push(chunk)) if (this.#link === link) this.#heard(message);
      } catch {
        link.destroy();
      }
    });
    link.on('error', () => this.#gone(link));
    link.on('close', () => this.#gone(link));
    link.on('end', () => this.#gone(link));
    link.write(frame(`{"t":"source","run":${JSON.stringify(this.#run)}}`));
    this.#unsent = this.#first;
    this.#flush();
  }

  /** Counts for `status`: characters waiting, events refused so far, whether a link is up. */
  stats(): { readonly buffered: number; readonly refused: number; readonly connected: boolean; readonly lastSeq: number } {
    return { buffered: this.#buffered, refused: this.#refusedTotal, connected: this.#link !== undefined, lastSeq: this.#seq };
  }

  /** What may still happen: `commit` needs a live link, `append` room in the buffer. */
  get takes(): { readonly commit: boolean; readonly append: boolean } {
    const append = this.#buffered < this.#max;
    return { commit: append && this.#link !== undefined, append };
  }

  emit(event: LedgerEvent): void {
    const text = this.#encode(event);
    if (!this.#room(text)) return;
    this.#add(text, undefined);
  }

  commit(event: LedgerEvent): Promise<void> {
    if (!this.#link) return Promise.reject(new Error('the ledger is not reachable'));
    const text = this.#encode(event);
    if (!this.#room(text)) return Promise.reject(new Error('the audit buffer is full'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#refuse(seq, 'the ledger did not answer in time'), this.#options.commitMs ?? 5000);
      const seq = this.#add(text, { resolve, reject, timer, correlation: event.correlation });
    });
  }

  /** Resolves when everything that was given until now is durable, or can no longer become so over this link, or after a second. */
  flush(): Promise<void> {
    const link = this.#link;
    if (!link || this.#first >= this.#waiting.length) return Promise.resolve();
    this.#flush();
    link.write(frame('{"t":"sync"}'));
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, flushMs);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#flushes.push({ seq: this.#seq, done });
    });
  }

  #encode(event: LedgerEvent): string {
    let text: string;
    try {
      text = JSON.stringify(event);
    } catch {
      text = JSON.stringify({ ...event, data: { withheld: 'the data could not be serialised' } });
    }
    const known = this.#options.known?.() ?? [];
    if (known.length > 0) text = maskKnown(text, known);
    if (text.length <= maxEvent) return text;
    const { time, class: cls, activity, severity, sandbox, layer, verdict, correlation } = event;
    const slim = { time, class: cls, activity, severity, sandbox, layer, verdict, correlation, message: event.message.slice(0, 1024) };
    const cut = JSON.stringify({ ...slim, data: { withheld: 'the event was too large', characters: text.length } });
    return known.length > 0 ? maskKnown(cut, known) : cut;
  }

  /** False (and counted) where the buffer is full; the first event that fits again is preceded by one that admits the loss. */
  #room(text: string): boolean {
    if (this.#buffered + text.length > this.#max) {
      this.#refused += 1;
      this.#refusedTotal += 1;
      if (this.#refused === 1) this.#tell(true, 'the audit buffer is full');
      return false;
    }
    if (this.#refused > 0) {
      const lost = this.#refused;
      this.#refused = 0;
      this.#add(JSON.stringify(lossEvent(this.#options.clock.now(), lost)), undefined);
      this.#tell(false, `${lost} events were refused`);
    }
    return true;
  }

  #tell(refusing: boolean, why: string): void {
    this.#options.onAuditFailure?.({ refusing, refused: this.#refusedTotal, why });
  }

  #add(event: string, commit: Waiting['commit']): number {
    this.#seq += 1;
    this.#waiting.push({ seq: this.#seq, event, size: event.length, commit });
    this.#buffered += event.length;
    this.#schedule(commit !== undefined);
    return this.#seq;
  }

  /**
   * Few writes, however many events: each one wakes the writer, which on a small machine takes the processor from the request that is
   * served just now. A commit goes at once, since somebody waits for it, and may do other slow things meanwhile.
   */
  #schedule(commit: boolean): void {
    if (!this.#link) return;
    if (commit) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), gatherMs);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#link || this.#unsent >= this.#waiting.length) return;
    const texts: string[] = [];
    for (; this.#unsent < this.#waiting.length; this.#unsent += 1) {
      const entry = this.#waiting[this.#unsent];
      if (entry) texts.push(`{"t":"event","seq":${entry.seq},"event":${entry.event}${entry.commit ? ',"commit":true' : ''}}`);
    }
    this.#link.write(framed(texts));
  }

  #heard(message: unknown): void {
    const { t, seq, durable } = (message ?? {}) as { t?: unknown; seq?: unknown; durable?: unknown };
    if (t !== 'ack' || typeof seq !== 'number' || durable !== true) return;
    for (let entry = this.#waiting[this.#first]; entry && entry.seq <= seq && this.#first < this.#unsent; entry = this.#waiting[this.#first]) {
      this.#first += 1;
      this.#buffered -= entry.size;
      clearTimeout(entry.commit?.timer);
      entry.commit?.resolve();
    }
    while (this.#flushes[0] && this.#flushes[0].seq <= seq) this.#flushes.shift()?.done();
    if (this.#first > 1024 && this.#first * 2 > this.#waiting.length) this.#compact();
    else if (this.#first === this.#waiting.length) this.#compact();
  }

  #compact(): void {
    this.#waiting = this.#waiting.slice(this.#first);
    this.#unsent -= this.#first;
    this.#first = 0;
  }

  /** The writer is gone: nothing that must be durable first may go on. What was queued is kept, and says that its effect was refused. */
  #gone(link: Duplex): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    link.destroy();
    for (const { done } of this.#flushes.splice(0)) done();
    const open = this.#waiting.slice(this.#first).filter(({ commit }) => commit !== undefined);
    for (const { seq } of open) this.#refuse(seq, 'the ledger went away before the event was durable');
  }

  /** Rejects a commit whose event is queued, perhaps even written: a second event then says that its effect was refused. */
  #refuse(seq: number, why: string): void {
    const entry = this.#waiting.find((waiting) => waiting.seq === seq);
    const commit = entry?.commit;
    if (!entry || !commit) return;
    entry.commit = undefined;
    clearTimeout(commit.timer);
    const text = JSON.stringify(refusedEvent(this.#options.clock.now(), seq, why, commit.correlation));
    if (this.#room(text)) this.#add(text, undefined);
    commit.reject(new Error(why));
  }
}

function refusedEvent(time: number, seq: number, why: string, correlation: string | undefined): LedgerEvent {
  const message = `Event ${seq} of this source was not durable when it had to be; its effect was refused.`;
  return {
    time,
    class: 'detectionFinding',
    activity: 1,
    severity: 4,
    sandbox: '',
    layer: 'ledger',
    message,
    ...(correlation !== undefined && { correlation }),
    data: { kind: 'commit.refused', seq, why },
  };
}

function lossEvent(time: number, lost: number): LedgerEvent {
  return {
    time,
    class: 'detectionFinding',
    activity: 1,
    severity: 5,
    sandbox: '',
    layer: 'ledger',
    message: `${lost} events were refused because the audit buffer was full.`,
    data: { kind: 'source.refused', lost },
  };
}

const frame = (text: string): Buffer => framed([text]);

/** One buffer for all of them: their length in bytes before each. */
function framed(texts: readonly string[]): Buffer {
  let most = 0;
  // A UTF-16 unit takes three bytes at most.
  for (const text of texts) most += 4 + text.length * 3;
  const out = Buffer.allocUnsafe(most);
  let at = 0;
  for (const text of texts) {
    const size = out.write(text, at + 4, 'utf8');
    out.writeUInt32BE(size, at);
    at += 4 + size;
  }
  return out.subarray(0, at);
}
