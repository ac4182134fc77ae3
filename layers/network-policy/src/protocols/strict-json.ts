/** Reads JSON only where every parser reads it alike; what two readers could see differently is refused with a reason. Pure. */
import { hasInexactNumber } from '@nemoclaw/contract';
import { hasDuplicateKeys } from '../body/json-keys.ts';

export type JsonRead = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string };

/** What many parsers take at least; beyond it some fail, and some give up in the middle. */
const deepest = 100;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** `bytes` as UTF-8 JSON: no byte order mark, no key twice (also by case), no nesting beyond what every reader takes, no number that readers round differently. */
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
  if (isDeep(text)) return { ok: false, why: `the JSON body is nested more than ${deepest} deep` };
  if (hasDuplicateKeys(text)) return { ok: false, why: 'the JSON body has the same key twice' };
  if (hasInexactNumber(text)) return { ok: false, why: 'the JSON body has a number that parsers read differently' };
  return { ok: true, value };
}

function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const c = text.charCodeAt(at);
    if (c === 0x22) for (at += 1; at < text.length && text.charCodeAt(at) !== 0x22; at += 1) at += text.charCodeAt(at) === 0x5c ? 1 : 0;
    else if (c === 0x5b || c === 0x7b) depth += 1;
    else if (c === 0x5d || c === 0x7d) depth -= 1;
    if (depth > deepest) return true;
  }
  return false;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined for an absent key, also where an object inherits one of that name. */
export function field(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
