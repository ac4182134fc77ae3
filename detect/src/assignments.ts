/** Secrets by where they stand: behind `password=` and its kin, in `Authorization:` headers, and as `user:password@` in URLs. */
import { isAlnum } from './characters.ts';
import type { Finding } from './finding.ts';
import type { Runs } from './runs.ts';

const keyword =
  /(?:passw(?:or)?d|passwd|pwd|passphrase|secret|api[-_ ]?key|access[-_]?key|secret[-_]?key|private[-_]?key|(?:access|auth|refresh|bearer|api|session|id)[-_]?token|_token|^token|credentials?|client[-_]?secret|account[-_]?key)$/i;
/** Names that a secret may have, and much else: what stands behind them has to look random. */
const mayBeSecret = /(?:key|token|auth|sig(?:nature)?)$/i;
const isPublicName = /(?:public|primary|foreign|partition|sort|cache|storage|object|site|idempotency|map|row|hash)[-_]?key$|(?:csrf|xsrf|next|page|cancel)[-_]?token$/i;
/** Values that stand for a secret instead of being one. */
const placeholder =
  /^(?:\$|<|\{|\[redacted|\*{3}|x{4,}|%[({s]|process\.env|os\.environ|env[.[(]|null$|nil$|none$|true$|false$|undefined$|your[-_ ]|example|changeme|placeholder|getenv|string$|str$|required|optional)/i;

/** From the last letter of a name to its sign, at most. */
export const nameGap = 5;

/** The value behind the `=` or `:` at `i` if the name before it is that of a secret. */
export function assignmentAt(text: string, i: number, runs: Runs): Finding | undefined {
  let p = i - 1;
  // `key" :`, `key :=`, `key ::`; at most four characters between name and sign.
  while (p > i - nameGap && isNameGap(text.charCodeAt(p))) p -= 1;
  if (!endsName(text.charCodeAt(p) | 32, text.charCodeAt(p - 1) | 32)) return undefined;
  let start = p;
  while (start > 0 && p - start < 40 && isNameChar(text.charCodeAt(start - 1))) start -= 1;
  const name = text.slice(start, p + 1);
  if (/^(?:proxy-)?authorization$/i.test(name)) return authorization(text, i + 1, runs);
  if (keyword.test(name)) return value(text, i, false, runs);
  return mayBeSecret.test(name) && !isPublicName.test(name) ? value(text, i, true, runs) : undefined;
}

/** Whether two letters (lower case) can end one of the keywords; decides for nearly all `=` and `:` without a slice. */
function endsName(last: number, before: number): boolean {
  if (last === 100) return before === 114 || before === 119; // rd wd
  if (last === 116) return before === 101; // et
  if (last === 121) return before === 101; // ey
  if (last === 110) return before === 101 || before === 111; // en on
  if (last === 101) return before === 115; // se
  if (last === 108) return before === 97; // al
  if (last === 104) return before === 116; // th
  if (last === 103) return before === 105; // ig
  return last === 115 && before === 108; // ls
}

function isNameGap(c: number): boolean {
  return c === 32 || c === 34 || c === 39 || c === 96 || c === 58 || c === 93 || c === 92;
}

function isNameChar(c: number): boolean {
  return isAlnum(c) || c === 95 || c === 45;
}

/** `random`: only what looks like the output of a generator. */
function value(text: string, i: number, random: boolean, runs: Runs): Finding | undefined {
  let p = i + 1;
  const sign = text[i];
  if (text[p] === '=' || text[p] === '>' || text[p] === '~') {
    if (sign === '=' && text[p] !== '>') return undefined;
    p += 1;
  }
  let spaces = 0;
  while (text.charCodeAt(p) === 32 && spaces < 4) {
    p += 1;
    spaces += 1;
  }
  const escaped = text[p] === '\\' && (text[p + 1] === '"' || text[p + 1] === "'");
  if (escaped) p += 1;
  const quote = text[p];
  const quoted = quote === '"' || quote === "'" || quote === '`';
  if (quoted) p += 1;
  const end = quoted ? closing(text, p, quote, escaped) : runs.bare(text, p);
  const found = text.slice(p, end);
  if (random) return isRandom(found) ? { type: 'secret', start: p, end, confidence: 0.7, kind: 'entropy' } : undefined;
  if (found.length < (quoted ? 4 : 6) || found.length > 512 || placeholder.test(found)) return undefined;
  // `password: please choose one` and `token = nextToken(…)` are prose and code.
  if (!quoted && (!/[\d!@#$%^&*+/~]/.test(found) || /^[\w.]+\(/.test(found))) return undefined;
  if (quoted && /\s/.test(found) && !/\d/.test(found)) return undefined;
  return { type: 'secret', start: p, end, confidence: quoted ? 0.85 : 0.75, kind: 'assignment' };
}

const tally = new Uint16Array(128);

/** 24 to 256 characters of one encoding's alphabet, digits among letters, and at least 3.5 bits a character (3 for hexadecimal). */
function isRandom(value: string): boolean {
  if (value.length < 24 || value.length > 256 || placeholder.test(value)) return false;
  const hex = /^[0-9a-f]+$/i.test(value);
  if (!hex && !(/^[A-Za-z0-9+/_%-]+={0,2}$/.test(value) && /\d/.test(value) && /[a-z]/.test(value) && /[A-Z]/.test(value))) return false;
  tally.fill(0);
  for (let i = 0; i < value.length; i += 1) tally[value.charCodeAt(i) & 127] = (tally[value.charCodeAt(i) & 127] ?? 0) + 1;
  let bits = 0;
  for (const n of tally) if (n > 0) bits -= (n / value.length) * Math.log2(n / value.length);
  return bits >= (hex ? 3 : 3.5);
}

function closing(text: string, from: number, quote: string, escaped: boolean): number {
  for (let p = from; p < from + 513 && p < text.length; p += 1) {
    const c = text[p];
    if (c === '\n') return from;
    if (c === '\\' && !escaped) p += 1;
    else if (c === quote) return escaped && text[p - 1] === '\\' ? p - 1 : p;
  }
  return from;
}

function authorization(text: string, from: number, runs: Runs): Finding | undefined {
  const match = /^["'\\]{0,2}\s{0,4}["'\\]{0,2}(?:bearer|basic|token|apikey|digest)\s+/i.exec(text.slice(from, from + 24));
  if (!match) return undefined;
  const start = from + match[0].length;
  const end = runs.bare(text, start);
  if (end - start < 8 || placeholder.test(text.slice(start, end))) return undefined;
  return { type: 'secret', start, end, confidence: 0.95, kind: 'authorization' };
}

/** The password in `scheme://user:password@host`, from the colon at `i`. */
export function userinfoAt(text: string, i: number): Finding | undefined {
  if (text.charCodeAt(i + 1) !== 47 || text.charCodeAt(i + 2) !== 47) return undefined;
  let sign = -1;
  for (let p = i + 3; p < text.length && p < i + 3 + 256; p += 1) {
    const c = text.charCodeAt(p);
    if (c === 64) {
      // The colon of a mask is no sign between user and password.
      if (sign < 0 || p - sign < 2 || text.slice(sign - 9, sign) === '[redacted') return undefined;
      const found = text.slice(sign + 1, p);
      return placeholder.test(found) ? undefined : { type: 'secret', start: sign + 1, end: p, confidence: 0.95, kind: 'url-userinfo' };
    }
    if (c <= 32 || c === 47 || c === 63 || c === 35 || c === 34 || c === 39 || c === 60 || c === 62 || c === 92) return undefined;
    if (c === 58 && sign < 0) sign = p;
  }
  return undefined;
}

const begin = /^-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----/;
const end = /-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----/;

/** A private key block from the dash at `i`; where its end is missing, everything up to 16 Ki is taken. */
export function pemAt(text: string, i: number): Finding | undefined {
  if (!text.startsWith('-----BEGIN ', i) || !begin.test(text.slice(i, i + 64))) return undefined;
  const block = text.slice(i, i + 16 * 1024);
  const match = end.exec(block);
  return { type: 'secret', start: i, end: match ? i + match.index + match[0].length : i + block.length, confidence: 0.99, kind: 'pem' };
}
