/** Finds the sandbox's own secrets in what leaves it, plain or in the usual encodings, also across chunk boundaries. */

/** A secret shorter than this would hit by chance and is only matched whole. */
const shortest = 6;

export class KnownSecrets {
  readonly #needles: readonly Buffer[];
  readonly #texts: readonly string[];
  /** Bytes that a match may reach back over a chunk boundary. */
  readonly #reach: number;

  constructor(secrets: readonly string[]) {
    const spelled = new Set(secrets.filter((secret) => secret.length >= shortest).flatMap(spellings));
    this.#texts = [...spelled];
    this.#needles = this.#texts.map((text) => Buffer.from(text, 'utf8'));
    this.#reach = this.#needles.reduce((longest, needle) => Math.max(longest, needle.length), 1) - 1;
  }

  get empty(): boolean {
    return this.#needles.length === 0;
  }

  inText(text: string): boolean {
    return this.#texts.some((needle) => text.includes(needle));
  }

  inBytes(bytes: Buffer): boolean {
    return this.#needles.some((needle) => bytes.includes(needle));
  }

  /** Watches a stream: `next` gives the bytes that may go on, and undefined once a secret showed. The last bytes wait until they cannot be the start of one. */
  watch(): SecretWatch {
    let kept: Buffer = Buffer.alloc(0);
    return {
      next: (chunk) => {
        const all = kept.length > 0 ? Buffer.concat([kept, chunk]) : chunk;
        if (this.inBytes(all)) return undefined;
        const hold = this.#suspicious(all);
        kept = Buffer.from(all.subarray(all.length - hold));
        return all.subarray(0, all.length - hold);
      },
      rest: () => kept,
    };
  }

  /** Length of the longest tail that is the beginning of some needle. */
  #suspicious(bytes: Buffer): number {
    const tail = bytes.subarray(Math.max(0, bytes.length - this.#reach));
    let longest = 0;
    for (const needle of this.#needles) {
      for (let size = Math.min(tail.length, needle.length - 1); size > longest; size -= 1) {
        if (tail.subarray(tail.length - size).equals(needle.subarray(0, size))) longest = size;
      }
    }
    return longest;
  }
}

export interface SecretWatch {
  next(chunk: Buffer): Buffer | undefined;
  rest(): Buffer;
}

/** The secret itself, percent-encoded, hex, JSON-escaped, and base64 at each of the three alignments without the characters that neighbours change. */
function spellings(secret: string): string[] {
  const bytes = Buffer.from(secret, 'utf8');
  const out = [secret, encodeURIComponent(secret), bytes.toString('hex'), bytes.toString('hex').toUpperCase(), JSON.stringify(secret).slice(1, -1)];
  for (let shift = 0; shift < 3; shift += 1) {
    const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64').replace(/=+$/, '');
    const from = shift === 0 ? 0 : shift + 1;
    const end = (shift + bytes.length) % 3 === 0 ? text.length : text.length - 1;
    const core = text.slice(from, end);
    if (core.length >= shortest) out.push(core, core.replaceAll('+', '-').replaceAll('/', '_'));
  }
  return out;
}
