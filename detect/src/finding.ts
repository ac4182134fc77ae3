/** What a detector reports. */

/** `secret`: looks like a credential; `known-secret`: is one the caller named, in any of its usual encodings. */
export type FindingType = 'email' | 'credit-card' | 'us-ssn' | 'iban' | 'ip' | 'phone' | 'secret' | 'known-secret';

export const findingTypes: readonly FindingType[] = ['email', 'credit-card', 'us-ssn', 'iban', 'ip', 'phone', 'secret', 'known-secret'];

export interface Finding {
  readonly type: FindingType;
  /** Offsets into what was scanned: UTF-16 units of a string, bytes of a buffer; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
  /** 0 to 1; validated forms (Luhn, mod-97, a token's own format) stand at 0.9 and more, what is more likely something else below 0.5. */
  readonly confidence: number;
  /** Which detector of its type, e.g. `github`, `pem`, `assignment`. */
  readonly kind: string;
}

/** The same places judged by several detectors: the stronger type wins, then the longer finding. Sorted, without overlaps. */
export function settle(findings: Finding[]): Finding[] {
  // The scanner goes forward, so most results are in order already, and few overlap.
  if (findings.every((finding, i) => i === 0 || (findings[i - 1]?.end ?? 0) <= finding.start)) return findings;
  const sorted = findings.toSorted((a, b) => a.start - b.start);
  const kept: Finding[] = [];
  for (let from = 0; from < sorted.length;) {
    let to = from + 1;
    let end = sorted[from]?.end ?? 0;
    while (to < sorted.length && (sorted[to]?.start ?? 0) < end) {
      end = Math.max(end, sorted[to]?.end ?? 0);
      to += 1;
    }
    const first = sorted[from];
    if (to === from + 1 && first) kept.push(first);
    else kept.push(...choose(sorted.slice(from, to)));
    from = to;
  }
  return kept;
}

/** Of findings that overlap one another, those that stay. */
function choose(findings: readonly Finding[]): Finding[] {
  const byStrength = findings.toSorted((a, b) => strength(b) - strength(a) || b.end - b.start - (a.end - a.start) || a.start - b.start);
  const kept: Finding[] = [];
  // Where many overlap, a sorted insert keeps the check logarithmic.
  for (const finding of byStrength) {
    const at = position(kept, finding.start);
    const before = kept[at - 1];
    const next = kept[at];
    const [left, right] = [before && before.end > finding.start ? before : undefined, next && next.start < finding.end ? next : undefined];
    const over = left ?? right;
    if (!over) kept.splice(at, 0, finding);
    // Two detectors of one type: the longer range, with the surer word.
    else if (over.type === finding.type && finding.confidence > over.confidence) kept[left ? at - 1 : at] = { ...over, confidence: finding.confidence, kind: finding.kind };
  }
  return kept;
}

function position(sorted: readonly Finding[], start: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle]?.start ?? Infinity) < start) low = middle + 1;
    else high = middle;
  }
  return low;
}

const order: Readonly<Record<FindingType, number>> = { 'known-secret': 8, secret: 7, iban: 6, 'credit-card': 5, 'us-ssn': 4, ip: 3, email: 2, phone: 1 };
function strength(finding: Finding): number {
  return order[finding.type];
}
