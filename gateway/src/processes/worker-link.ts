/** The worker's end of the link to the gateway: questions with an answer each, and messages that need none. A link that ends is replaced by the next. */
import type { Duplex } from 'node:stream';
import { encodeFrame, FrameDecoder, type GatewayToWorker, type WorkerToGateway } from '@nemoclaw/contract';

/** What the gateway says by itself; answers to questions do not come here. */
export type GatewayNews = Exclude<GatewayToWorker, { readonly t: 'ok' | 'no' }>;
type Question = Extract<WorkerToGateway, { readonly id: number }>;
type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never;

export interface GatewayLinkEvents {
  news(message: GatewayNews): void;
  /** A new link stands. */
  up(): void;
}

interface Open {
  readonly resolve: (yes: boolean) => void;
  readonly timer: NodeJS.Timeout;
}

export class GatewayLink {
  readonly #events: GatewayLinkEvents;
  readonly #answerMs: number;
  readonly #open = new Map<number, Open>();
  #link: Duplex | undefined;
  #id = 0;

  /** `answerMs`: how long the gateway may take for one answer. */
  constructor(events: GatewayLinkEvents, answerMs = 5000) {
    this.#events = events;
    this.#answerMs = answerMs;
  }

  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Uses a new link; a former one is dropped, and what was asked over it is answered no. */
  attach(link: Duplex): void {
    const former = this.#link;
    this.#link = link;
    former?.destroy();
    this.#failAll();
    const decoder = new FrameDecoder();
    link.on('data', (chunk: Buffer) => {
      try {
        for (const message of decoder.push(chunk)) if (this.#link === link) this.#take(message as GatewayToWorker);
      } catch {
        link.destroy();
      }
    });
    const gone = (): void => {
      if (this.#link !== link) return;
      this.#link = undefined;
      link.destroy();
      this.#failAll();
    };
    link.on('error', gone);
    link.on('end', gone);
    link.on('close', gone);
    this.#events.up();
  }

  /** False if it was not sent: no link, or the message is too large. */
  send(message: WorkerToGateway): boolean {
    if (!this.#link) return false;
    try {
      this.#link.write(encodeFrame(message));
      return true;
    } catch {
      return false;
    }
  }

  /** True for `ok`; false for `no`, no link, a link that ended, or no answer in time. */
  ask(question: Unnumbered<Question>): Promise<boolean> {
    const id = (this.#id += 1);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#settle(id, false), this.#answerMs);
      this.#open.set(id, { resolve, timer });
      if (!this.send({ ...question, id } as Question)) this.#settle(id, false);
    });
  }

  close(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.destroy();
    this.#failAll();
  }

  #take(message: GatewayToWorker): void {
    if (message.t === 'ok') this.#settle(message.id, true);
    else if (message.t === 'no') this.#settle(message.id, false);
    else this.#events.news(message);
  }

  #settle(id: number, yes: boolean): void {
    const open = this.#open.get(id);
    if (!open) return;
    this.#open.delete(id);
    clearTimeout(open.timer);
    open.resolve(yes);
  }

  #failAll(): void {
    for (const id of [...this.#open.keys()]) this.#settle(id, false);
  }
}
