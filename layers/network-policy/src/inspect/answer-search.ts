/** Judges an answer that is here as a whole: as its reader will read it, by what the policy says of answers. */
import { compileKnown } from '@nemoclaw/detect';
import type { Passing } from '../hooks.ts';
import { otherBytes } from './answer-plan.ts';
import type { AnswerPlan } from './answer-plan.ts';
import { askAboutAnswer } from './answer-question.ts';
import { actionFor, classWords, hiddenOf, strictest } from './findings.ts';
import { inspectAside, undoAside } from './inspect-aside.ts';
import { answerBlocked, answerUnreadable, askedAboutAnswer, inspectedBytes, recordFound } from './report.ts';
import { encode } from './requests.ts';

export interface Answer {
  readonly status: number;
  /** Name, value, name, value… */
  readonly fields: readonly string[];
  readonly bytes: Buffer;
}

/** The sandbox's own credentials are masked wherever they come back; they are no finding here. */
const none = compileKnown([]);

/** Resolves with what is delivered, or with `long` where it decodes to more than is looked at as a whole. Rejects with `Stopped` where it is not delivered. */
export async function judgeAnswer(passing: Passing, { settings, encodings, contentType }: AnswerPlan, answer: Answer, withdraw: AbortSignal): Promise<Answer | 'long'> {
  if (!settings) return answer;
  const { core } = passing;
  const undone = await undoAside(core.ports.sandbox, { body: answer.bytes, encoding: encodings.join(', '), limit: Math.max(core.ports.limits.bodyBytes * 4, inspectedBytes(core)) });
  if (undone.state === 'bomb') return 'long';
  if (undone.state !== 'done') throw answerUnreadable(passing, 'proxy.answer-encoding', undone.why);
  const { actions, scanForPII } = settings;
  const remember = core.taint.remembering(passing);
  const { found, rewritten, hashes } = await inspectAside(core.ports.sandbox, { bytes: undone.body, contentType, known: none, remember, settings: { scanForPII, ...(actions ? { actions } : {}) } });
  if (hashes && remember) core.taint.remember(passing, hashes, remember);
  const worst = strictest(found, settings);
  const masked = encodings.length > 0 && !core.values.empty;
  const plain: Answer = masked ? { ...answer, fields: otherBytes(answer.fields, undone.body.length), bytes: undone.body } : answer;
  if (!worst) return plain;
  recordFound(passing, 'answer', found, worst.action);
  if (worst.action === 'block') throw answerBlocked(passing, worst.found);
  const first = found.find((one) => actionFor(one, settings) === 'redact');
  // What cannot be taken out is not delivered.
  if (first && !rewritten) throw answerBlocked(passing, first);
  const body = rewritten && Buffer.from(rewritten.buffer, rewritten.byteOffset, rewritten.byteLength);
  if (worst.action === 'escalate') {
    const why = `${classWords[worst.found.type]} stands in ${worst.found.place}`;
    const decision = askedAboutAnswer(passing, `inspection.responses.actions.${worst.found.type}`, why);
    await askAboutAnswer(passing, { decision, status: answer.status, contentType, body: body ?? undone.body, hidden: hiddenOf(found, settings) }, withdraw);
  }
  if (!body) return plain;
  const [encoding = ''] = masked || encodings.length !== 1 ? [] : encodings;
  const sent = encode(body, encoding) ?? body;
  return { ...answer, fields: otherBytes(answer.fields, sent.length, encoding), bytes: sent };
}
