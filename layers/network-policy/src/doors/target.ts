/** Where a client of an explicit door wants to go: host and port out of an authority, in one spelling. Pure. */
import { canonicalAddress } from '../dns/address-bytes.ts';

export interface Target {
  /** A name in lower case, or an address in its one spelling. */
  readonly name: string;
  readonly port: number;
}

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** A host as names are written in a request; undefined for anything a resolver could read otherwise than we do: empty labels, a dot at the end, Unicode, zones, numbers that are no address. */
export function readHost(text: string): string | undefined {
  const lower = text.toLowerCase();
  const address = canonicalAddress(lower);
  if (address !== undefined) return address;
  const labels = lower.split('.');
  if (lower.length > 253 || !labels.every((one) => label.test(one))) return undefined;
  // A last label of digits or 0x… is read as an address by many (WHATWG URL §3.5): 127.1, 2130706433, 0x7f.1.
  return /^(\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? '') ? undefined : lower;
}

/** `host:port`, `[v6]:port`; without a port `fallback`, and undefined where there is none either. */
export function readAuthority(text: string, fallback?: number): Target | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const [, six, plain, digits] = match;
  const port = digits === undefined ? fallback : Number(digits);
  const name = readHost(six ?? plain ?? '');
  if (name === undefined || port === undefined || port < 1 || port > 65_535) return undefined;
  // Brackets are for IPv6 alone.
  return six !== undefined && !six.includes(':') ? undefined : { name, port };
}

/** The place that an absolute-form target (`http://host:port/path`) names, and what is left of it; undefined for other forms and schemes. */
export function readAbsolute(url: string): (Target & { readonly tls: boolean; readonly rest: string }) | undefined {
  const match = /^(https?):\/\/([^/?#]*)((?:[/?].*)?)$/is.exec(url);
  const tls = match?.[1]?.toLowerCase() === 'https';
  const target = match && readAuthority(match[2] ?? '', tls ? 443 : 80);
  if (!match || !target) return undefined;
  const rest = match[3] ?? '';
  return { ...target, tls, rest: rest.startsWith('/') ? rest : `/${rest}` };
}
