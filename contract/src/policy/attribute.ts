/** Attribute expressions of the catalogue: a path into a JSON document and arithmetic by constants, e.g. `$.amount / 100`. Nothing is ever evaluated as code. */

export interface AttributeExpression {
  readonly path: readonly (string | number)[];
  readonly steps: readonly { readonly op: '+' | '-' | '*' | '/'; readonly by: number }[];
}

const part = /^(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,6})\]|\['([^'\]]{1,128})'\]|\["([^"\]]{1,128})"\])/;
const step = /^\s*([-+*/])\s*(\d{1,12}(?:\.\d{1,9})?)\s*/;

/** Parses `text`; undefined if it is not such an expression. */
export function parseAttribute(text: string): AttributeExpression | undefined {
  if (!text.startsWith('$')) return undefined;
  let rest = text.slice(1);
  const path: (string | number)[] = [];
  for (let m = part.exec(rest); m !== null; m = part.exec(rest)) {
    path.push(m[2] === undefined ? (m[1] ?? m[3] ?? m[4] ?? '') : Number(m[2]));
    rest = rest.slice(m[0].length);
  }
  const steps: { op: '+' | '-' | '*' | '/'; by: number }[] = [];
  for (let m = step.exec(rest); m !== null; m = step.exec(rest)) {
    const by = Number(m[2]);
    if (m[1] === '/' && by === 0) return undefined;
    steps.push({ op: m[1] as '+', by });
    rest = rest.slice(m[0].length);
  }
  return rest.trim() === '' && path.length > 0 && path.length <= 16 ? { path, steps } : undefined;
}

/** The value of the expression over a document given as a map of its first-level fields; undefined if absent, or not a finite number where arithmetic is asked. */
export function evaluateAttribute(expression: AttributeExpression, document: ReadonlyMap<string, unknown>): unknown {
  const [first, ...others] = expression.path;
  let here: unknown = document.get(String(first));
  for (const key of others) {
    if (Array.isArray(here)) here = typeof key === 'number' ? here[key] : undefined;
    else if (here instanceof Map) here = here.get(String(key));
    else here = typeof here === 'object' && here !== null && typeof key === 'string' && Object.hasOwn(here, key) ? (here as Record<string, unknown>)[key] : undefined;
  }
  if (expression.steps.length === 0) return here;
  if (typeof here !== 'number') return undefined;
  let value = here;
  for (const { op, by } of expression.steps) {
    if (op === '+') value += by;
    else if (op === '-') value -= by;
    else if (op === '*') value *= by;
    else value /= by;
  }
  return Number.isFinite(value) ? value : undefined;
}
