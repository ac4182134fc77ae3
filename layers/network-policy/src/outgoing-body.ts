/** The body of a request on its way out: follows the client's pace, and stops dead when a known secret shows. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { SecretWatch } from './known-secrets.ts';

/** A secret was found in the body; the request must not be completed. */
export class SecretInBody extends Error {}

/** A stream of its own, so that its end or failure never closes the client's connection. */
export class OutgoingBody extends Readable {
  readonly #from: IncomingMessage;
  readonly #watch: SecretWatch | undefined;
  bytes = 0;

  constructor(from: IncomingMessage, watch: SecretWatch | undefined) {
    super({ highWaterMark: 64 * 1024 });
    this.#from = from;
    this.#watch = watch;
    from.on('data', this.#take);
    from.once('end', this.#finish);
    from.once('close', this.#gone);
    from.pause();
  }

  override _read(): void {
    this.#from.resume();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#from.off('data', this.#take);
    this.#from.off('end', this.#finish);
    this.#from.off('close', this.#gone);
    done(error);
  }

  readonly #take = (chunk: Buffer): void => {
    this.bytes += chunk.length;
    const passed = this.#watch ? this.#watch.next(chunk) : chunk;
    if (passed === undefined) {
      this.destroy(new SecretInBody('the body holds a secret of this sandbox'));
      return;
    }
    if (passed.length > 0 && !this.push(passed)) this.#from.pause();
  };

  readonly #finish = (): void => {
    const rest = this.#watch?.rest();
    if (rest && rest.length > 0) this.push(rest);
    this.push(null);
  };

  readonly #gone = (): void => {
    if (!this.#from.complete) this.destroy(new Error('the client went away'));
  };
}

/** Reads a whole body of at most `limit` bytes; undefined if it is longer or the client goes away. */
export function collectBody(from: IncomingMessage, limit: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (result: Buffer | undefined): void => {
      from.off('data', take);
      from.off('end', whole);
      from.off('close', gone);
      resolve(result);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > limit) {
        from.pause();
        stop(undefined);
      } else chunks.push(chunk);
    };
    const whole = (): void => stop(Buffer.concat(chunks));
    const gone = (): void => stop(undefined);
    from.on('data', take);
    from.once('end', whole);
    from.once('close', gone);
  });
}
