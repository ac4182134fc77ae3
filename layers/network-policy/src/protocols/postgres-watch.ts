/** What a PostgreSQL client says after its login, message by message: all that is said in them is taken out to be inspected before they go on. */
import { BinaryCopy, valuesOfMessage, type Spoken } from './postgres-values.ts';

const copyData = 'd';
const row = 'a copied row';
/** Bytes that a value may reach back over what was said before. */
export const carried = 2048;
const nothing = Buffer.alloc(0);

/** `pass`: whole messages that may go on once what is `spoken` in them is judged. `problem`: what follows is not read, and does not go on. */
export interface Watched {
  readonly pass: Buffer;
  readonly spoken: readonly Spoken[];
  readonly problem?: string;
}

export class PostgresWatch {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #kept = 0;
  #need = 5;
  #rows: Buffer = nothing;
  /** The copy that is under way. */
  #copy: BinaryCopy | undefined;
  /** Bytes of a long message that pass without being kept, because nothing is looked for. */
  #skip = 0;

  /** `limit`: bytes of one message at most. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes of a message, and of a copied field, that are not whole yet. */
  get kept(): number {
    return this.#kept + (this.#copy?.kept ?? 0);
  }

  /** `inspects`: whether something is looked for. */
  next(given: Buffer, inspects: boolean): Watched {
    if (inspects && this.#skip > 0) return { pass: nothing, spoken: [], problem: 'a message that began unread goes on' };
    const skipped = given.subarray(0, this.#skip);
    this.#skip -= skipped.length;
    if (skipped.length === given.length) return { pass: given, spoken: [] };
    const chunk = given.subarray(skipped.length);
    if (this.#parts.length === 0 && skipped.length > 0) {
      const rest = this.next(chunk, inspects);
      return { ...rest, pass: Buffer.concat([skipped, rest.pass]) };
    }
    this.#parts.push(chunk);
    this.#kept += chunk.length;
    if (this.#kept < this.#need) return { pass: nothing, spoken: [] };
    const all = Buffer.concat(this.#parts);
    const spoken: Spoken[] = [];
    let at = 0;
    let problem: string | undefined;
    for (;;) {
      this.#need = 5;
      if (all.length - at < 5) break;
      const length = all.readUInt32BE(at + 1);
      if (length + 1 > this.#limit && !inspects) {
        this.#skip = Math.max(0, length + 1 - (all.length - at));
        at = Math.min(all.length, at + length + 1);
        if (this.#skip > 0) break;
        continue;
      }
      if (length < 4 || length + 1 > this.#limit) {
        problem = length < 4 ? 'a message has a wrong length' : 'a message is larger than what is inspected';
        break;
      }
      this.#need = length + 1;
      if (all.length - at < this.#need) break;
      if (inspects && !this.#take(all.toString('latin1', at, at + 1), all.subarray(at + 5, at + 1 + length), spoken)) {
        problem = 'a message is none that is known here';
        break;
      }
      at += length + 1;
    }
    const rest = all.subarray(at);
    this.#parts = rest.length > 0 ? [Buffer.from(rest)] : [];
    this.#kept = rest.length;
    return { pass: all.subarray(0, at), spoken, ...(problem === undefined ? {} : { problem }) };
  }

  /** False where it cannot be read. */
  #take(type: string, body: Buffer, into: Spoken[]): boolean {
    if (type !== copyData) {
      // A server that reads rows passes over these (Flush and Sync), and reads on.
      if (type !== 'H' && type !== 'S') {
        this.#rows = nothing;
        this.#copy = undefined;
      }
      const values = valuesOfMessage(type, body);
      into.push(...values ?? []);
      return values !== undefined;
    }
    // Rows follow each other without a break, and clients send each in a message of its own.
    const last = into.at(-1);
    if (last?.place === row) last.text.push(body);
    else into.push({ place: row, text: [this.#rows, body] });
    const rows = body.length < carried ? Buffer.concat([this.#rows, body]) : body;
    this.#rows = Buffer.from(rows.subarray(Math.max(0, rows.length - carried)));
    this.#copy ??= new BinaryCopy();
    into.unshift(...this.#copy.next(body));
    return true;
  }
}

/** Follows the server's messages by their lengths only: whether the last byte that came was the end of one. */
export class MessageEnds {
  #head = Buffer.alloc(5);
  #have = 0;
  #left = 0;

  get whole(): boolean {
    return this.#have === 0 && this.#left === 0;
  }

  next(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      this.#head[this.#have] = chunk[at] ?? 0;
      this.#have += 1;
      at += 1;
      if (this.#have < 5) continue;
      this.#have = 0;
      this.#left = Math.max(0, this.#head.readUInt32BE(1) - 4);
    }
  }
}
