/** Reads the arguments of a tool call so that everybody who parses them later reads the same. */
import { foldKey, hasInexactNumber } from '@nemoclaw/contract';
import { isWithinDepth } from './body.ts';

/** The arguments by name, or one sentence that says why they cannot be decided. */
export function readArguments(text: string, maxDepth: number): ReadonlyMap<string, unknown> | string {
  if (text.trim() === '') return new Map();
  if (!isWithinDepth(Buffer.from(text), maxDepth)) return 'The arguments are nested too deeply.';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'The arguments are not complete JSON.';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'The arguments are not a JSON object.';
  // Parsers differ in which of two equal keys counts, so what is decided might not be what is done.
  if (hasDuplicateKey(text)) return 'The arguments name a field twice.';
  if (hasInexactNumber(text)) return 'The arguments have a number that parsers read differently; send it as a string.';
  return new Map(Object.entries(value));
}

/** True if an object in this valid JSON text names a key twice (escapes decoded, case ignored as some parsers do). */
export function hasDuplicateKey(text: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  let isKeyNext = false;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: {
        const end = endOfString(text, i);
        const keys = open.at(-1);
        if (isKeyNext && keys) {
          const raw = text.slice(i, end + 1);
          const key = foldKey(raw.includes('\\') ? String(JSON.parse(raw)) : raw.slice(1, -1));
          if (keys.has(key)) return true;
          keys.add(key);
        }
        isKeyNext = false;
        i = end;
        break;
      }
      case 0x7b:
        open.push(new Set());
        isKeyNext = true;
        break;
      case 0x5b:
        open.push(undefined);
        isKeyNext = false;
        break;
      case 0x7d:
      case 0x5d:
        open.pop();
        break;
      case 0x2c:
        isKeyNext = open.at(-1) !== undefined;
        break;
    }
  }
  return false;
}

function endOfString(text: string, open: number): number {
  let at = open;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) return text.length;
    let slashes = 0;
    while (text[at - 1 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}
