/** How a verdict looks: a shape, a word and, for those who want it, a colour; never by colour alone. */
import { wantsColour, type CliContext } from './context.ts';

const marks: Readonly<Record<string, { readonly shape: string; readonly colour: number }>> = {
  Allowed: { shape: '+', colour: 32 },
  Approved: { shape: '+', colour: 32 },
  ok: { shape: '+', colour: 32 },
  yes: { shape: '+', colour: 32 },
  running: { shape: '+', colour: 32 },
  Denied: { shape: 'x', colour: 31 },
  Rejected: { shape: 'x', colour: 31 },
  failed: { shape: 'x', colour: 31 },
  no: { shape: 'x', colour: 31 },
  Waiting: { shape: '?', colour: 33 },
  warning: { shape: '!', colour: 33 },
  Expired: { shape: '-', colour: 33 },
  Withdrawn: { shape: '-', colour: 33 },
};

/** `x Denied`, coloured where wanted. Unknown words come back without a shape. */
export function mark(context: CliContext, word: string): string {
  const known = Object.hasOwn(marks, word) ? marks[word] : undefined;
  if (!known) return `  ${word}`;
  const text = `${known.shape} ${word}`;
  return wantsColour(context) ? `\u001b[${known.colour}m${text}\u001b[0m` : text;
}

/** The one vocabulary people see, from what the record holds. */
export function shownVerdict(verdict: string): string {
  const words: Readonly<Record<string, string>> = {
    allow: 'Allowed',
    deny: 'Denied',
    escalate: 'Waiting',
    approved: 'Approved',
    rejected: 'Rejected',
    observe: 'Observed',
    waiting: 'Waiting',
    granted: 'Approved',
    expired: 'Expired',
    withdrawn: 'Withdrawn',
  };
  return Object.hasOwn(words, verdict) ? (words[verdict] ?? verdict) : verdict;
}
