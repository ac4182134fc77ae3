/** Reads JSON only where every parser reads it alike; what two readers could see differently is refused with a reason. Pure. */
import { hasInexactNumber } from '@nemoclaw/contract';
import { hasDuplicateKeys } from '../json-keys.ts';

export type JsonRead = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `bytes` as UTF-8 JSON: no byte order mark, no key twice (also by case), no number that readers round differently. */
export function readStrictJson(bytes: Uint8Array): JsonRead {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return { ok: false, why: 'the body is not UTF-8' };
  }
  return readJsonText(text);
}

/** The same for text that is already decoded. */
export function readJsonText(text: string): JsonRead {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, why: 'the body is not valid JSON' };
  }
  if (hasDuplicateKeys(text)) return { ok: false, why: 'the JSON body has the same key twice' };
  if (hasInexactNumber(text)) return { ok: false, why: 'the JSON body has a number that parsers read differently' };
  return { ok: true, value };
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined for an absent key, also where an object inherits one of that name. */
export function field(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
