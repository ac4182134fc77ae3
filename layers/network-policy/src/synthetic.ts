/** Synthetic addresses out of 198.18.0.0/15, one per allowed name and sandbox, stable both ways. */

const base = (198 << 24) | (18 << 16);
const size = 1 << 17;

export class SyntheticAddresses {
  readonly #byName = new Map<string, string>();
  readonly #byAddress = new Map<string, string>();
  readonly #limit: number;

  /** `limit`: names kept; a sandbox that asks for more gets no address for the new ones. */
  constructor(limit = 16_384) {
    this.#limit = Math.min(limit, size - 2);
  }

  /** The address of `name` (lower case), given out on first use; undefined when full. */
  addressOf(name: string): string | undefined {
    const known = this.#byName.get(name);
    if (known) return known;
    if (this.#byName.size >= this.#limit) return undefined;
    const number = (base + this.#byName.size + 1) >>> 0;
    const address = `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}`;
    this.#byName.set(name, address);
    this.#byAddress.set(address, name);
    return address;
  }

  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address);
  }
}

/** Whether an IPv4 address lies in the synthetic range. */
export function isSynthetic(address: string): boolean {
  return address.startsWith('198.18.') || address.startsWith('198.19.');
}
