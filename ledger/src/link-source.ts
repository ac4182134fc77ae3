/** The ledger's end of a link: takes a source's events, acknowledges what is durable, and answers questions where the peer may ask. */
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, type FromLedger } from '@nemoclaw/contract';
import * as admit from './admissions.ts';
import { answerQuery } from './queries.ts';
import type { LedgerReader } from './reader.ts';
import type { LedgerWriter } from './writer.ts';

export interface LinkSourceOptions {
  readonly writer: LedgerWriter;
  readonly reader: LedgerReader;
  /** Name of the source in the record, given by openshelld, never by the peer itself. */
  readonly name: string;
  /** Whether this peer may read (the gateway). */
  readonly mayRead: boolean;
  readonly now: () => number;
}

/** Serves one link until it closes. What cannot be read closes the link and is admitted. */
export function serveLink(link: Duplex, options: LinkSourceOptions): { close(): void } {
  const { writer, name } = options;
  const follows = new Map<number, () => void>();
  const send = (message: FromLedger): void => {
    if (!link.destroyed && link.writable) link.write(encodeFrame(message));
  };
  const source = writer.connect(name, (seq) => send({ t: 'ack', seq, durable: true }));
  const decoder = new FrameDecoder();
  let ended = false;
  const close = (): void => {
    if (ended) return;
    ended = true;
    source.close();
    for (const stop of follows.values()) stop();
    link.destroy();
  };
  link.on('data', (chunk: Buffer) => {
    if (ended) return;
    try {
      for (const message of decoder.push(chunk)) take(message);
    } catch (error) {
      close();
      void writer.record(admit.badLink(options.now(), name, error instanceof Error ? error.message.slice(0, 200) : 'unreadable')).catch(() => undefined);
    }
  });
  link.on('error', close);
  link.on('end', close);
  link.on('close', close);

  const take = (message: unknown): void => {
    const m = (message ?? {}) as Readonly<Record<string, unknown>>;
    if (m['t'] === 'event') {
      const seq = m['seq'];
      if (!Number.isSafeInteger(seq) || (seq as number) < 1) throw new Error('an event without a number');
      if (!mayClaim(name, m['event'])) throw new Error('an event of a layer that is not the data plane');
      source.receive(seq as number, m['event'], m['commit'] === true);
    } else if (m['t'] === 'sync') writer.sync();
    else if (m['t'] === 'source') {
      if (typeof m['run'] !== 'string' || m['run'].length > 128) throw new Error('a run that is no name');
      source.run(m['run']);
    } else if (options.mayRead && (m['t'] === 'query' || m['t'] === 'follow' || m['t'] === 'unfollow')) {
      answerQuery(m, { writer, reader: options.reader, follows, send });
    } else throw new Error('a message this link does not take');
  };
  return { close };
}

const dataPlane = new Set(['dns', 'proxy', 'gate', 'router']);

/** A worker parses hostile bytes: it speaks for its own layers, not for the kernel's or a person's. Of the record it may say that it lost something. */
function mayClaim(source: string, event: unknown): boolean {
  if (!/^worker\b/.test(source)) return true;
  const { layer, verdict } = (event ?? {}) as { readonly layer?: unknown; readonly verdict?: unknown };
  return (typeof layer === 'string' && dataPlane.has(layer)) || (layer === 'ledger' && verdict === undefined);
}
