/** The names that an intermediate can vouch for (RFC 5280 §4.2.1.10): shared out among its certificates, written and read. */
import { elements, sequence, tlv } from './der.ts';

/** Names of one certificate. A client is sent all of them, and compares them, with each handshake. */
const most = 16;

/** Hosts and `*.suffix`es, as many lists of them as certificates are needed; what a suffix covers is not named beside it, nor a name beside one that it lies below: those of a list have equally many labels. */
export function namesByCertificate(names: readonly string[]): readonly (readonly string[])[] {
  const all = [...new Set(names.map((name) => name.toLowerCase()))];
  const suffixes = all.filter((name) => name.startsWith('*.')).map((name) => name.slice(1));
  const needed = all.filter((name) => !suffixes.some((suffix) => name.endsWith(suffix) && name !== `*${suffix}`));
  const byLabels = Map.groupBy(needed, (name) => name.split('.').length);
  return [...byLabels.values()].flatMap((some) => Array.from({ length: Math.ceil(some.length / most) }, (_, i) => some.slice(i * most, (i + 1) * most)));
}

/** The value of the extension, for one such list. A dNSName subtree also covers what lies below it, so below a host is excluded again; so is every address. */
export function nameConstraints(names: readonly string[]): Buffer {
  const bases = names.map((name) => (name.startsWith('*.') ? name.slice(1) : name));
  const permitted = bases.map((base) => dnsSubtree(base));
  const excluded = bases.filter((base) => !base.startsWith('.')).map((base) => dnsSubtree(`.${base}`));
  const addresses = [sequence(tlv(0x87, Buffer.alloc(8))), sequence(tlv(0x87, Buffer.alloc(32)))];
  return sequence(tlv(0xa0, ...permitted), tlv(0xa1, ...excluded, ...addresses));
}
const dnsSubtree = (base: string): Buffer => sequence(tlv(0x82, Buffer.from(base, 'latin1')));

/** Whether the value of the extension, as `nameConstraints` writes it, names `host` or a suffix of it. */
export function vouchesFor(constraints: Buffer, host: string): boolean {
  const [permitted] = elements(elements(constraints)[0]?.content ?? Buffer.alloc(0));
  return elements(permitted?.content ?? Buffer.alloc(0)).some(({ content }) => {
    const base = elements(content)[0]?.content.toString('latin1') ?? '';
    return base.startsWith('.') ? host.endsWith(base) : host === base;
  });
}
