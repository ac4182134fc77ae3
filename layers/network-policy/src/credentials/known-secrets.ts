/** Finds the sandbox's own secrets in what leaves it, plain or in the usual encodings, also across chunk boundaries; and masks them in what comes back. */
import { compileKnown, type KnownSet } from '@nemoclaw/detect';

export class KnownSecrets {
  /** For searches that look for other things as well. */
  readonly known: KnownSet;
  readonly #needles: readonly Buffer[];
  /** By their first byte. */
  readonly #starting: Readonly<Partial<Record<number, readonly Buffer[]>>>;
  /** In small letters: HTTP/2 has no others in names. */
  readonly #folded: readonly string[];
  /** Bytes that a match may reach back over a chunk boundary. */
  readonly #reach: number;

  constructor(secrets: readonly string[]) {
    this.known = compileKnown([...secrets]);
    this.#needles = this.known.byteNeedles.map((needle) => Buffer.from(needle, 'latin1'));
    this.#starting = Object.groupBy(this.#needles, (needle) => needle[0] ?? 0);
    this.#folded = this.known.needles.map((needle) => needle.toLowerCase());
    this.#reach = this.#needles.reduce((longest, needle) => Math.max(longest, needle.length), 1) - 1;
  }

  get empty(): boolean {
    return this.#needles.length === 0;
  }

  inText(text: string): boolean {
    return this.known.needles.some((needle) => text.includes(needle));
  }

  /** In the name of a host, which has no capitals; its dots may cut a value into labels. */
  inHost(name: string): boolean {
    const whole = name.replaceAll('.', '');
    return this.#folded.some((needle) => name.includes(needle) || whole.includes(needle));
  }

  inBytes(bytes: Buffer): boolean {
    return this.#needles.some((needle) => bytes.includes(needle));
  }

  /** Watches a stream: `next` gives the bytes that may go on, and undefined once a secret showed. The last bytes wait until they cannot be the start of one. `now`: those of the moment, where a stream may outlive them. */
  watch(now: () => KnownSecrets = () => this): SecretWatch {
    let kept: Buffer = Buffer.alloc(0);
    return {
      next: (chunk) => {
        const all = kept.length > 0 ? Buffer.concat([kept, chunk]) : chunk;
        const known = now();
        if (known.inBytes(all)) return undefined;
        const hold = known.#suspicious(all);
        kept = Buffer.from(all.subarray(all.length - hold));
        return all.subarray(0, all.length - hold);
      },
      rest: () => kept,
    };
  }

  /** Masks a stream: each secret becomes as many asterisks, so that no length changes. `count`: how many there were. `now`: as for `watch`. */
  mask(now: () => KnownSecrets = () => this): SecretMask {
    let kept: Buffer = Buffer.alloc(0);
    let count = 0;
    return {
      next: (chunk) => {
        const all = kept.length > 0 ? Buffer.concat([kept, chunk]) : chunk;
        const known = now();
        const masked = known.maskBytes(all);
        count += masked.count;
        const hold = known.#suspicious(masked.bytes);
        kept = Buffer.from(masked.bytes.subarray(masked.bytes.length - hold));
        return masked.bytes.subarray(0, masked.bytes.length - hold);
      },
      rest: () => kept,
      get count() {
        return count;
      },
    };
  }

  /** The same bytes where there is none; else a copy. */
  maskBytes(bytes: Buffer): { readonly bytes: Buffer; readonly count: number } {
    let copy: Buffer | undefined;
    let count = 0;
    for (const needle of this.#needles) {
      for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) {
        copy ??= Buffer.from(bytes);
        copy.fill('*', at, at + needle.length);
        count += 1;
      }
    }
    return { bytes: copy ?? bytes, count };
  }

  /** Header fields (name, value, …) with each secret in a value masked; a field whose name shows one, in any case, is left out. */
  maskFields(fields: readonly string[]): string[] {
    const shows = (text: string): boolean => this.#folded.some((needle) => text.includes(needle));
    if (this.empty || !shows(fields.join('\n').toLowerCase())) return [...fields];
    const out: string[] = [];
    for (let i = 0; i + 1 < fields.length; i += 2) {
      const name = fields[i] ?? '';
      const value = fields[i + 1] ?? '';
      if (!shows(name.toLowerCase())) out.push(name, this.inText(value) ? this.maskBytes(Buffer.from(value, 'latin1')).bytes.toString('latin1') : value);
    }
    return out;
  }

  /** Length of the longest tail that is the beginning of some needle. */
  #suspicious(bytes: Buffer): number {
    const tail = bytes.subarray(Math.max(0, bytes.length - this.#reach));
    for (let at = 0; at < tail.length; at += 1) {
      const size = tail.length - at;
      for (const needle of this.#starting[tail[at] ?? 0] ?? []) if (size < needle.length && tail.compare(needle, 0, size, at) === 0) return size;
    }
    return 0;
  }
}

export interface SecretWatch {
  next(chunk: Buffer): Buffer | undefined;
  rest(): Buffer;
}

export interface SecretMask {
  next(chunk: Buffer): Buffer;
  rest(): Buffer;
  readonly count: number;
}
