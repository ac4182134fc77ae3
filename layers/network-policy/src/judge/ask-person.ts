/** Asks a person, within the number of questions that one sandbox may have waiting. */
import type { HoldOutcome, HoldRequest } from '@nemoclaw/contract';
import type { Core } from '../core.ts';

/** `granted`: it was approved before, and that is used up now; `full`: too many wait. */
export type PersonSaid = HoldOutcome | 'granted' | 'full';

export interface Question extends Pick<HoldRequest, 'request' | 'decision' | 'key' | 'answer'> {
  /** What is shown; made only where somebody is asked. */
  readonly card: () => Pick<HoldRequest, 'summary' | 'detail' | 'tainted'>;
}

/** Resolves with the outcome. `withdraw` takes the question back. */
export async function askPerson(core: Core, question: Question, withdraw: AbortSignal): Promise<PersonSaid> {
  const { approver, sandbox, ids, limits } = core.ports;
  const { request, decision, key, answer } = question;
  if (await approver.consumeGrant(sandbox, key)) return 'granted';
  if (withdraw.aborted) return { verdict: 'unavailable', reason: 'the question was withdrawn' };
  if (core.held >= limits.heldRequests) return 'full';
  core.held += 1;
  core.counts.held += 1;
  try {
    return await approver.ask({ holdId: ids.next('hold'), sandbox, kind: 'http', request, decision, key, ...(answer === undefined ? {} : { answer }), patienceMs: core.config.patience.httpMs, ...question.card() }, withdraw);
  } finally {
    core.held -= 1;
  }
}
