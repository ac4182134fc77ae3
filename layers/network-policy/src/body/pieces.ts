/** Bytes that come in pieces and are kept until they are whole: countless small ones take little more memory than their bytes. */

/** Bytes of a piece that is kept as it came. */
const large = 4096;
const slabBytes = 16 * 1024;
const nothing: Buffer = Buffer.alloc(0);

export class Pieces {
  #all: Buffer[] = [];
  #slab: Buffer = nothing;
  #used = 0;
  size = 0;

  add(piece: Buffer): void {
    if (piece.length === 0) return;
    this.size += piece.length;
    // Most come in one.
    if (piece.length >= large || this.size === piece.length) {
      this.#seal();
      this.#all.push(piece);
      return;
    }
    if (this.#used + piece.length > this.#slab.length) {
      this.#seal();
      this.#slab = Buffer.allocUnsafeSlow(slabBytes);
    }
    this.#used += piece.copy(this.#slab, this.#used);
  }

  /** All of them as one. */
  whole(): Buffer {
    this.#seal();
    return Buffer.concat(this.#all);
  }

  /** All of them, in order; they are kept here no more. */
  take(): Buffer[] {
    this.#seal();
    const all = this.#all;
    this.#all = [];
    this.size = 0;
    return all;
  }

  #seal(): void {
    if (this.#used > 0) this.#all.push(this.#slab.subarray(0, this.#used));
    this.#slab = nothing;
    this.#used = 0;
  }
}
