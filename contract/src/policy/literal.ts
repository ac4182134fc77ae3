/** Takes the one object literal out of a `const x = { … };` file, so that it can be read as data. Nothing in it is ever run. */

/** Blanks everything but the literal, keeping every line and column; undefined if the text has another shape. */
export function objectLiteral(text: string): string | undefined {
  const withoutComments = text.replace(/^([ \t]*)\/\/.*$/gm, (line) => ' '.repeat(line.length));
  const match = /^(\s*(?:export\s+)?(?:const\s+\w+\s*(?::\s*\w+\s*)?=|default)\s*)(\{[\s\S]*\})((?:\s*(?:as const|satisfies\s+\w+))?\s*;?\s*)$/.exec(withoutComments);
  if (match === null) return undefined;
  return (match[1] ?? '').replace(/[^\n]/g, ' ') + (match[2] ?? '');
}
