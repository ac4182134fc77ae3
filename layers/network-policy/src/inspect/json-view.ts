/** A JSON text with its strings unescaped, and the way back from there to what stood where. */

/** One string or number of the text. */
export interface JsonToken {
  /** In the view: of a string without its quotes. */
  readonly at: number;
  readonly end: number;
  /** In the text, with the quotes. */
  readonly from: number;
  readonly to: number;
  /** Where the value stands, or the object a key belongs to. */
  readonly within: Step | undefined;
  readonly role: 'key' | 'string' | 'number';
}

/** One step of a way into a text, from its end: tokens share it, so that deep nesting costs each of them nothing. */
export interface Step {
  readonly name: number | string;
  readonly above: Step | undefined;
}

/** JSON pointer (RFC 6901). */
export function pointerOf(within: Step | undefined): string {
  const names: string[] = [];
  for (let step = within; step; step = step.above) names.push(`/${String(step.name).replaceAll('~', '~0').replaceAll('/', '~1')}`);
  return names.reverse().join('');
}

export interface JsonView {
  readonly text: string;
  readonly tokens: readonly JsonToken[];
}

const depthLimit = 128;

/** Undefined where the text is no JSON, or is nested deeper than 128. Several values one after the other (NDJSON) are taken as one text. */
export function viewJson(text: string): JsonView | undefined {
  const tokens: JsonToken[] = [];
  const parts: string[] = [];
  let length = 0;
  let copied = 0;
  /** What holds the next value: a number counts the elements of an array, a string is the last key of an object. */
  let inside: Step | undefined;
  let depth = 0;
  let expectKey = false;
  const keep = (upTo: number): void => {
    if (upTo > copied) parts.push(text.slice(copied, upTo));
    length += Math.max(0, upTo - copied);
    copied = upTo;
  };
  const add = (from: number, to: number, value: string, role: JsonToken['role']): void => {
    keep(role === 'number' ? from : from + 1);
    tokens.push({ at: length, end: length + value.length, from, to, within: role === 'key' ? inside?.above : inside, role });
    parts.push(value);
    length += value.length;
    copied = role === 'number' ? to : to - 1;
  };
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charCodeAt(i);
    if (c === 34) {
      const to = stringEnd(text, i);
      if (to < 0) return undefined;
      const raw = text.slice(i, to);
      const value = raw.includes('\\') ? parsed(raw) : raw.slice(1, -1);
      if (value === undefined) return undefined;
      if (expectKey) {
        inside = { name: value.slice(0, 64), above: inside?.above };
        add(i, to, value, 'key');
        expectKey = false;
      } else add(i, to, value, 'string');
      i = to - 1;
    } else if ((c >= 48 && c < 58) || c === 45) {
      let to = i + 1;
      while (to < text.length && /[0-9+\-.eE]/.test(text[to] ?? '')) to += 1;
      add(i, to, text.slice(i, to), 'number');
      i = to - 1;
    } else if (c === 123 || c === 91) {
      if (depth >= depthLimit) return undefined;
      depth += 1;
      inside = { name: c === 123 ? '' : 0, above: inside };
      expectKey = c === 123;
    } else if (c === 125 || c === 93) {
      if (!inside) return undefined;
      depth -= 1;
      inside = inside.above;
      expectKey = false;
    } else if (c === 44) {
      if (typeof inside?.name === 'number') inside = { name: inside.name + 1, above: inside.above };
      expectKey = typeof inside?.name === 'string';
    } else if (!(c === 58 || c === 32 || c === 9 || c === 10 || c === 13 || (c >= 97 && c < 123))) return undefined;
  }
  if (inside) return undefined;
  keep(text.length);
  return { text: parts.join(''), tokens };
}

/** Behind the closing quote of the string that opens at `i`, or -1. */
function stringEnd(text: string, i: number): number {
  for (let p = i + 1; p < text.length; p += 1) {
    const c = text.charCodeAt(p);
    if (c === 92) p += 1;
    else if (c === 34) return p + 1;
  }
  return -1;
}

function parsed(raw: string): string | undefined {
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The token of a view that `at` stands in. */
export function tokenOf(view: JsonView, at: number): JsonToken | undefined {
  let low = 0;
  let high = view.tokens.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((view.tokens[middle]?.end ?? Infinity) <= at) low = middle + 1;
    else high = middle;
  }
  const token = view.tokens[low];
  return token && token.at <= at ? token : undefined;
}
