/** What an agent prints, on a person's terminal: nothing in it can move the cursor, set the title, fill the clipboard or hide. */
import type { Output } from './context.ts';

/** The output itself for a pipe or file; for a terminal one that shows control, bidi and zero-width characters as escapes (newlines and tabs stay). */
export async function forPeople(output: Output): Promise<Output> {
  if (!output.isTTY) return output;
  const { safeLine } = await import('@nemoclaw/contract');
  const decoder = new TextDecoder();
  return {
    write: (data) => {
      const text = typeof data === 'string' ? data : decoder.decode(data, { stream: true });
      const parts = text.replaceAll('\r\n', '\n').split(/([\n\t])/);
      return output.write(parts.map((part) => (part === '\n' || part === '\t' ? part : safeLine(part, Number.MAX_SAFE_INTEGER))).join(''));
    },
  };
}
