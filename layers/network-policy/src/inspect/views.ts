/** A text as its readers will see it: JSON with its strings unescaped, a form with its fields decoded, anything else as it is. */
import { pointerOf, tokenOf, viewJson, type JsonToken, type JsonView } from './json-view.ts';

/** A place in the source that a redaction replaces. */
export interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

export interface View {
  readonly text: string;
  /** Where the character at `at` stands, in words without any value. */
  place(at: number): string;
  /** What replaces the findings, with their marks; undefined where that cannot be done without breaking the text. */
  edits(findings: readonly Marked[]): readonly Edit[] | undefined;
}

/** A finding's range in the view, and what is put in its place. */
export interface Marked {
  readonly start: number;
  readonly end: number;
  readonly mark: string;
}

/** The view of a whole text; `contentType` in lower case, '' where nothing is declared. */
export function viewOf(text: string, contentType: string): View {
  if (contentType.startsWith('application/x-www-form-urlencoded')) return formView(text);
  const first = /[^\s\ufeff]/.exec(text.slice(0, 1024))?.[0];
  if (/[/+](?:json|ndjson)/.test(contentType) || first === '{' || first === '[') {
    const view = jsonView(text);
    if (view) return view;
  }
  return plainView(text);
}

function plainView(text: string): View {
  return { text, place: () => 'the body', edits: (findings) => findings.map(({ start, end, mark }) => ({ from: start, to: end, text: mark })) };
}

function jsonView(text: string): View | undefined {
  // Without a backslash the view is the text itself, and its tokens are only needed where something was found.
  const escaped = text.includes('\\');
  let read = escaped;
  let made: JsonView | undefined = escaped ? viewJson(text) : undefined;
  if (escaped && !made) return undefined;
  // Read once, also where it turns out to be no JSON: every finding asks.
  const view = (): JsonView | undefined => {
    if (!read) made = viewJson(text);
    read = true;
    return made;
  };
  return {
    text: made?.text ?? text,
    place: (at) => {
      const json = view();
      const token = json && tokenOf(json, at);
      if (!token) return 'the body';
      return token.role === 'key' ? `a key of the body at ${plainPath(pointerOf(token.within))}` : `the body at ${plainPath(pointerOf(token.within))}`;
    },
    edits: (findings) => {
      const json = view();
      return json && jsonEdits(json, findings);
    },
  };
}

function jsonEdits(json: JsonView, findings: readonly Marked[]): readonly Edit[] | undefined {
  const byToken = new Map<JsonToken, Marked[]>();
  for (const finding of findings) {
    const token = tokenOf(json, finding.start);
    if (!token || token.role === 'key' || finding.end > token.end) return undefined;
    const known = byToken.get(token);
    if (known) known.push(finding);
    else byToken.set(token, [finding]);
  }
  return [...byToken].map(([token, inside]) => {
    let value = '';
    let at = token.at;
    for (const { start, end, mark } of inside) {
      value += json.text.slice(at, start) + mark;
      at = end;
    }
    return { from: token.from, to: token.to, text: JSON.stringify(value + json.text.slice(at, token.end)) };
  });
}

/** A pointer whose steps are plain names: anything else could be a value that somebody used as a key. */
function plainPath(path: string): string {
  const steps = path.split('/').slice(1).map((step) => (/^(?:[A-Za-z_][A-Za-z_-]{0,31}\d{0,2}|\d{1,4})$/.test(step) ? step : '*'));
  return steps.length === 0 ? '/' : `/${steps.slice(0, 8).join('/')}`;
}

function formView(text: string): View {
  const fields: { readonly at: number; readonly valueAt: number; readonly end: number; readonly from: number; readonly to: number; readonly name: string }[] = [];
  let out = '';
  let from = 0;
  for (const pair of text.split('&')) {
    const sign = pair.indexOf('=');
    const name = decodeField(sign < 0 ? pair : pair.slice(0, sign));
    const at = out.length;
    out += `${name}=`;
    const valueAt = out.length;
    out += sign < 0 ? '' : decodeField(pair.slice(sign + 1));
    fields.push({ at, valueAt, end: out.length, from: from + (sign < 0 ? pair.length : sign + 1), to: from + pair.length, name });
    out += '\n';
    from += pair.length + 1;
  }
  /** Index of the field that `at` stands in; fields lie one behind the other. */
  const indexAt = (at: number): number => {
    let low = 0;
    let high = fields.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((fields[middle]?.at ?? Infinity) <= at) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  };
  return {
    text: out,
    place: (at) => `the body's field ${plainPath(`/${fields[indexAt(at)]?.name ?? ''}`).slice(1)}`,
    edits: (findings) => {
      const edits: Edit[] = [];
      const byField = new Map<number, Marked[]>();
      for (const finding of findings) {
        const i = indexAt(finding.start);
        const known = byField.get(i);
        if (known) known.push(finding);
        else byField.set(i, [finding]);
      }
      for (const [i, inside] of byField) {
        const field = fields[i];
        if (!field) continue;
        let value = '';
        let at = field.valueAt;
        for (const { start, end, mark } of inside) {
          if (start < field.valueAt || end > field.end) return undefined;
          value += out.slice(at, start) + mark;
          at = end;
        }
        edits.push({ from: field.from, to: field.to, text: encodeURIComponent((value + out.slice(at, field.end)).toWellFormed()) });
      }
      return edits;
    },
  };
}

function decodeField(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  return spaced.includes('%') ? spaced.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8')) : spaced;
}
