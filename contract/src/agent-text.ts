/** Agent-supplied text made safe for people to read: nothing in it can move the cursor, turn the reading direction or hide. */

/**
 * Characters that are shown as `\u{…}`: controls (newline and tab too), format characters (bidi, zero-width, soft hyphen, tags),
 * line and paragraph separators, lone surrogates, private use, unassigned, fillers that look like nothing, and every space but U+0020.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\u00A0\u034F\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F\u2000-\u200A\u202F\u205F\u2800\u3000\u3164\uFE00-\uFE0F\uFFA0]|[\u{E0100}-\u{E01EF}]/gu;
/** More combining marks than this in a row are shown as escapes: they would draw over neighbouring lines. */
const stacked = /\p{M}{5,}/gu;

const escape = (char: string): string => `\\u{${(char.codePointAt(0) ?? 0xfffd).toString(16)}}`;

/** One line of text; longer than `max` characters is cut and says how much is missing. Escaping what is escaped changes nothing. */
export function safeLine(text: string, max = 300): string {
  const cut = text.length > max ? `${text.slice(0, max)}… (${text.length - max} more)` : text;
  return cut.replace(unsafe, escape).replace(stacked, (marks) => [...marks].map(escape).join(''));
}

/** Several lines: newlines stay, everything else as `safeLine`. */
export function safeBlock(text: string, max = 20_000): string {
  const cut = text.length > max ? `${text.slice(0, max)}\n… (${text.length - max} more)` : text;
  return cut.split('\n').map((line) => safeLine(line, Number.MAX_SAFE_INTEGER)).join('\n');
}
