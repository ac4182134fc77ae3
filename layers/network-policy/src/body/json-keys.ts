/** Finds an object key that comes twice in JSON text: two parsers would read two different requests. Pure. */
import { foldKey } from '@nemoclaw/contract';

/** True if some object in `text` has the same key twice, also where only the case differs: some parsers take either. `text` must already have passed JSON.parse. */
export function hasDuplicateKeys(text: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(undefined);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = stringEnd(text, at);
      const keys = open.at(-1);
      if (keys && isKey(text, end + 1)) {
        const spelled = text.slice(at, end + 1);
        const key = foldKey(spelled.includes('\\') ? String(JSON.parse(spelled)) : spelled.slice(1, -1));
        if (keys.has(key)) return true;
        keys.add(key);
      }
      at = end;
    }
  }
  return false;
}

function isKey(text: string, from: number): boolean {
  let at = from;
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at += 1;
  return text[at] === ':';
}

function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
