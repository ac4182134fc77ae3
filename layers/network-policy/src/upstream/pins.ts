/** Names that the policy fixes to addresses, or to a trust anchor of their own; and those that are spoken to in HTTP/1.1. */
import { isIP } from 'node:net';

/** A name (`host` or `*.suffix`) fixed to addresses by the policy, or to blocks of them (`10.1.0.0/16`), in which what it resolves to must lie. `caPem`: its certificate has to come from this anchor instead of the public ones. */
export interface Pin {
  readonly host: string;
  readonly addresses: readonly string[];
  readonly caPem?: string;
  /** What came over HTTP/1.1 goes on over it, whatever else is spoken there. */
  readonly http1?: boolean;
}

/** A name that only says a version is none of those where it leads: what a wider name says of that holds. */
export const pinsByHost = (pins: readonly Pin[]): Map<string, Pin> => byHost(pins.filter(({ addresses, caPem, http1 }) => addresses.length > 0 || caPem !== undefined || http1 !== true));
export const http1ByHost = (pins: readonly Pin[]): Map<string, Pin> => byHost(pins.filter(({ http1 }) => http1 === true));
const byHost = (pins: readonly Pin[]): Map<string, Pin> => new Map(pins.map((pin) => [pin.host.toLowerCase(), pin]));

/** The pin of the host itself, else of the longest suffix. */
export function pinFor(pins: ReadonlyMap<string, Pin>, host: string): Pin | undefined {
  const exact = pins.get(host);
  if (exact || isIP(host) !== 0) return exact;
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
    const wide = pins.get(`*${host.slice(dot)}`);
    if (wide) return wide;
  }
  return undefined;
}

/** Those that are no blocks. */
export function fixedAddresses(pin: Pin | undefined): readonly string[] {
  return pin?.addresses.filter((address) => !address.includes('/')) ?? [];
}

export function samePin(a: Pin | undefined, b: Pin | undefined): boolean {
  return a?.caPem === b?.caPem && (a?.addresses ?? []).join() === (b?.addresses ?? []).join();
}
