/** Header and trailer fields of answers: searched as those of requests are, and acted on as the policy says of answers. Name, value, name, value… */
import { findingTypes, redact } from '@nemoclaw/detect';
import { Stopped } from '../hooks.ts';
import type { Passing } from '../hooks.ts';
import type { AnswerQuestion } from './answer-question.ts';
import { enforced } from './answer-plan.ts';
import { recordOnce } from './answers.ts';
import { actionFor, answerSettings, classWords, hiddenOf, strictest } from './findings.ts';
import type { Found } from './findings.ts';
import { inspectAnswerFields, toldInFields } from './inspect-head.ts';
import { answerBlocked, answerUnreadable, askedAboutAnswer, recordFound, settingsOf } from './report.ts';

export type HeadQuestion = Pick<AnswerQuestion, 'decision' | 'fields' | 'hidden'>;
interface Judged {
  /** What is delivered: own credentials masked, without what is to be redacted. */
  readonly fields: string[];
  /** A person decides first. */
  readonly question?: HeadQuestion;
}

const places = { interim: 'a header before the answer', head: 'a header of the answer', trailers: 'a trailer of the answer' };

/** Answers whose head was judged before it came to the relay. */
const judged = new WeakSet<Passing>();

/** The head of an answer that can wait for a person. Throws `Stopped` where it is not delivered. */
export function judgeHead(passing: Passing, given: readonly string[]): Judged {
  if (!enforced(passing)) return { fields: [...given] };
  judged.add(passing);
  return judge(passing, given, 'head', true);
}

/** What goes on of the fields of an answer, of which nothing can wait: `escalate` does what `block` does. Throws `Stopped` where the answer is not delivered, or ends. */
export function searchedFields(passing: Passing, given: readonly string[], where: keyof typeof places): string[] {
  if (where === 'head' && judged.has(passing)) return passing.core.values.maskFields(given);
  return judge(passing, given, where, false).fields;
}

function judge(passing: Passing, given: readonly string[], where: keyof typeof places, waits: boolean): Judged {
  try {
    const fields = passing.core.values.maskFields(given);
    return fields.length === 0 ? { fields } : passing.core.pace.measure(() => act(passing, fields, where, waits));
  } catch (error) {
    throw error instanceof Stopped ? error : answerUnreadable(passing, 'inspection.responses', 'the head of the answer could not be inspected');
  }
}

function act(passing: Passing, fields: string[], where: keyof typeof places, waits: boolean): Judged {
  const settings = answerSettings(settingsOf(passing.core));
  if (!settings) return { fields };
  passing.core.taint.rememberText(passing, toldInFields(fields));
  const found = inspectAnswerFields(fields).map((one): Found => ({ ...one, place: one.place.replace('a header', places[where]) }));
  const worst = strictest(found, settings);
  if (!worst) return { fields };
  if (worst.action === 'log') {
    recordOnce(passing, 'answer', found);
    return { fields };
  }
  const taken = (one: Found): boolean => actionFor(one, settings) === 'redact';
  const kept = found.some(taken) ? without(fields, taken) : fields;
  // What cannot be taken out is not delivered.
  const stops = worst.action === 'block' || (worst.action === 'escalate' && !waits) ? worst.found : kept ? undefined : found.find(taken);
  if (stops || !kept) {
    recordFound(passing, 'answer', found, 'block');
    throw answerBlocked(passing, stops ?? worst.found);
  }
  recordOnce(passing, 'answer', found, worst.action);
  if (worst.action !== 'escalate') return { fields: kept };
  const decision = askedAboutAnswer(passing, `inspection.responses.actions.${worst.found.type}`, `${classWords[worst.found.type]} stands in ${worst.found.place}`);
  return { fields: kept, question: { decision, hidden: hiddenOf(found, settings), fields: holding(fields, (one) => actionFor(one, settings) === 'escalate') } };
}

/** The fields in which such a thing is found. */
function holding(fields: readonly string[], which: (found: Found) => boolean): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const field = fields.slice(i, i + 2);
    if (inspectAnswerFields(field).some(which)) out.push(...field);
  }
  return out;
}

/** Characters of a head out of which something is taken: each field is searched again for it, and all others wait. */
const longestRedacted = 8 * 1024;

/** The fields with marks in place of what is found in their values, or of whole values where it hides in an encoding; undefined where some of it stays, or there is too much to take it out. */
function without(fields: readonly string[], which: (found: Found) => boolean): string[] | undefined {
  if (fields.reduce((sum, text) => sum + text.length, 0) > longestRedacted) return undefined;
  const out: string[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [name = '', value = ''] = fields.slice(i, i + 2);
    const mine = inspectAnswerFields([name, value]).filter(which).map(({ type }) => type);
    const marked = mine.length === 0 ? value : redact(value, [], new Set(findingTypes.filter((type) => !mine.includes(type))));
    out.push(name, mine.length > 0 && inspectAnswerFields([name, marked]).some(which) ? `[redacted:${mine[0] ?? ''}]` : marked);
  }
  return inspectAnswerFields(out).some(which) ? undefined : out;
}
