/** Asks a person about one request, within the number that one sandbox may have waiting. */
import type { HoldOutcome } from '@nemoclaw/contract';
import { holdDetail, holdSummary } from './hold-card.ts';
import type { Judged } from './judge-request.ts';
import type { PassingRequest } from './passing.ts';
import type { RequestRead } from './request-read.ts';

/** What became of the question: `granted`: it was approved before; `full`: too many wait; `ended`: nobody waits for it any more. */
export type Held = HoldOutcome | 'granted' | 'full' | 'ended';

/** Resolves with the outcome; `waits` says whether the client still does. `withdraw` takes the question back. */
export async function holdRequest(judged: Judged, passing: PassingRequest, read: RequestRead, waits: () => boolean, withdraw: AbortController): Promise<Held> {
  const { core, place, checked } = passing;
  const { approver, ids, limits, sandbox, judge } = core.ports;
  const key = judge.key(judged.request);
  const granted = await approver.consumeGrant(sandbox, key);
  if (!waits()) return 'ended';
  if (granted) return 'granted';
  if (core.held >= limits.heldRequests) return 'full';
  core.held += 1;
  core.counts.held += 1;
  let outcome: HoldOutcome;
  try {
    outcome = await approver.ask({
      holdId: ids.next('hold'), sandbox, kind: 'http', request: judged.request, decision: judged.decision, key, patienceMs: core.config.patience.httpMs,
      summary: holdSummary(place, checked), detail: holdDetail(place, checked, read.readable, core.config.credentials, read.hidden),
    }, withdraw.signal);
  } finally {
    core.held -= 1;
  }
  return waits() ? outcome : 'ended';
}
