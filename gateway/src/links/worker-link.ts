/** The gateway's end of a link to one worker. What comes over it is hostile input: bounded, checked, and only about sandboxes that this worker was given. */
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, scanners, sensitivities, type GatewayToWorker, type HoldRequestWire, type RateLeft, type ScannerName, type Sensitivity } from '@nemoclaw/contract';
import { z } from 'zod';
import { holdWireSchema } from '../approvals/record.ts';

const sandbox = z.string().min(1).max(128);
const id = z.number().int().min(0);
const text = z.string().max(4096);
const messageSchema = z.discriminatedUnion('t', [
  z.object({ t: z.literal('configured'), sandbox, version: z.number().int(), error: text.optional() }),
  z.object({ t: z.literal('flushed'), flushId: id, sandbox }),
  z.object({ t: z.literal('hold'), hold: z.unknown() }),
  z.object({ t: z.literal('hold.withdrawn'), sandbox, holdId: z.string().max(128), why: text }),
  z.object({ t: z.literal('label.raise'), id, sandbox, to: z.enum(sensitivities), why: text }),
  z.object({ t: z.literal('grant.consume'), id, sandbox, key: z.string().regex(/^[0-9a-f]{64}$/) }),
  z.object({ t: z.literal('credential.renew'), id, sandbox, placeholder: z.string().min(1).max(256) }),
  z.object({ t: z.literal('rates'), sandbox, rates: z.array(z.object({ key: z.string().max(256), left: z.number().min(0), at: z.number().min(0) })).max(1024) }),
  z.object({ t: z.literal('searches'), scanner: z.enum(scanners) }),
  z.object({ t: z.literal('usage'), sandbox, requests: z.number().min(0), bytesOut: z.number().min(0), tokens: z.number().min(0) }),
]);

/** What a worker may bring about. Rejecting from `hold` is a breach: the link is closed. */
export interface WorkerEvents {
  /** True if this worker was given the sandbox. */
  owns(sandbox: string): boolean;
  configured(sandbox: string, version: number, error: string | undefined): void;
  /** The answer to a `flush` of this number, if there was one. */
  flushed(id: number): void;
  hold(hold: HoldRequestWire): Promise<void>;
  withdrawn(sandbox: string, holdId: string, why: string): Promise<void>;
  raise(sandbox: string, to: Sensitivity, why: string): Promise<void>;
  consume(sandbox: string, key: string): Promise<boolean>;
  /** Whether a newer value of this credential is in force. */
  renew(sandbox: string, placeholder: string): Promise<boolean>;
  /** What is left of the sandbox's rates, to be told to the worker after this one. */
  rates(sandbox: string, rates: readonly RateLeft[]): void;
  /** What searches long bodies there. */
  searches(scanner: ScannerName): void;
  usage(sandbox: string, counts: { readonly requests: number; readonly bytesOut: number; readonly tokens: number }): void;
  /** The worker did what no honest worker does; the link is already closed. */
  breach(why: string): void;
  /** The link ended, whoever closed it. Called once. */
  closed(): void;
}

/** Requests of one worker that may wait for their answer at once. */
const maxBusy = 4096;

export class WorkerLink {
  readonly #socket: Duplex;
  readonly #events: WorkerEvents;
  readonly #decoder = new FrameDecoder();
  #open = true;
  #busy = 0;

  constructor(socket: Duplex, events: WorkerEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
    socket.on('end', () => this.close());
  }

  get open(): boolean {
    return this.#open;
  }

  /** False if the link is closed; nothing was sent then. */
  send(message: GatewayToWorker): boolean {
    if (!this.#open) return false;
    this.#socket.write(encodeFrame(message));
    return true;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.destroy();
    this.#events.closed();
  }

  #breach(why: string): void {
    if (!this.#open) return;
    this.close();
    this.#events.breach(why);
  }

  #read(chunk: Buffer): void {
    if (!this.#open) return;
    let messages: unknown[];
    try {
      messages = this.#decoder.push(chunk);
    } catch (error) {
      return this.#breach(error instanceof RangeError ? `An oversized frame: ${error.message}.` : 'A frame that is not JSON.');
    }
    for (const message of messages) {
      if (!this.#open) return;
      this.#take(message);
    }
  }

  #take(raw: unknown): void {
    const parsed = messageSchema.safeParse(raw);
    if (!parsed.success) return this.#breach('A message that workers do not send.');
    const message = parsed.data;
    if (message.t === 'hold') return this.#hold(message.hold);
    if (message.t === 'searches') return this.#events.searches(message.scanner);
    if (!this.#events.owns(message.sandbox)) return this.#breach(`A message about a sandbox it was not given (${message.t}).`);
    switch (message.t) {
      case 'configured':
        return this.#events.configured(message.sandbox, message.version, message.error);
      case 'flushed':
        return this.#events.flushed(message.flushId);
      case 'rates':
        return this.#events.rates(message.sandbox, message.rates);
      case 'usage':
        return this.#events.usage(message.sandbox, message);
      case 'hold.withdrawn':
        return this.#work(() => this.#events.withdrawn(message.sandbox, message.holdId, message.why));
      case 'label.raise':
        return this.#work(
          async () => {
            await this.#events.raise(message.sandbox, message.to, message.why);
            this.send({ t: 'ok', id: message.id });
          },
          () => this.send({ t: 'no', id: message.id, reason: 'The label could not be recorded.' }),
        );
      case 'credential.renew':
        return this.#work(
          async () => {
            const newer = await this.#events.renew(message.sandbox, message.placeholder);
            this.send(newer ? { t: 'ok', id: message.id } : { t: 'no', id: message.id, reason: 'There is no newer value.' });
          },
          () => this.send({ t: 'no', id: message.id, reason: 'There is no newer value.' }),
        );
      case 'grant.consume':
        return this.#work(
          async () => {
            const used = await this.#events.consume(message.sandbox, message.key);
            this.send(used ? { t: 'ok', id: message.id } : { t: 'no', id: message.id, reason: 'There is no grant for this request.' });
          },
          () => this.send({ t: 'no', id: message.id, reason: 'The grant could not be used.' }),
        );
    }
  }

  #hold(raw: unknown): void {
    const parsed = holdWireSchema.safeParse(raw);
    if (!parsed.success) return this.#breach('A hold that is not one.');
    const hold = parsed.data;
    if (!this.#events.owns(hold.sandbox) || hold.request.sandbox !== hold.sandbox) return this.#breach('A hold for a sandbox it was not given.');
    if (hold.kind === 'syscall') return this.#breach('A system call held by a worker.');
    this.#work(
      () => this.#events.hold(hold),
      (error) => {
        if (error instanceof RangeError) this.#breach(`A hold that cannot be honest: ${error.message}.`);
        else this.send({ t: 'hold.outcome', sandbox: hold.sandbox, holdId: hold.holdId, outcome: { verdict: 'unavailable', reason: 'The question could not be put on record.' } });
      },
    );
  }

  /** Runs without stopping the reading of further messages; bounded, since the other side chooses how many. */
  #work(work: () => Promise<void>, failed: (error: unknown) => void = () => undefined): void {
    if (this.#busy >= maxBusy) return this.#breach('Too many requests at once.');
    this.#busy += 1;
    work()
      .catch(failed)
      .finally(() => {
        this.#busy -= 1;
      });
  }
}
