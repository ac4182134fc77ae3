/** Reads a buffered request body into the attributes that a decision may ask for. */
import { foldKey, hasInexactNumber } from '@nemoclaw/contract';
import { charsetsOf } from '../inspect/charsets.ts';
import { hasDuplicateKeys } from './json-keys.ts';
import { readQueryString } from '../http/request-target.ts';

/** `ambiguous`: two readers could see two different bodies, so nothing is decided on it. */
export type BodyRead = { readonly state: 'read'; readonly attributes: ReadonlyMap<string, unknown> } | { readonly state: 'ambiguous'; readonly why: string };
const none: BodyRead = { state: 'read', attributes: new Map() };
const ambiguous = (why: string): BodyRead => ({ state: 'ambiguous', why });
// A lenient decoder would make one text of two bodies.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `contentType` in lower case. JSON objects and forms give their fields; every other body gives none. */
export function readAttributes(body: Buffer, contentType: string): BodyRead {
  if (body.length === 0) return none;
  const first = /\S/.exec(body.toString('latin1'))?.[0];
  const isForm = contentType.startsWith('application/x-www-form-urlencoded');
  if (!isForm && !/[/+]json\b/.test(contentType) && first !== '{') return none;
  if (charsetsOf(contentType).some((charset) => charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii')) return ambiguous('the body is in another character set than UTF-8');
  let text: string;
  try {
    text = utf8.decode(body);
  } catch {
    return ambiguous('the body is not UTF-8');
  }
  // Servers that take JSON whatever its type is called would read something else than a form.
  if (isForm) return first === '{' || first === '[' ? ambiguous('the form body looks like JSON') : readForm(text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return ambiguous('the body is not valid JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return none;
  if (hasDuplicateKeys(text)) return ambiguous('the JSON body has the same key twice');
  if (hasInexactNumber(text)) return ambiguous('the JSON body has a number that parsers read differently');
  return { state: 'read', attributes: new Map(Object.entries(value)) };
}

function readForm(text: string): BodyRead {
  const pairs = readQueryString(text.trim());
  if (typeof pairs === 'string') return ambiguous('the form body is malformed');
  const attributes = new Map<string, unknown>();
  const seen = new Set<string>();
  for (const [name, value] of pairs) {
    if (seen.has(foldKey(name))) return ambiguous('the form body has the same field twice');
    seen.add(foldKey(name));
    attributes.set(name, value);
  }
  return { state: 'read', attributes };
}
