/** The ledger process: the one writer of the record, under its own identity; sources come as links from openshelld, checkpoints go to it to be signed. */
import { mkdirSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Clock, FromOpenshelld, Ids, ToOpenshelld } from '@nemoclaw/contract';
import { feedSink, fileDelivery, LedgerReader, openLedger, redactor, serveLink, type LedgerWriter, type Sign } from '@nemoclaw/ledger';
import { closeFd, ControlChannel } from '@nemoclaw/openshell';
import { systemClock, systemIds } from '../clock.ts';

export interface LedgerProcessOptions {
  readonly control: {
    onMessage(listener: (message: FromOpenshelld, fds: number[]) => void): void;
    send(message: ToOpenshelld): void;
  };
  /** $STATE; the record lies in `ledger/` below it, the local sink in `ledger/sinks/`. */
  readonly state: string;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Wraps the descriptor of a link. */
  readonly open: (fd: number) => Socket;
  /** Closes a descriptor that nobody uses. */
  readonly closeFd: (fd: number) => void;
  /** The record can no longer be written: the process must end. */
  readonly onFailure: (error: Error) => void;
  /** ms to wait for a signature. Default 2000. */
  readonly signMs?: number;
}

export interface LedgerProcess {
  readonly writer: LedgerWriter;
  /** Records the stop, gets the last checkpoint signed, delivers to the sink, closes. */
  stop(): Promise<void>;
}

/** Says hello, opens the record, and serves links until stopped. Rejects if the record cannot be opened. */
async function startLedger(options: LedgerProcessOptions): Promise<LedgerProcess> {
  const { control, clock } = options;
  const hello = (): void => control.send({ t: 'hello', role: 'ledger', pid: process.pid });
  const early: [FromOpenshelld, number[]][] = [];
  let take = (message: FromOpenshelld, fds: number[]): void => void early.push([message, fds]);
  control.onMessage((message, fds) => take(message, fds));
  hello();

  const dir = join(options.state, 'ledger');
  const signer = new ControlSigner(control, options.signMs ?? 2000);
  const { ids, onFailure } = options;
  const writer = await openLedger({ dir, redact: redactor({ payloads: 'as-marked' }), sign: signer.sign, clock, ids, onFailure });
  const reader = new LedgerReader(writer);
  const sinks = join(dir, 'sinks');
  mkdirSync(sinks, { recursive: true, mode: 0o750 });
  const feed = feedSink({ writer, reader, deliver: fileDelivery(join(sinks, 'security-events.jsonl')), cursorFile: join(sinks, 'security-events.cursor') });
  const links = new Set<{ close(): void }>();
  const own = writer.connect('openshelld', () => undefined);

  take = (message, fds) => {
    // Typed by what openshelld says to any service; events of its own come beside that.
    const m = message as FromOpenshelld | { readonly t: 'event'; readonly seq: number; readonly event: unknown };
    const fd = m.t === 'link' ? fds[0] : undefined;
    for (const unused of fds) if (unused !== fd) options.closeFd(unused);
    if (m.t === 'link' && fd !== undefined) {
      const socket = options.open(fd);
      const link = serveLink(socket, { writer, reader, name: m.peer, mayRead: m.peer === 'gateway', now: () => clock.now() });
      links.add(link);
      socket.once('close', () => links.delete(link));
    } else if (m.t === 'reset') {
      // A new openshelld never saw what was asked of the former one.
      signer.fail('openshelld restarted');
      hello();
    } else if (m.t === 'event') {
      if (Number.isSafeInteger(m.seq) && m.seq > 0) own.receive(m.seq, m.event, false);
    } else if (m.t === 'signed') signer.settle(m.id, undefined);
    else if (m.t === 'reply' && !m.ok) signer.settle(m.id, `${m.error} (${m.code})`);
  };
  for (const [message, fds] of early) take(message, fds);

  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await writer.close();
    await feed.close();
    for (const link of links) link.close();
  };
  return { writer, stop: () => (stopping ??= stop()) };
}

/** Asks openshelld for signatures; an answer that does not come in time is a refusal. */
class ControlSigner {
  readonly #control: LedgerProcessOptions['control'];
  readonly #waitMs: number;
  readonly #open = new Map<number, { readonly resolve: () => void; readonly reject: (error: Error) => void; readonly timer: NodeJS.Timeout }>();
  #id = 0;

  constructor(control: LedgerProcessOptions['control'], waitMs: number) {
    this.#control = control;
    this.#waitMs = waitMs;
  }

  readonly sign: Sign = ({ count, head, why }) => {
    const id = (this.#id += 1);
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => this.settle(id, 'no answer from openshelld'), this.#waitMs);
      this.#open.set(id, { resolve, reject, timer });
      this.#control.send({ t: 'sign', id, count, head, why });
    });
  };

  /** `refusal` undefined: it is signed and kept. */
  settle(id: number, refusal: string | undefined): void {
    const waiting = this.#open.get(id);
    if (!waiting) return;
    this.#open.delete(id);
    clearTimeout(waiting.timer);
    if (refusal === undefined) waiting.resolve();
    else waiting.reject(new Error(refusal));
  }

  fail(why: string): void {
    for (const id of [...this.#open.keys()]) this.settle(id, why);
  }
}

async function main(): Promise<void> {
  const state = process.env['NEMOCLAW_STATE'] ?? '/var/lib/nemoclaw';
  const control = new ControlChannel();
  const onFailure = (error: Error): void => {
    process.stderr.write(`ledger: the record cannot be written: ${error.message}\n`);
    process.exit(1);
  };
  const ledger = await startLedger({ control, state, clock: systemClock, ids: systemIds, open: (fd) => new Socket({ fd }), closeFd, onFailure });
  const end = (): void => {
    ledger.stop().then(
      () => process.exit(0),
      (error: unknown) => onFailure(error instanceof Error ? error : new Error(String(error))),
    );
  };
  process.once('SIGTERM', end);
  process.once('SIGINT', end);
  control.onClose(end);
}

if (import.meta.main) await main();
