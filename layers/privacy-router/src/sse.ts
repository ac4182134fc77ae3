/** Cuts a byte stream into server-sent events; the same events however the bytes are chunked. */

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

export class SseParser {
  readonly #onData: (data: string) => void;
  readonly #maxEvent: number;
  /** Bytes of a line whose end has not come. */
  #partial: Buffer[] = [];
  #partialSize = 0;
  #data: string[] = [];
  #dataSize = 0;
  #lastWasReturn = false;
  #first = true;

  /** `onData` gets the data of each complete event; `maxEvent` in bytes. */
  constructor(onData: (data: string) => void, maxEvent: number) {
    this.#onData = onData;
    this.#maxEvent = maxEvent;
  }

  /** Throws RangeError if one event is larger than `maxEvent`. An event that the stream does not finish is dropped, as the standard says. */
  push(chunk: Buffer): void {
    let start = 0;
    if (this.#lastWasReturn && chunk.length > 0) {
      this.#lastWasReturn = false;
      if (chunk[0] === lineFeed) start = 1;
    }
    let feed = chunk.indexOf(lineFeed, start);
    let back = chunk.indexOf(carriageReturn, start);
    while (feed >= 0 || back >= 0) {
      const isReturn = feed < 0 || (back >= 0 && back < feed);
      const end = isReturn ? back : feed;
      this.#line(chunk, start, end);
      start = end + 1;
      if (isReturn) {
        if (start === chunk.length) this.#lastWasReturn = true;
        else if (chunk[start] === lineFeed) start += 1;
      }
      if (feed >= 0 && feed < start) feed = chunk.indexOf(lineFeed, start);
      if (back >= 0 && back < start) back = chunk.indexOf(carriageReturn, start);
    }
    if (start < chunk.length) {
      const rest = chunk.subarray(start);
      this.#partial.push(rest);
      this.#partialSize += rest.length;
      this.#check();
    }
  }

  #line(chunk: Buffer, start: number, end: number): void {
    let line: string;
    if (this.#partial.length === 0) line = chunk.toString('utf8', start, end);
    else {
      this.#partial.push(chunk.subarray(start, end));
      line = Buffer.concat(this.#partial).toString('utf8');
      this.#partial = [];
      this.#partialSize = 0;
    }
    if (this.#first) {
      this.#first = false;
      if (line.startsWith('\uFEFF')) line = line.slice(1);
    }
    if (line === '') {
      if (this.#data.length === 0) return;
      const data = this.#data.length === 1 ? (this.#data[0] ?? '') : this.#data.join('\n');
      this.#data = [];
      this.#dataSize = 0;
      this.#onData(data);
    } else if (line.startsWith('data:')) {
      const data = line.charCodeAt(5) === 0x20 ? line.slice(6) : line.slice(5);
      this.#data.push(data);
      this.#dataSize += data.length;
      this.#check();
    } else if (line === 'data') this.#data.push('');
  }

  #check(): void {
    if (this.#partialSize + this.#dataSize > this.#maxEvent) throw new RangeError(`one event is over ${this.#maxEvent} bytes`);
  }
}
