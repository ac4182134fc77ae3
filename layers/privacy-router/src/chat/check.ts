/** Small checks out of which the allow-list of a request is built; each returns the clean value or throws RequestRefused. */
import { denied, malformed, RequestRefused } from '../refused.ts';

/** What is found on the way: URLs that the provider would fetch. */
export interface Found {
  readonly fetches: URL[];
}

export type Check = (value: unknown, found: Found) => unknown;

/** What a field's check returns when the field is accepted but not passed on. */
export const dropped: unique symbol = Symbol('dropped');

export const string =
  (max: number): Check =>
  (value) => {
    if (typeof value !== 'string') throw malformed('A text is expected.');
    if (value.length > max) throw malformed(`A text of at most ${max} characters is expected.`);
    return value;
  };

export const number =
  (min: number, max: number, integer = false): Check =>
  (value) => {
    if (typeof value !== 'number' || value < min || value > max || (integer && !Number.isInteger(value))) {
      throw malformed(`A ${integer ? 'whole ' : ''}number from ${min} to ${max} is expected.`);
    }
    return value;
  };

export const boolean: Check = (value) => {
  if (typeof value !== 'boolean') throw malformed('true or false is expected.');
  return value;
};

/** Only these words are allowed; anything else is a way out of the sandbox, not a mistake. */
export const onlyWord =
  (words: readonly unknown[], code: string, hint: string): Check =>
  (value) => {
    if (words.includes(value)) return value;
    throw denied(code, 'This value is not allowed.', hint);
  };

export const either =
  (pick: (value: unknown) => Check): Check =>
  (value, found) =>
    pick(value)(value, found);

export const array =
  (item: Check, max: number): Check =>
  (value, found) => {
    if (!Array.isArray(value)) throw malformed('A list is expected.');
    if (value.length > max) throw malformed(`A list of at most ${max} is expected.`);
    const out: unknown[] = [];
    for (let i = 0; i < value.length; i++) {
      try {
        out.push(item(value[i], found));
      } catch (error) {
        throw error instanceof RequestRefused ? error.inside(`[${i}]`) : error;
      }
    }
    return out;
  };

/** Accepted, not passed on. */
export const ignore =
  (check: Check): Check =>
  (value, found) => {
    check(value, found);
    return dropped;
  };

/** Refuses the field whatever its value. */
export const never =
  (code: string, message: string, hint: string): Check =>
  () => {
    throw denied(code, message, hint);
  };

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is { readonly [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object with these fields and no others. Optional fields may be null, which means absent. */
export function object(fields: Readonly<Record<string, Check>>, required: readonly string[] = []): Check {
  const known = new Map(Object.entries(fields));
  const needed = new Set(required);
  return (value, found) => {
    if (!isObject(value)) throw malformed('An object is expected.');
    const out: Record<string, unknown> = {};
    for (const key of Object.keys(value)) {
      const check = known.get(key);
      if (!check) {
        const label = /^[A-Za-z0-9_]{1,64}$/.test(key) ? key : JSON.stringify(key.slice(0, 64));
        throw denied('unknown_field', `The field ${label} is not allowed.`, 'Leave the field out.').inside(label);
      }
      const item = value[key];
      if (item === null && !needed.has(key)) continue;
      try {
        const clean = check(item, found);
        if (clean !== dropped) out[key] = clean;
      } catch (error) {
        throw error instanceof RequestRefused ? error.inside(key) : error;
      }
    }
    for (const key of required) if (!Object.hasOwn(value, key)) throw malformed(`The field ${key} is missing.`).inside(key);
    return out;
  };
}

/** Any JSON to this depth that names nothing to fetch: `$ref` may only point inside the document. */
export const freeJson =
  (maxDepth: number): Check =>
  (value) => {
    walk(value, maxDepth);
    return value;
  };

function walk(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth <= 0) throw malformed('Nested too deeply.');
  if (Array.isArray(value)) {
    for (const item of value) walk(item, depth - 1);
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    if (key === '$ref' && typeof item === 'string' && !item.startsWith('#')) {
      throw denied('fetch', 'A reference to another document is not allowed.', 'Put the schema itself here.').inside('$ref');
    }
    walk(item, depth - 1);
  }
}
