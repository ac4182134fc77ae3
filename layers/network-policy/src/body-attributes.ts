/** Reads a buffered request body into the attributes that a decision may ask for. */
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { hasDuplicateKeys } from './json-keys.ts';
import { readQueryString } from './request-target.ts';

/** `ambiguous`: two readers could see two different bodies, so nothing is decided on it. */
export type BodyRead = { readonly state: 'read'; readonly attributes: ReadonlyMap<string, unknown> } | { readonly state: 'ambiguous'; readonly why: string };
const none: BodyRead = { state: 'read', attributes: new Map() };
const ambiguous = (why: string): BodyRead => ({ state: 'ambiguous', why });

/** Undoes a content encoding, at most `limit` bytes out. Undefined where it cannot: unknown coding, damage, too long. */
export function decodeBody(body: Buffer, encoding: string, limit: number): Buffer | undefined {
  try {
    switch (encoding) {
      case '': case 'identity': return body;
      case 'gzip': case 'x-gzip': return gunzipSync(body, { maxOutputLength: limit });
      case 'deflate': return inflateSync(body, { maxOutputLength: limit });
      case 'br': return brotliDecompressSync(body, { maxOutputLength: limit });
      case 'zstd': return zstdDecompressSync(body, { maxOutputLength: limit });
      default: return undefined;
    }
  } catch {
    return undefined;
  }
}

/** `contentType` in lower case. JSON objects and forms give their fields; every other body gives none. */
export function readAttributes(body: Buffer, contentType: string): BodyRead {
  if (body.length === 0) return none;
  const text = body.toString('utf8');
  if (contentType.startsWith('application/x-www-form-urlencoded')) return readForm(text);
  const first = /\S/.exec(text)?.[0];
  if (!/[/+]json\b/.test(contentType) && first !== '{') return none;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return ambiguous('the body is not valid JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return none;
  if (hasDuplicateKeys(text)) return ambiguous('the JSON body has the same key twice');
  return { state: 'read', attributes: new Map(Object.entries(value)) };
}

function readForm(text: string): BodyRead {
  const pairs = readQueryString(text.trim());
  if (typeof pairs === 'string') return ambiguous('the form body is malformed');
  const attributes = new Map<string, unknown>();
  for (const [name, value] of pairs) {
    if (attributes.has(name)) return ambiguous('the form body has the same field twice');
    attributes.set(name, value);
  }
  return { state: 'read', attributes };
}
