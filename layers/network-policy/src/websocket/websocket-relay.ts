/** Carries the messages of one WebSocket both ways: each read whole, shown to the hooks, and written anew. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { AnswerHead, ByteTransform, Filtered, SocketMessage } from '../hooks.ts';
import { InOrder } from '../body/in-order.ts';
import { endThrough } from '../body/outgoing-body.ts';
import type { Pace } from '../fairness/pace.ts';
import { FrameError, FrameReader, writeClose, writeFrame } from './websocket-frames.ts';
import type { FrameEvent } from './websocket-frames.ts';
import { openWebSocket } from './websocket-handshake.ts';
import type { UpgradeWire } from './wire-upgrade.ts';

export type MessageFilter = (message: SocketMessage) => Filtered;

export interface WebSocketOptions {
  readonly wire: UpgradeWire;
  readonly connect: () => Promise<Socket>;
  readonly target: string;
  /** Name, value, name, value…, with `host`. */
  readonly headers: readonly string[];
  /** Bytes of one message. */
  readonly messageBytes: number;
  /** ms for the origin's answer to the handshake. */
  readonly answerMs: number;
  readonly filters: readonly MessageFilter[];
  /** The turns of its sandbox: a side that used them up is read again when the next one comes. */
  readonly pace: Pace;
  /** What may be shown of the origin's handshake fields. Throws to refuse its answer. */
  readonly visible: (raw: readonly string[]) => readonly string[];
  /** What looks at an answer that is no WebSocket. */
  readonly open: (head: AnswerHead) => readonly ByteTransform[];
  readonly events: {
    data(bytes: number, from: 'client' | 'server'): void;
    /** So many more bytes (or fewer) wait for the rest of their message; false: too many. */
    keep(bytes: number): boolean;
    ended(): void;
    failed(error: Error): void;
  };
}

const closeWithin = 2000;
const nothing = Buffer.alloc(0);

export class WebSocketRelay {
  readonly #options: WebSocketOptions;
  #upstream: Socket | undefined;
  #stopped: Error | undefined;
  #open = false;
  #done = false;

