/** Canonical JSON: one text for one value. Keys sorted by code unit, maps as objects, what JSON has no word for spelled out. */

/** Throws RangeError for values nested deeper than 512. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > 512) throw new RangeError('nested too deeply');
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : `{"$number":"${value}"}`;
  if (Array.isArray(value)) return `[${value.map((v) => canonicalJson(v, depth + 1)).join(',')}]`;
  if (typeof value === 'object') {
    const entries: [string, unknown][] = value instanceof Map ? [...value].map(([k, v]) => [String(k), v]) : Object.entries(value);
    const kept = entries.filter(([, v]) => v !== undefined).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${kept.map(([k, v]) => `${JSON.stringify(k)}:${canonicalJson(v, depth + 1)}`).join(',')}}`;
  }
  return `{"$${typeof value}":${JSON.stringify(String(value))}}`;
}
