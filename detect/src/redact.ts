/** Masks what the scanner finds. */
import { findingTypes, type FindingType } from './finding.ts';
import type { Known } from './known.ts';
import { scan } from './scan.ts';

/** The text with each finding replaced by `[redacted:TYPE]`. `keep`: types that stay. */
export function redact(text: string, known: Known = [], keep?: ReadonlySet<FindingType>): string {
  return maskAll(text, known, keep, (type) => `[redacted:${type}]`);
}

/**
 * As `redact`, for a card. What an agent makes look like a secret is masked too, so each mask says how much it hides (`[redacted:TYPE, N characters]`),
 * and a long text how much of it is not there.
 */
export function redactForCard(text: string, known: Known, keep: ReadonlySet<FindingType>): string {
  const masked = maskAll(text.slice(0, longestOnCards), known, keep, (type, hidden) => `[redacted:${type}, ${lengthOf(hidden)} characters]`);
  return text.length <= longestOnCards ? masked : `${masked}\n… (${text.length - longestOnCards} more characters, not shown)`;
}

const longestOnCards = 64 * 1024;
const sized = /\[redacted:[a-z-]+, (\d+) characters\]/g;

/** With what the masks in it hide; never less than what stands there. */
function lengthOf(hidden: string): number {
  let length = hidden.length;
  for (const [mask, inside] of hidden.matchAll(sized)) length += Math.max(0, Number(inside) - mask.length);
  return length;
}

/** What stays on a card, because a person decides by it: of a tool call all that is no credential, of a request whom and what it goes to. */
export const shownOnCards: Readonly<Record<'tool' | 'http', ReadonlySet<FindingType>>> = {
  tool: new Set(findingTypes.filter((type) => type !== 'secret' && type !== 'known-secret')),
  http: new Set<FindingType>(['email', 'phone', 'ip']),
};

// Each round uses up text that was not a mask before; three are the most ever seen, and a bound is a bound.
const rounds = 8;

type Mask = (type: FindingType, hidden: string) => string;

function maskAll(text: string, known: Known, keep: ReadonlySet<FindingType> | undefined, mask: Mask): string {
  let out = text;
  // What stood beside a masked value may be one by itself now, so it is looked at again until nothing is left.
  for (let round = 0; round < rounds; round += 1) {
    const masked = maskOnce(out, known, keep, mask);
    if (masked === out) break;
    out = masked;
  }
  return out;
}

function maskOnce(text: string, known: Known, keep: ReadonlySet<FindingType> | undefined, mask: Mask): string {
  const findings = scan(text, { known });
  let out = '';
  let from = 0;
  for (const { type, start, end } of findings) {
    if (keep?.has(type) === true) continue;
    out += `${text.slice(from, start)}${mask(type, text.slice(start, end))}`;
    from = end;
  }
  return from === 0 ? text : out + text.slice(from);
}