  constructor(options: WebSocketOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const { wire, target, headers, answerMs, visible } = this.#options;
    try {
      const socket = await this.#options.connect();
      this.#upstream = socket;
      if (this.#stopped) throw this.#stopped;
      const opened = await openWebSocket(socket, target, headers, wire.handshake.protocols, answerMs);
      if (this.#stopped) throw this.#stopped;
      if (opened.state === 'answered') {
        this.#answer(opened.answer);
        return;
      }
      this.#open = true;
      wire.accept(opened.protocol, visible(opened.rawHeaders));
      this.#carry(wire.socket, opened.socket, 'client', wire.early);
      this.#carry(opened.socket, wire.socket, 'server', opened.early);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error('the WebSocket could not be opened'));
    }
  }

  /** The origin answered otherwise: that is passed on like any answer. */
  #answer(answer: IncomingMessage): void {
    const { wire, visible } = this.#options;
    const head = { status: answer.statusCode ?? 502, headers: [...visible(answer.rawHeaders)] };
    const transforms = this.#options.open(head);
    const guarded = (step: () => void): void => {
      if (this.#done) return;
      try {
        step();
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error('the answer could not be passed on'));
      }
    };
    wire.head(head.status, head.headers);
    answer.on('data', (chunk: Buffer) => guarded(() => {
      this.#options.events.data(chunk.length, 'server');
      let passed = chunk;
      for (const transform of transforms) passed = transform.next(passed);
      if (passed.length === 0 || wire.write(passed)) return;
      answer.pause();
      wire.onDrain(() => answer.resume());
    }));
    answer.once('error', (error) => this.#fail(error));
    answer.once('end', () => guarded(() => {
      const rest = endThrough(transforms);
      if (rest.length > 0) wire.write(rest);
      wire.end();
      this.#finish();
    }));
  }

  /** Ends the origin's side: the client's is ended by whoever calls. */
  stop(reason: Error): void {
    this.#stopped ??= reason;
    this.#done = true;
    this.#leave();
  }

  #carry(from: Socket, to: Socket, side: 'client' | 'server', early: Buffer): void {
    const { events, filters, messageBytes, pace } = this.#options;
    const reader = new FrameReader(side === 'client', messageBytes);
    const mask = side === 'client';
    let ended = false;
    let kept = 0;
    /** What the side is not read for: the turn of its sandbox, the other side. */
    let waits = 0;
    let draining = false;
    const wait = (start: (goOn: () => void) => void): void => {
      waits += 1;
      from.pause();
      start(() => {
        waits -= 1;
        if (waits === 0) from.resume();
      });
    };
    const send = (frame: Buffer): void => {
      if (to.destroyed || to.writableEnded || to.write(frame) || draining) return;
      draining = true;
      wait((goOn) => to.once('drain', () => {
        draining = false;
        goOn();
      }));
    };
    const keep = (bytes: number): void => {
      const more = bytes - kept;
      kept = bytes;
      if (more !== 0 && !events.keep(more) && more > 0) throw new FrameError(1009, 'too many messages wait for their rest');
    };
    const filtered = (given: Buffer, binary: boolean): Filtered => filters.reduce<Filtered>((data, filter) => {
      const next = (one: Buffer | undefined): Filtered => (one && one.length > 0 ? filter({ from: side, binary, data: one }) : one);
      return data instanceof Promise ? data.then(next) : next(data);
    }, given);
    const pass = (event: FrameEvent, data: Buffer | undefined): void => {
      if (event.kind === 'message') {
        if (data) send(writeFrame(event.binary ? 'binary' : 'text', data, mask));
      } else if (event.kind === 'close') {
        ended = true;
        if (!to.writableEnded) to.end(writeClose(event.code, data?.equals(Buffer.from(event.reason)) ? event.reason : '', mask));
      } else {
        // What was changed may be too long for a control frame; what it says is nobody's business but the sender's.
        send(writeFrame(event.kind, data?.length === event.data.length ? data : nothing, mask));
      }
    };
    const guarded = (step: () => void): void => {
      try {
        step();
      } catch (error) {
        if (error instanceof FrameError) this.#broken(from, side, error);
        else this.#fail(error instanceof Error ? error : new Error('a message could not be passed on'));
      }
    };
    /** While a message is read elsewhere all that came behind it waits, be it the end of the side. */
    const order = new InOrder();
    const through = (events: Iterator<FrameEvent>): void => {
      for (let next = events.next(); !next.done; next = events.next()) {
        const event = next.value;
        const given = event.kind === 'close' ? Buffer.from(event.reason) : event.data;
        const data = filtered(given, event.kind === 'message' ? event.binary : event.kind !== 'close');
        if (data instanceof Promise) {
          elsewhere(event, data, events);
          keep(reader.kept + given.length);
          return;
        }
        pass(event, data);
      }
      keep(reader.kept);
    };
    const elsewhere = (event: FrameEvent, data: Promise<Buffer | undefined>, events: Iterator<FrameEvent>): void => {
      const release = order.hold();
      const goOn = (step: () => void): void => release(() => {
        if (!this.#done && !ended) inTurn(() => guarded(step));
      });
      wait((read) => void data.then((passed) => goOn(() => {
        pass(event, passed);
        through(events);
      }), (error: unknown) => goOn(() => { throw error; })).finally(read));
    };
    const take = (chunk: Buffer): void => {
      if (this.#done || ended) return;
      events.data(chunk.length, side);
      guarded(() => through(reader.read(chunk)));
    };
    from.on('error', () => undefined);
    from.once('close', () => order.run(() => {
      keep(0);
      if (!ended && side === 'server' && !this.#done) this.#fail(new Error('the origin closed the connection'));
      else if (!to.writableEnded) to.end();
      if (side === 'server') this.#finish();
      // Whoever does not answer a goodbye is not waited for.
      const timer = setTimeout(() => to.destroy(), closeWithin);
      to.once('close', () => clearTimeout(timer));
    }));
    from.once('end', () => order.run(() => from.destroySoon()));
    const inTurn = (step: () => void): void => {
      pace.measure(step);
      if (!pace.rests || this.#done || ended) return;
      wait((goOn) => {
        if (!pace.run(goOn)) this.#fail(new Error('too much of this sandbox waits for its turn'));
      });
    };
    const came = (chunk: Buffer): void => {
      if (!this.#done && !ended) order.run(() => inTurn(() => take(chunk)));
    };
    if (early.length > 0) came(early);
    from.on('data', came);
    if (waits === 0) from.resume();
  }

  /** A side broke the protocol: it is told so, and the other that it is over. */
  #broken(from: Socket, side: 'client' | 'server', error: FrameError): void {
    if (side === 'server') {
      goodbye(from, error.code, error.message, true);
      this.#fail(error);
      return;
    }
    if (this.#done) return;
    this.#options.wire.close(error.code, error.message);
    this.#leave();
    this.#finish();
  }

  #fail(error: Error): void {
    if (this.#done) {
      this.#upstream?.destroy();
      return;
    }
    this.#done = true;
    this.#options.events.failed(error);
    this.#leave();
  }

  /** The origin is told that it is over; one that never opened is just left. */
  #leave(): void {
    if (!this.#upstream) return;
    if (this.#open) goodbye(this.#upstream, 1001, 'the client is gone', true);
    else this.#upstream.destroy();
  }

  #finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#options.events.ended();
  }
}

function goodbye(socket: Socket, code: number, reason: string, mask: boolean): void {
  if (socket.destroyed || socket.writableEnded) return;
  socket.end(writeClose(code, reason, mask));
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), closeWithin);
  socket.once('close', () => clearTimeout(timer));
}
