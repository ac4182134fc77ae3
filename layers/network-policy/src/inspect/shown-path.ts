/** The path of a request as the record and people are told it: without what inspection found in it. */
import { redact, shownOnCards, type FindingType, type Known } from '@nemoclaw/detect';
import type { Passing } from '../hooks.ts';
import { carriesTainted, maskTainted, soughtIn } from '../taint/taint.ts';
import type { Found } from './findings.ts';
import { inspectHead } from './inspect-head.ts';

const nothing: ReadonlySet<FindingType> = new Set();

/** A path, or a whole target. What is plain is replaced where it stands, what is encoded with the part that it stands in, and what goes over several parts with all of them. `keep`: classes that stay. */
export function maskTarget(target: string, known: Known, keep: ReadonlySet<FindingType> = nothing): string {
  // All of it is looked into as a path: one that is decoded already may have a question mark.
  const first = (text: string): Found | undefined => inspectHead({ target: text.replaceAll('?', '%3F'), query: [], headers: [] }, known).find(({ type }) => type === 'tainted' || !keep.has(type));
  if (!first(target)) return target;
  const parts = redact(target, known, keep).split(/([/?&])/).map((part) => {
    const one = first(`/${part}`);
    return one ? `[redacted:${one.type}]` : part;
  }).join('');
  const one = first(parts);
  return one ? `/[redacted:${one.type}]` : parts;
}

/** The path of a request, for the record. */
export function shownPath(passing: Passing): string {
  const { core, checked, foundInPath } = passing;
  const path = checked.paths[0] ?? '';
  // Before the head is inspected nobody knows what is in it.
  const bare = foundInPath === false ? path : maskTarget(path, core.secrets.known);
  // It was found as the client spelled it, or in a form that only the own secrets are looked for in.
  if ((foundInPath === true && bare === path) || core.secrets.inText(bare)) return '/[redacted]';
  const sought = soughtIn(passing);
  const masked = maskTainted(bare, sought);
  return carriesTainted(masked, sought) ? '/[redacted:tainted]' : masked;
}

/** Whether the path holds what a search for plain values does not take out of a question. `hidden`: classes that its card does not show. */
export function hidesInPath({ checked, foundInPath }: Passing, hidden: ReadonlySet<string>): boolean {
  if (foundInPath === false) return false;
  const keep = new Set([...shownOnCards.http].filter((type) => !hidden.has(type)));
  return checked.paths.some((path) => maskTarget(path, [], keep) !== redact(path, [], keep));
}
