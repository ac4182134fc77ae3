/** Field lines of HTTP/1.1 (RFC 9112 §5), read and written strictly: names are tokens, no value has a control character, none is folded, each line ends with CRLF. Pure. */

/** Lines as `readFields` takes them, as part of a pattern. No two parts of it can take the same byte, so that text of any kind is read once from front to back. */
export const fieldLines = String.raw`((?:\r\n[!#$%&'*+.^_${'`'}|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*)`;

const name = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const value = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Name, value, name, value…, of text that `fieldLines` has matched: as they came, without the white space around values. */
export function readFields(lines: string): string[] {
  const out: string[] = [];
  for (let at = 2; at < lines.length; ) {
    const next = lines.indexOf('\r\n', at);
    const stop = next < 0 ? lines.length : next;
    const colon = lines.indexOf(':', at);
    out.push(lines.slice(at, colon), bare(lines, colon + 1, stop));
    at = stop + 2;
  }
  return out;
}

/** Without spaces and tabs on either side; no other white space counts as such. */
function bare(text: string, from: number, to: number): string {
  let start = from;
  let stop = to;
  while (start < stop && isBlank(text.charCodeAt(start))) start += 1;
  while (stop > start && isBlank(text.charCodeAt(stop - 1))) stop -= 1;
  return text.slice(start, stop);
}
const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

/** Throws where it would be more than one field, or none; so it would in HTTP/2, where Node sends of each character one byte. */
export function checkField(field: string, text: string): void {
  if (!name.test(field) || !value.test(text)) throw new Error('a header field has characters that no field may have');
}

/** One line, in latin1 when it is sent. Throws where it would be more than one, or none. */
export function fieldLine(field: string, text: string): string {
  checkField(field, text);
  return `${field}: ${text}\r\n`;
}

const targetForm = /^[\x21-\x7e]+$/;

/** Of a request. Throws where it would be more than that, or none. */
export function checkTarget(target: string): void {
  if (!targetForm.test(target)) throw new Error('the request target has characters that no target may have');
}
