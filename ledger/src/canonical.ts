/** Canonical JSON (RFC 8785) at the speed of JSON.stringify: an object whose keys stand in order is serialised as it is. */
import canonicalize from 'canonicalize';

/**
 * The canonical text of plain JSON data (no `undefined`, no cycles, no lone surrogates: the redactor sees to that).
 * JSON.stringify writes numbers and strings as RFC 8785 wants them, so only the order of keys is left to do.
 */
export function canonical(value: object): string {
  return (isOrdered(value) ? JSON.stringify(value) : canonicalize(value)) as string;
}

/** Whether all keys at every level rise by UTF-16 unit. Keys that look like array indexes are never taken as ordered: JavaScript moves them. */
function isOrdered(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isOrdered);
  let before = '';
  for (const key of Object.keys(value)) {
    const c = key.charCodeAt(0);
    if (key < before || (c >= 48 && c <= 57)) return false;
    before = key;
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === 'object' && !isOrdered(item)) return false;
  }
  return true;
}

/** A copy with the keys of every level in order, so that `canonical` is fast on what contains it. The same object where nothing is to do. */
export function ordered<T>(value: T): T {
  if (typeof value !== 'object' || value === null || isOrdered(value)) return value;
  if (Array.isArray(value)) return value.map(ordered) as T;
  const keys = Object.keys(value).sort();
  // Plain objects serialise several times faster; a key that would set the prototype needs the other kind.
  const out = (keys.includes('__proto__') ? Object.create(null) : {}) as Record<string, unknown>;
  for (const key of keys) out[key] = ordered((value as Record<string, unknown>)[key]);
  return out as T;
}
