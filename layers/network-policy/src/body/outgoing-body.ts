/** The body of a request on its way out: follows the client's pace, and stops dead when a transform says so. */
import { Readable } from 'node:stream';
import type { PatientTransform } from '../hooks.ts';
import { InOrder, through } from './in-order.ts';
import type { Pace } from '../fairness/pace.ts';
import { Pieces } from './pieces.ts';
import type { Wire } from '../http/wire.ts';

/** A stream of its own, so that its end or failure never closes the client's connection. */
export class OutgoingBody extends Readable {
  readonly #wire: Wire;
  readonly #transforms: readonly PatientTransform[];
  readonly #pace: Pace;
  readonly #order = new InOrder();
  /** What the next bytes wait for: the sandbox has worked through its share, or those before them are looked at elsewhere. */
  #waits = 0;
  bytes = 0;

  constructor(wire: Wire, transforms: readonly PatientTransform[], pace: Pace) {
    super({ highWaterMark: 64 * 1024 });
    // It may fail before anybody has taken it, and nobody may ever.
    this.on('error', () => undefined);
    this.#wire = wire;
    this.#transforms = transforms;
    this.#pace = pace;
    const from = wire.body;
    from.on('data', this.#take);
    from.once('end', this.#finish);
    from.once('close', this.#gone);
    from.pause();
  }

  override _read(): void {
    if (this.#waits === 0) this.#wire.body.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const from = this.#wire.body;
    from.off('data', this.#take);
    from.off('end', this.#finish);
    from.off('close', this.#gone);
    done(error);
  }

  readonly #take = (chunk: Buffer): void => this.#order.run(() => this.#taken(chunk));

  #taken(chunk: Buffer): void {
    if (this.destroyed) return;
    this.bytes += chunk.length;
    const pace = this.#transforms.length > 0 ? this.#pace : undefined;
    pace?.measure(() => this.#pass(chunk));
    if (!pace) this.#pass(chunk);
    if (!pace?.rests || this.#waits > 0 || this.destroyed) return;
    this.#wait((goOn) => {
      if (!pace.run(goOn)) this.destroy(new Error('too much of this sandbox waits for its turn'));
    });
  }

  #wait(start: (goOn: () => void) => void): void {
    this.#waits += 1;
    this.#wire.body.pause();
    start(() => {
      this.#waits -= 1;
      if (this.#waits === 0 && !this.destroyed && this.readableLength < this.readableHighWaterMark) this.#wire.body.resume();
    });
  }

  #pass(chunk: Buffer): void {
    this.#guarded(() => {
      const passed = through(this.#transforms, chunk);
      if (passed instanceof Promise) this.#elsewhere(passed);
      else this.#send(passed);
    });
  }

  #elsewhere(passed: Promise<Buffer>): void {
    const release = this.#order.hold();
    this.#wait((goOn) => void passed.then((bytes) => release(() => this.#send(bytes)), (error: unknown) => release(() => this.#guarded(() => { throw error; }))).finally(goOn));
  }

  #send(passed: Buffer): void {
    if (passed.length > 0 && !this.destroyed && !this.push(passed)) this.#wire.body.pause();
  }

  readonly #finish = (): void => this.#order.run(() => {
    if (this.destroyed) return;
    if (!this.#wire.complete()) {
      this.#gone();
      return;
    }
    this.#guarded(() => {
      const rest = endThrough(this.#transforms);
      if (rest.length > 0) this.push(rest);
      this.push(null);
    });
  });

  readonly #gone = (): void => {
    if (!this.#wire.complete()) this.destroy(new Error('the client went away'));
  };

  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error('a transform failed'));
    }
  }
}

/** Nobody takes the rest of it: an answer may come before the end of what it answers. */
export function leaveBody(body: Buffer | OutgoingBody | null): void {
  if (body && !Buffer.isBuffer(body) && !body.destroyed) body.destroy();
}

/** What all transforms still hold, each one's rest led through those after it. Throws where one of those would take its time: messages leave no rest. */
export function endThrough(transforms: readonly PatientTransform[]): Buffer {
  let rest: Buffer = Buffer.alloc(0);
  for (const transform of transforms) {
    const passed = rest.length > 0 ? transform.next(rest) : rest;
    if (passed instanceof Promise) throw new Error('a rest comes behind the last message');
    const last = transform.end();
    rest = passed.length > 0 ? (last.length > 0 ? Buffer.concat([passed, last]) : passed) : last;
  }
  return rest;
}

/** Reads a whole body of at most `limit` bytes: `long` where it is longer, and then all of it is still to be read from there; `full` where `room` says that there is none for that many more; `late` after `ms` and 1 ms more for every 4 bytes; `gone` if the client goes away. */
export function collectBody(from: Readable, limit: number, ms: number, room: (more: number) => boolean): Promise<Buffer | 'long' | 'full' | 'late' | 'gone'> {
  return new Promise((resolve) => {
    const chunks = new Pieces();
    let size = 0;
    let paid = 0;
    const late = (): void => {
      const more = Math.floor((size - paid) / 4);
      paid = size;
      if (more > 0) timer = setTimeout(late, more);
      else {
        from.pause();
        stop('late');
      }
    };
    let timer = setTimeout(late, ms);
    const stop = (result: Buffer | 'long' | 'full' | 'late' | 'gone'): void => {
      clearTimeout(timer);
      from.off('data', take);
      from.off('end', whole);
      from.off('close', gone);
      resolve(result);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size <= limit && room(chunk.length)) {
        chunks.add(chunk);
        return;
      }
      from.pause();
      stop(size > limit ? 'long' : 'full');
      if (size <= limit) return;
      // Now, and not later: its end may be on its way, and behind that nothing can be put back.
      for (const piece of [...chunks.take(), chunk].toReversed()) from.unshift(piece);
    };
    const whole = (): void => stop(chunks.whole());
    const gone = (): void => stop('gone');
    from.on('data', take);
    from.once('end', whole);
    from.once('close', gone);
  });
}
