/** Asks a person whether an answer is delivered: it is here already, and nobody but the proxy has it. */
import { createHash } from 'node:crypto';
import type { Decision } from '@nemoclaw/contract';
import { answerKey } from '@nemoclaw/decide';
import { askPerson } from '../judge/ask-person.ts';
import type { Question } from '../judge/ask-person.ts';
import { refusal } from '../core.ts';
import { holdAnswer, holdSummary } from '../judge/hold-card.ts';
import { Stopped } from '../hooks.ts';
import type { Passing } from '../hooks.ts';
import { httpRecord } from '../records.ts';
import { keepsTainted, maskTainted, soughtIn } from '../taint/taint.ts';
import { hidesInPath, shownPath } from './shown-path.ts';

export interface AnswerQuestion {
  readonly decision: Decision;
  readonly status: number;
  readonly contentType: string;
  /** Without its content encoding; undefined where it is not shown. */
  readonly body: Buffer | undefined;
  /** What of its head the question is about: name, value, name, value… */
  readonly fields?: readonly string[];
  /** Classes that are not shown. */
  readonly hidden: ReadonlySet<string>;
}

/** Resolves where it may be delivered; rejects with `Stopped` where not. `withdraw`: nobody waits for it any more. */
export async function askAboutAnswer(passing: Passing, { decision, status, contentType, body, fields = [], hidden }: AnswerQuestion, withdraw: AbortSignal): Promise<void> {
  const { core, place, checked, judged, correlation } = passing;
  const { audit, judge } = core.ports;
  if (!judged) throw unasked(passing, 'It was never decided on.');
  // The yes is for this answer to this request, and for no other.
  const answer = createHash('sha256').update(`${status} ${contentType}\n${fields.join('\n')}\n`).update(body ?? '').digest('hex');
  const record = (verdict: 'approved' | 'deny', message: string, more: Readonly<Record<string, unknown>>): ReturnType<typeof httpRecord> => httpRecord(core.seen(correlation), place, checked.method, shownPath(passing), verdict, message, decision, more);
  const card = (): ReturnType<Question['card']> => {
    const sought = soughtIn(passing);
    const mask = (text: string): string => maskTainted(text, sought);
    return { tainted: keepsTainted(judged.request, checked.target, sought) || hidesInPath(passing, hidden), summary: `Deliver the answer to ${holdSummary(place, checked.method, shownPath(passing))}`, detail: mask(holdAnswer(place, checked, { status, contentType, body, hidden }, core.config.credentials)) };
  };
  const outcome = await askPerson(core, { request: judged.request, decision, key: answerKey(judge.key(judged.request), answer), answer, card }, withdraw);
  if (outcome === 'full') throw unasked(passing, 'Too many requests wait for approval already.');
  if (outcome === 'granted') await audit.commit(record('approved', 'the answer is delivered by an earlier approval', {}));
  else if (outcome.verdict === 'allow') await audit.commit(record('approved', `the answer is delivered: approved by ${outcome.by}`, { approvalId: outcome.approvalId }));
  else if (outcome.verdict === 'deny') throw new Stopped({ ...decision, verdict: 'deny', decidedBy: 'approval', reason: outcome.reason, hint: 'The request was made, and a person refused to deliver its answer. Do not try it again; tell the user.' }, `the answer was kept back by ${outcome.by}`, 403, {}, { approvalId: outcome.approvalId });
  else if (outcome.verdict === 'waiting') throw new Stopped({ ...decision, verdict: 'deny', hint: 'The request was made; its answer waits for approval. Where it may be repeated, send the identical request again later: the same answer is delivered once after approval.' }, 'the answer still waits for approval', 503, { 'retry-after': '30' }, { status: 'waiting', approvalId: outcome.approvalId });
  else throw unasked(passing, outcome.reason);
}

function unasked(passing: Passing, why: string): Stopped {
  return new Stopped(refusal(passing.core.config.version, 'inspection.responses', `A person decides whether this answer is delivered, and nobody could be asked: ${why}`, 'The request was made, but its answer is not delivered. Try again later, where it may be repeated.'), 'nobody could be asked about the answer', 503, { 'retry-after': '5' });
}
