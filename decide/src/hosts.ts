/** Index of things by domain pattern: exact names, `?.suffix` (one label before it) and `*.suffix` (one or more) in maps, so that a look-up costs one probe per label. */

/** Whether `host` is an address or a name of non-empty labels in small letters, the only ones that can match a rule. */
function isPlainHost(host: string): boolean {
  if (host.length === 0 || host.length > 253) return false;
  let labelLength = 0;
  for (let i = 0; i < host.length; i += 1) {
    const c = host.charCodeAt(i);
    if (c === 46) {
      if (labelLength === 0) return false;
      labelLength = 0;
    } else if ((c >= 97 && c <= 122) || (c >= 48 && c <= 57) || c === 45 || c === 95 || c === 58) labelLength += 1;
    else return false;
  }
  return labelLength > 0;
}

/** Small letters, no dot at the end, and one spelling for every address (WHATWG URL, RFC 5952; an IPv4-mapped one is IPv4); '' for what is no host. */
export function canonicalHost(host: string): string {
  if (host === lastHost) return lastCanonical;
  lastCanonical = canonicalOf(host);
  lastHost = host;
  return lastCanonical;
}
/** Asked several times for each request. */
let lastHost = '';
let lastCanonical = '';

function canonicalOf(host: string): string {
  const lower = host.toLowerCase();
  const name = lower.endsWith('.') ? lower.slice(0, -1) : lower;
  if (!isPlainHost(name)) return '';
  return name.includes(':') || endsInNumber(name) ? canonicalAddress(name) : name;
}

/** The last label is digits or 0x and hex: a client takes such a name for an IPv4 address, in whatever spelling (WHATWG URL, "ends in a number"). */
function endsInNumber(name: string): boolean {
  const last = name.slice(name.lastIndexOf('.') + 1);
  const first = last.charCodeAt(0);
  return first >= 48 && first <= 57 && /^(\d+|0x[0-9a-f]*)$/.test(last);
}

const dotted = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;

/** Also of short, octal, hexadecimal and single-number spellings; '' for what is no address. */
function canonicalAddress(text: string): string {
  if (dotted.test(text) && text.split('.').every((part) => Number(part) < 256)) return text;
  const url = text.includes(':') ? `http://[${text}]/` : `http://${text}/`;
  if (!URL.canParse(url)) return '';
  const found = new URL(url).hostname.replace(/^\[|\]$/g, '');
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(found);
  if (mapped === null) return found;
  const [high, low] = [Number.parseInt(mapped[1] ?? '', 16), Number.parseInt(mapped[2] ?? '', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** Whether an address: names never consist of digits and dots alone, or hold a colon. */
function isAddress(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(':');
}

export class HostIndex<T> {
  readonly #exact = new Map<string, T>();
  readonly #below = new Map<string, T>();
  readonly #directly = new Map<string, T>();
  #all: T | undefined;
  #none: readonly T[] = [];

  /** The value at `domain` (exact, `?.suffix`, `*.suffix` or `*`), made by `make` if there is none. */
  at(domain: string, make: () => T): T {
    if (domain === '*') {
      this.#all ??= make();
      this.#none = [this.#all];
      return this.#all;
    }
    const [map, key] = domain.startsWith('*.') ? [this.#below, domain.slice(2)] : domain.startsWith('?.') ? [this.#directly, domain.slice(2)] : [this.#exact, domain];
    let value = map.get(key);
    if (value === undefined) {
      value = make();
      map.set(key, value);
    }
    return value;
  }

  /** Values whose domain covers the canonical `host`, the most specific first. */
  covering(host: string): readonly T[] {
    if (host === '') return [];
    const exact = this.#exact.get(host);
    if ((this.#below.size === 0 && this.#directly.size === 0) || isAddress(host)) return exact === undefined ? this.#none : [exact, ...this.#none];
    const out: T[] = exact === undefined ? [] : [exact];
    const first = host.indexOf('.');
    const directly = first < 0 ? undefined : this.#directly.get(host.slice(first + 1));
    if (directly !== undefined) out.push(directly);
    for (let dot = first; dot >= 0; dot = host.indexOf('.', dot + 1)) {
      const value = this.#below.get(host.slice(dot + 1));
      if (value !== undefined) out.push(value);
    }
    if (this.#all !== undefined) out.push(this.#all);
    return out;
  }
}

/** True if every host that `inner` covers is covered by `outer`, and they differ. */
export function narrower(inner: string, outer: string): boolean {
  if (inner === outer || inner === '*') return false;
  if (outer === '*') return true;
  if (!outer.startsWith('*.') && !outer.startsWith('?.')) return false;
  const suffix = outer.slice(1);
  if (outer.startsWith('?.')) return !/^[*?]/.test(inner) && inner.endsWith(suffix) && inner.indexOf('.') === inner.length - suffix.length;
  return /^[*?]\./.test(inner) ? inner.slice(1).endsWith(suffix) : inner.endsWith(suffix);
}
