/** Makes agent-supplied text safe to show to a person: nothing invisible, nothing that moves the cursor. Pure. */

// Controls, zero-width and bidirectional marks, line and paragraph separators, tags, lone surrogates.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]/gu;

/** `text` with every unsafe character as \u{…}, cut after `limit` characters. */
export function plainText(text: string, limit = 200): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}… (${text.length} characters)` : text;
  return cut.replace(unsafe, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}
