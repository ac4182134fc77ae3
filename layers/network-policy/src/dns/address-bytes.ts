/** IP addresses between text, bytes and the names of reverse DNS. Pure. */
import { isIP } from 'node:net';

/** The 4 or 16 bytes of an address in any spelling that Node's isIP takes; undefined for anything else, and for one with a zone. */
export function addressBytes(text: string): Buffer | undefined {
  const family = isIP(text);
  if (family === 4) return Buffer.from(text.split('.').map(Number));
  if (family !== 6 || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const [, lead = '', a = 0, b = 0, c = 0, d = 0] = dotted ?? [];
  const plain = dotted ? `${lead}${((Number(a) << 8) | Number(b)).toString(16)}:${((Number(c) << 8) | Number(d)).toString(16)}` : text;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  const all = [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** One spelling for every address (RFC 5952; an IPv4-mapped one becomes IPv4), or undefined for what is none. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = addressBytes(text);
  if (!bytes) return undefined;
  if (bytes.length === 4) return [...bytes].join('.');
  if (bytes.subarray(0, 12).equals(mapped)) return [...bytes.subarray(12)].join('.');
  return new URL(`http://[${text}]/`).hostname.slice(1, -1);
}
const mapped = Buffer.from('00000000000000000000ffff', 'hex');

/** The address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseAddress(name: string): string | undefined {
  const labels = name.split('.').toReversed();
  if (labels.shift() !== 'arpa') return undefined;
  const family = labels.shift();
  if (family === 'in-addr' && labels.length === 4) return canonicalAddress(labels.join('.'));
  if (family !== 'ip6' || labels.length !== 32 || !labels.every((label) => /^[0-9a-f]$/.test(label))) return undefined;
  return canonicalAddress(labels.join('').replace(/.{4}(?=.)/g, '$&:'));
}
