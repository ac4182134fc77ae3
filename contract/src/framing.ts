/** Framing of the links between services: 4-byte big-endian length, then UTF-8 JSON. Pure; no I/O. */

export const maxFrame = 4 * 1024 * 1024;

/** One message as bytes. Throws RangeError if it is larger than `maxFrame`. */
export function encodeFrame(message: unknown): Buffer {
  const text = JSON.stringify(message);
  const size = Buffer.byteLength(text);
  if (size > maxFrame) throw new RangeError(`frame of ${size} bytes is over ${maxFrame}`);
  const out = Buffer.allocUnsafe(4 + size);
  out.writeUInt32BE(size, 0);
  out.write(text, 4, 'utf8');
  return out;
}

/** Cuts a byte stream into messages. `push` throws on an oversized frame or invalid JSON: the link must then be closed. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #size = 0;

  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    const messages: unknown[] = [];
    for (;;) {
      if (this.#size < 4) return messages;
      const first = this.#gather(4);
      const size = first.readUInt32BE(0);
      if (size > maxFrame) throw new RangeError(`frame of ${size} bytes is over ${maxFrame}`);
      if (this.#size < 4 + size) return messages;
      const all = this.#gather(4 + size);
      messages.push(JSON.parse(all.toString('utf8', 4, 4 + size)));
      const rest = all.subarray(4 + size);
      this.#chunks = rest.length > 0 ? [rest, ...this.#chunks.slice(1)] : this.#chunks.slice(1);
      this.#size -= 4 + size;
    }
  }

  /** Joins chunks until the first holds at least `need` bytes; keeps the others as they are, so long frames are copied once. */
  #gather(need: number): Buffer {
    const head = this.#chunks[0];
    if (head && head.length >= need) return head;
    let taken = 0;
    let count = 0;
    for (const chunk of this.#chunks) {
      taken += chunk.length;
      count += 1;
      if (taken >= need) break;
    }
    const joined = Buffer.concat(this.#chunks.slice(0, count));
    this.#chunks = [joined, ...this.#chunks.slice(count)];
    return joined;
  }
}
