/** Synthetic addresses, one pair per allowed name and sandbox, stable both ways: IPv4 out of 198.18.0.0/15 (RFC 2544), and the same number below 64:ff9b:1::/96 (RFC 8215) as IPv6. Neither is ever routed. */
import { addressBytes } from './address-bytes.ts';

const base = (198 << 24) | (18 << 16);
const size = 1 << 17;
const prefix6 = Buffer.from('0064ff9b000100000000000000000000', 'hex');

export class SyntheticAddresses {
  readonly #byName = new Map<string, string>();
  readonly #byAddress = new Map<string, string>();
  readonly #limit: number;

  /** `limit`: names kept; a sandbox that asks for more gets no address for the new ones. */
  constructor(limit = 16_384) {
    this.#limit = Math.min(limit, size - 2);
  }

  /** The IPv4 address of `name` (lower case), given out on first use; undefined when full. */
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

  /** The name that an address of either family was given out for. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address.includes(':') ? (fromSix(address) ?? '') : address);
  }
}

/** Whether an address lies in a synthetic range: 198.18.0.0/15, or 64:ff9b:1::/48, of which only the first /96 is given out. */
export function isSynthetic(address: string): boolean {
  if (address.startsWith('198.18.') || address.startsWith('198.19.')) return true;
  return address.includes(':') && addressBytes(address)?.subarray(0, 6).equals(prefix6.subarray(0, 6)) === true;
}

/** The bytes of the IPv6 address that belongs to a synthetic IPv4 address. */
export function sixOf(address: string): Buffer {
  return Buffer.concat([prefix6.subarray(0, 12), addressBytes(address) ?? Buffer.alloc(4)]);
}

function fromSix(address: string): string | undefined {
  const bytes = addressBytes(address);
  return bytes?.subarray(0, 12).equals(prefix6.subarray(0, 12)) ? [...bytes.subarray(12)].join('.') : undefined;
}
