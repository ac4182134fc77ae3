/** JSON that every parser reads alike: what is decided on must be what is done, whoever reads the text next. */

const number = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;

/**
 * True if valid JSON `text` holds a number that a parser with doubles and one with exact numbers read differently: an integer beyond what a double holds,
 * more than 17 digits, or one that becomes infinite or nothing. Two texts that differ only there would be one request to us and two to others.
 */
export function hasInexactNumber(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x22) {
      at += 1;
      while (at < text.length && text.charCodeAt(at) !== 0x22) at += text.charCodeAt(at) === 0x5c ? 2 : 1;
    } else if (char === 0x2d || (char >= 0x30 && char <= 0x39)) {
      number.lastIndex = at;
      const token = number.exec(text)?.[0];
      if (token === undefined) return true;
      if (token.length > 15 && !isExact(token)) return true;
      if (token.length <= 15 && /[eE]/.test(token) && !isExact(token)) return true;
      at += token.length - 1;
    }
  }
  return false;
}

function isExact(token: string): boolean {
  const value = Number(token);
  if (!Number.isFinite(value)) return false;
  if (/^-?\d+$/.test(token)) return token.length < 400 && BigInt(token) === BigInt(value);
  const digits = token.replace(/[eE].*$/, '').replace(/\D/g, '').replace(/^0+/, '');
  return digits.length <= 17 && (value !== 0 || digits === '');
}

/** Object keys that some parsers take for the same (Go's folds case, also that of long s and the Kelvin sign) become equal. */
export function foldKey(key: string): string {
  return key.toUpperCase().toLowerCase();
}
