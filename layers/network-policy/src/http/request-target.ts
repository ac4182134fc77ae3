/** Reads a request target into every path that some server might take it for; each of them has to be allowed. Pure. */

export interface Target {
  /** Canonical readings, the plainest first; at least one. */
  readonly paths: readonly string[];
  readonly query: readonly (readonly [string, string])[];
}

const plain = /^\/[A-Za-z0-9_~!$&'()*+,:=@.\/-]*$/;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** `target` is origin-form (`/path?query`). A string result says, in plain words, why it is refused. */
export function readTarget(target: string): Target | string {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? [] : readQueryString(target.slice(mark + 1));
  if (typeof query === 'string') return query;
  if (plain.test(path) && !path.includes('//') && !path.includes('/.')) return { paths: [path], query };
  const paths = readings(path);
  return typeof paths === 'string' ? paths : { paths, query };
}

function readings(path: string): string[] | string {
  if (!path.startsWith('/')) return 'the path does not start with a slash';
  if (!/^[\x21-\x7e]*$/.test(path) || path.includes('#')) return 'the path has a character that must be percent-encoded';
  if (path.includes('\\')) return 'the path has a backslash';
  const decoded = decodeOnce(path);
  if (decoded === undefined) return 'the path has broken percent-encoding';
  // U+0000 stands for an encoded slash until both of its meanings are spelled out.
  if (/[\x01-\x1f\x7f\\]/.test(decoded.text) || decoded.nul) return 'the path hides a control character or a backslash';
  if (/%[0-9a-f]{2}/i.test(decoded.text)) return 'the path is percent-encoded twice';
  const out = new Set<string>();
  for (const slash of ['%2F', '/']) {
    const spelled = decoded.text.replaceAll('\0', slash);
    for (const bare of [spelled, spelled.replace(/;[^/]*/g, '')]) {
      if (/\/\.{1,2}(\/|$)/.test(bare)) return 'the path has dot segments';
      out.add(bare);
      out.add(bare.replace(/\/{2,}/g, '/'));
    }
  }
  return [...out];
}

/** One round of percent-decoding as UTF-8; an encoded slash becomes U+0000, and `nul` says that a NUL was encoded. */
function decodeOnce(path: string): { text: string; nul: boolean } | undefined {
  if (!path.includes('%')) return { text: path, nul: false };
  const bytes: number[] = [];
  let nul = false;
  for (let at = 0; at < path.length; at += 1) {
    const code = path.charCodeAt(at);
    if (code !== 0x25) {
      bytes.push(code);
      continue;
    }
    const hex = path.slice(at + 1, at + 3);
    if (!/^[0-9a-fA-F]{2}$/.test(hex)) return undefined;
    const value = Number.parseInt(hex, 16);
    nul ||= value === 0;
    bytes.push(value === 0x2f ? 0 : value);
    at += 2;
  }
  try {
    return { text: utf8.decode(Uint8Array.from(bytes)), nul };
  } catch {
    return undefined;
  }
}

/** `a=1&b=%20` as decoded pairs in order, or why not. */
export function readQueryString(text: string): (readonly [string, string])[] | string {
  if (text === '') return [];
  if (!/^[\x21-\x7e]*$/.test(text) || text.includes('#')) return 'the query has a character that must be percent-encoded';
  const out: (readonly [string, string])[] = [];
  for (const part of text.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decodeField(equals < 0 ? part : part.slice(0, equals));
    const value = equals < 0 ? '' : decodeField(part.slice(equals + 1));
    if (name === undefined || value === undefined) return 'the query has broken percent-encoding';
    out.push([name, value]);
  }
  return out;
}

function decodeField(text: string): string | undefined {
  if (!text.includes('%') && !text.includes('+')) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
