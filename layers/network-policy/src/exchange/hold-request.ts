/** Asks a person about one request. */
import { askPerson } from '../judge/ask-person.ts';
import type { PersonSaid, Question } from '../judge/ask-person.ts';
import { holdDetail, holdSummary } from '../judge/hold-card.ts';
import { identified } from '../judge/identity.ts';
import type { Judged } from '../judge/judge-request.ts';
import type { PassingRequest } from './passing.ts';
import { hidesInPath, shownPath } from '../inspect/shown-path.ts';
import { keepsTainted, maskTainted, soughtIn } from '../taint/taint.ts';
import type { RequestRead } from './request-read.ts';

/** Resolves with the outcome, `ended`: nobody waits for it any more. `waits` says whether the client still does. `withdraw` takes the question back. */
export async function holdRequest(judged: Judged, passing: PassingRequest, read: RequestRead, waits: () => boolean, withdraw: AbortController): Promise<PersonSaid | 'ended'> {
  const { core, place, checked } = passing;
  const card = (): ReturnType<Question['card']> => {
    const tainted = soughtIn(passing);
    return { summary: holdSummary(place, checked.method, shownPath(passing)), detail: maskTainted(holdDetail(place, checked, read.readable, core.config.credentials, read.hidden), tainted), tainted: keepsTainted(judged.request, checked.target, tainted) || hidesInPath(passing, read.hidden) };
  };
  const { judge, ids } = core.ports;
  const request = identified(judged.request, checked, read.body !== undefined, () => ids.next('body'));
  const said = await askPerson(core, { request, decision: judged.decision, key: judge.key(request), card }, withdraw.signal);
  return waits() ? said : 'ended';
}
