/** One request as a protocol delivered it, and the way its answer goes back: what an exchange sees of HTTP/1.1 or HTTP/2. */
import type { Readable } from 'node:stream';
import type { Decision } from '@nemoclaw/contract';
import type { IncomingFields } from './request-check.ts';

export interface Wire {
  readonly version: '1.1' | '2';
  /** Method, target and header fields; `:authority` of HTTP/2 stands among them as `host`. */
  readonly fields: IncomingFields;
  /** The body, at the client's pace; nobody reads it until somebody has to. */
  readonly body: Readable;
  /** Whether nothing more of the request is to come. A request without a body is uploaded as soon as its head is there. */
  uploaded(): boolean;
  /** Whether the body came to its end in order. */
  complete(): boolean;
  /** Name, value, name, value…: the fields after the body, once it is complete. */
  trailers(): readonly string[];

  /** Whether the final head went out. */
  readonly headSent: boolean;
  /** Whether nothing can be sent any more. */
  readonly gone: boolean;
  /** Answers `Expect: 100-continue`, once, if the client asked for it. */
  goOn(): void;
  /** An interim answer (103 and others; never 100, 101). */
  interim(status: number, headers: readonly string[]): void;
  /** The final head: name, value, name, value…, without hop-by-hop fields. `alone`: nothing follows it. */
  head(status: number, headers: readonly string[], alone?: boolean): void;
  /** False: wait for `onDrain`. */
  write(chunk: Buffer): boolean;
  /** Calls back once, when more can be written. */
  onDrain(listener: () => void): void;
  /** The answer ended in order; trailers only where the protocol carries them. */
  end(trailers?: readonly string[]): void;
  /** The answer ended out of order: the client must see that it is not whole, and why, where the protocol can say it. */
  cut(because?: Decision): void;
  /** Calls back once, when the answer is out or the client is gone. */
  onClose(listener: () => void): void;
  /** Calls back once, perhaps at once, when the client has closed its side of the connection: it may still read, or be gone. Absent where the protocol tells the two apart. */
  onHalfClose?(listener: () => void): void;
  /** What follows on this connection is not trusted: it ends with this answer. */
  distrust(): void;
}
