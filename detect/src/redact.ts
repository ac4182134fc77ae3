/** Masks what the scanner finds. */
import { findingTypes, type FindingType } from './finding.ts';
import type { Known } from './known.ts';
import { scan } from './scan.ts';

/** The text with each finding replaced by `[redacted:TYPE]`. `keep`: types that stay. */
export function redact(text: string, known: Known = [], keep?: ReadonlySet<FindingType>): string {
  let out = text;
  // What stood beside a masked value may be one by itself now, so it is looked at again until nothing is left.
  for (let round = 0; round < rounds; round += 1) {
    const masked = maskOnce(out, known, keep);
    if (masked === out) break;
    out = masked;
  }
  return out;
}

/** What stays on a card, because a person decides by it: of a tool call all that is no credential, of a request whom and what it goes to. */
export const shownOnCards: Readonly<Record<'tool' | 'http', ReadonlySet<FindingType>>> = {
  tool: new Set(findingTypes.filter((type) => type !== 'secret' && type !== 'known-secret')),
  http: new Set<FindingType>(['email', 'phone', 'ip']),
};

// Each round uses up text that was not a mask before; three are the most ever seen, and a bound is a bound.
const rounds = 8;

function maskOnce(text: string, known: Known, keep: ReadonlySet<FindingType> | undefined): string {
  const findings = scan(text, { known });
  let out = '';
  let from = 0;
  for (const { type, start, end } of findings) {
    if (keep?.has(type) === true) continue;
    out += `${text.slice(from, start)}[redacted:${type}]`;
    from = end;
  }
  return from === 0 ? text : out + text.slice(from);
}
