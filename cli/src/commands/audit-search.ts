/** `nemoclaw audit search`: finds events on the record. */
import type { EventView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { note, say, sayJson, type CliContext } from '../context.ts';
import { eventFacts, eventLine } from '../event-line.ts';
import { readEvents } from '../events.ts';
import { Failure } from '../failure.ts';
import { shownVerdict } from '../verdict-mark.ts';

export interface SearchFlags extends CommonFlags {
  readonly sandbox?: string;
  readonly verdict?: string;
  readonly limit?: string;
  readonly after?: string;
}

/** The words people see, and those that the record holds. */
const verdicts: ReadonlySet<string> = new Set(['allowed', 'denied', 'waiting', 'approved', 'rejected', 'observed', 'expired', 'withdrawn', 'allow', 'deny', 'escalate', 'observe', 'granted']);

export async function run(this: CliContext, flags: SearchFlags, ...words: string[]): Promise<void> {
  const limit = number(flags.limit, 100, '--limit');
  const wanted = words.map((word) => word.toLowerCase());
  const verdict = flags.verdict?.toLowerCase();
  if (verdict !== undefined && !verdicts.has(verdict)) throw new Failure('NEMO_E_USAGE', { what: `No event has the verdict '${verdict}'.`, fix: `Choose one of: ${[...verdicts].join(', ')}.` });
  const found: EventView[] = [];
  for await (const view of readEvents(this, { sandbox: flags.sandbox ?? '', after: number(flags.after, 0, '--after') })) {
    const facts = eventFacts(view.event);
    if (verdict !== undefined && shownVerdict(facts.verdict).toLowerCase() !== verdict && facts.verdict !== verdict) continue;
    if (wanted.length > 0) {
      const text = JSON.stringify(view.event).toLowerCase();
      if (!wanted.every((word) => text.includes(word))) continue;
    }
    // the newest are kept
    found.push(view);
    if (found.length > limit) found.shift();
  }
  if (flags.json) return sayJson(this, found);
  if (found.length === 0) return note(this, 'Nothing on record fits.');
  const { safeLine } = await import('@nemoclaw/contract');
  for (const view of found) say(this, `#${view.sequence}${this.world.stdout.isTTY ? '  ' : '\t'}${eventLine(this, view.event, (text) => safeLine(text, 400), true)}`);
}

function number(given: string | undefined, otherwise: number, flag: string): number {
  const value = Number(given ?? otherwise);
  if (!Number.isSafeInteger(value) || value < 0) throw new Failure('NEMO_E_USAGE', { what: `${flag} needs a number.` });
  return value;
}
