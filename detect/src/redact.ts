/** Masks what the scanner finds. */
import type { FindingType } from './finding.ts';
import type { Known } from './known.ts';
import { scan } from './scan.ts';

/** The text with each finding replaced by `[redacted:TYPE]`. `keep`: types that stay. */
export function redact(text: string, known: Known = [], keep?: ReadonlySet<FindingType>): string {
  const findings = scan(text, { known });
  if (findings.length === 0) return text;
  let out = '';
  let from = 0;
  for (const { type, start, end } of findings) {
    if (keep?.has(type) === true) continue;
    out += `${text.slice(from, start)}[redacted:${type}]`;
    from = end;
  }
  return out + text.slice(from);
}
