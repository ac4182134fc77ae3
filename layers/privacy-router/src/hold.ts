/** Asks a person about one tool call and waits, at most as long as the agent has patience. */
import { safeBlock, safeLine, type HoldOutcome, type HoldRequest } from '@nemoclaw/contract';
import type { Judged } from './judge.ts';
import type { FilledParts } from './parts.ts';

/** Of which one line is made. */
const longestArguments = 2000;

/** What is shown: the action, and the call in one line. Secrets are masked. */
export function summaryOf(parts: FilledParts, judged: Judged): { readonly action: string; readonly text: string } {
  const written = judged.call.arguments;
  const args = `${parts.redact(written.slice(0, longestArguments), 'card')}${written.length > longestArguments ? '…' : ''}`;
  return { action: safeLine(judged.decision.action || judged.call.name, 100), text: safeLine(`${judged.call.name} ${args}`.trim(), 160) };
}

/** How long beyond its patience an approver may take to say so, ms. */
const graceMs = 2000;

/** The person's word, or `waiting` at the limit. Never rejects; whatever goes wrong is `unavailable`. */
export async function ask(parts: FilledParts, judged: Judged, key: string, patienceMs: number, signal: AbortSignal): Promise<HoldOutcome> {
  if (!judged.request) return { verdict: 'unavailable', reason: 'The call could not be understood.' };
  const { action, text } = summaryOf(parts, judged);
  const hold: HoldRequest = {
    holdId: parts.ids.next('hold'),
    sandbox: parts.sandbox,
    kind: 'tool',
    request: judged.request,
    decision: judged.decision,
    key,
    summary: `Call ${text} (${action})`,
    detail: safeBlock(parts.redact(`${judged.call.name}\n${judged.call.arguments}`, 'card')),
    patienceMs,
  };
  const own = new AbortController();
  const both = AbortSignal.any([signal, own.signal]);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<HoldOutcome>((resolve) => {
    timer = setTimeout(() => {
      resolve({ verdict: 'unavailable', reason: 'Nobody could be asked in time.' });
      own.abort();
    }, patienceMs + graceMs);
  });
  const gone = new Promise<HoldOutcome>((resolve) => {
    const withdrawn: HoldOutcome = { verdict: 'unavailable', reason: 'The question was withdrawn.' };
    if (signal.aborted) resolve(withdrawn);
    else signal.addEventListener('abort', () => resolve(withdrawn), { once: true });
  });
  try {
    return await Promise.race([parts.approver.ask(hold, both), late, gone]);
  } catch {
    return { verdict: 'unavailable', reason: 'Nobody could be asked.' };
  } finally {
    clearTimeout(timer);
  }
}
