/** One event of the record (OCSF) as a line for people. */
import type { CliContext } from './context.ts';
import { wrapped } from './table.ts';
import { mark, shownVerdict } from './verdict-mark.ts';

export interface EventFacts {
  readonly time: number;
  readonly message: string;
  readonly verdict: string;
  readonly layer: string;
  readonly rule: string;
  readonly sandbox: string;
}

const field = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? (at as Record<string, unknown>)[name] : undefined), value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The few facts a line shows; what an event lacks is ''. */
export function eventFacts(event: Readonly<Record<string, unknown>>): EventFacts {
  const rules = field(event, 'unmapped', 'decision', 'rules');
  const first: unknown = Array.isArray(rules) ? rules[0] : undefined;
  const time = field(event, 'time');
  return {
    time: typeof time === 'number' ? time : 0,
    message: text(field(event, 'message')),
    verdict: text(field(event, 'unmapped', 'verdict')),
    layer: text(field(event, 'unmapped', 'layer')),
    rule: text(field(first, 'id')),
    sandbox: text(field(event, 'unmapped', 'sandbox')),
  };
}

/** `12:00:01.123  x Denied  proxy  message  (rule)`; `escape` makes agent-supplied text safe. */
export function eventLine(context: CliContext, event: Readonly<Record<string, unknown>>, escape: (text: string) => string, withSandbox = false): string {
  const facts = eventFacts(event);
  const at = facts.time === 0 ? '-' : new Date(facts.time).toISOString();
  const when = context.world.stdout.isTTY ? at.slice(11, 23) : at;
  const columns = [
    when,
    ...(withSandbox ? [facts.sandbox === '' ? '-' : escape(facts.sandbox)] : []),
    facts.verdict === '' ? '-' : mark(context, shownVerdict(facts.verdict)).trimStart(),
    facts.layer === '' ? '-' : facts.layer,
    escape(facts.message),
  ];
  if (facts.rule !== '') columns.push(`(${escape(facts.rule)})`);
  const { isTTY, columns: wide } = context.world.stdout;
  return isTTY ? wrapped(columns.join('  '), wide, ' '.repeat(14)) : columns.join('\t');
}
