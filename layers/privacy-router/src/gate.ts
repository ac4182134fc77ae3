/** The gate: all tool calls of one answer are decided together, and only then is any of them delivered. */
import type { Decision, HoldOutcome } from '@nemoclaw/contract';
import type { ToolCall } from './dialect.ts';
import { toolCallEvent } from './events.ts';
import { ask, summaryOf } from './hold.ts';
import { judge, refusal, type Judged, type Setting } from './judge.ts';
import type { FilledParts } from './parts.ts';
import { plainId, type Sealed } from './sealed.ts';

export interface GateSetting extends Setting {
  readonly answerId: string;
  /** Call ids already in the conversation. */
  readonly usedIds: ReadonlySet<string>;
  readonly patienceMs: number;
}

export interface Gate {
  /** Calls to deliver: allowed ones unchanged, a refusal in the place of each other one. Undefined: withdrawn, deliver nothing. */
  readonly calls: readonly ToolCall[] | undefined;
  /** A person or a grant of one was needed. */
  readonly escalated: boolean;
}

/** Called when people are asked, before waiting: what to show the agent, and the signal that withdraws the questions. Undefined: too many are open. */
export type OnHold = (waiting: readonly { readonly action: string; readonly text: string }[]) => AbortSignal | undefined;

/** Decides and, where the policy says so, asks. Never rejects. */
export async function passGate(parts: FilledParts, sealed: Sealed, setting: GateSetting, calls: readonly ToolCall[], onHold: OnHold): Promise<Gate> {
  let judged = uniqueIds(parts, sealed, setting, calls).map((call) => judge(parts, setting, call));
  const escalated = judged.some((one) => one.decision.verdict === 'escalate');
  if (escalated) {
    const after = await settle(parts, setting, judged, onHold);
    if (!after) return { calls: undefined, escalated };
    judged = after.map((one) => standing(parts, setting, one));
  }
  for (let i = 0; i < judged.length; i++) {
    const one = judged[i];
    if (!one) continue;
    const event = toolCallEvent(parts, setting.task, setting.answerId, one);
    if (!needsCommit(one)) parts.audit.emit(event);
    else {
      try {
        await parts.audit.commit(event);
      } catch {
        const decision = refusal(parts, 'gate.record', 'The record cannot be written, so nothing that must be on it is done.', 'Wait and try again.', true);
        judged[i] = { ...one, decision, outcome: undefined };
      }
    }
  }
  const name = placeholderName(setting.offered);
  return { calls: judged.map((one) => delivered(sealed, name, one)), escalated };
}

function isAllowed(one: Judged): boolean {
  return one.decision.verdict === 'allow';
}

/** What cannot be taken back is on record before it happens. Calls that only touch the sandbox can. */
function needsCommit(one: Judged): boolean {
  return isAllowed(one) && !one.local && (one.decision.decidedBy === 'approval' || one.decision.intent.reversibility === 'irreversible');
}

/** Escalated calls: a grant is used up, else a person is asked; all at once. Undefined if the questions were withdrawn. */
async function settle(parts: FilledParts, setting: GateSetting, judged: readonly Judged[], onHold: OnHold): Promise<Judged[] | undefined> {
  const out = [...judged];
  const open: { readonly index: number; readonly one: Judged; readonly key: string }[] = [];
  for (const [index, one] of judged.entries()) {
    if (one.decision.verdict !== 'escalate' || !one.request) continue;
    try {
      const key = parts.requestKey(one.request);
      if (await parts.approver.consumeGrant(parts.sandbox, key)) {
        out[index] = { ...one, decision: { ...one.decision, verdict: 'allow', decidedBy: 'approval', reason: 'A person has approved this request.', hint: '' } };
      } else open.push({ index, one, key });
    } catch {
      out[index] = { ...one, decision: refusal(parts, 'gate.approver', 'Nobody could be asked for approval.', 'Try again later.', true) };
    }
  }
  if (open.length === 0) return out;
  const signal = onHold(open.map(({ one }) => summaryOf(parts, one)));
  if (!signal) {
    for (const { index, one } of open) out[index] = { ...one, decision: refusal(parts, 'gate.tooManyHeld', 'Too many requests wait for approval.', 'Wait until some are decided.') };
    return out;
  }
  const outcomes = await Promise.all(open.map(({ one, key }) => ask(parts, one, key, setting.patienceMs, signal)));
  if (signal.aborted) return undefined;
  for (const [at, { index, one, key }] of open.entries()) {
    const outcome = outcomes[at] ?? { verdict: 'unavailable', reason: 'Nobody could be asked.' };
    out[index] = answered(parts, one, outcome, key);
  }
  return out;
}

/** An allowed call after the wait for another one, or for its own approval: neither outlives a policy that meanwhile says otherwise. */
function standing(parts: FilledParts, setting: Setting, one: Judged): Judged {
  if (!isAllowed(one)) return one;
  const again = judge(parts, setting, one.call);
  if (again.decision.verdict === 'deny') return { ...again, approvalId: one.approvalId };
  if (one.decision.decidedBy === 'approval') return one;
  if (isAllowed(again)) return again;
  return { ...again, decision: refusal(parts, 'gate.changed', 'The policy was changed while this call waited for another one, and asks about it now.', 'Make the call again.') };
}

/** The call after a person's word. */
function answered(parts: FilledParts, one: Judged, outcome: HoldOutcome, key: string): Judged {
  const base: Decision = { ...one.decision, decidedBy: 'approval' };
  switch (outcome.verdict) {
    case 'allow':
      return { ...one, outcome, approvalId: outcome.approvalId, decision: { ...base, verdict: 'allow', reason: 'A person has approved this request.', hint: '' } };
    case 'deny': {
      const why = outcome.reason === '' ? '' : `: ${outcome.reason}`;
      const decision: Decision = { ...base, verdict: 'deny', reason: `A person has rejected this request${why}.`.replace(/\.\.$/, '.'), hint: 'Do not try it again; go on without it, or say why it is needed.' };
      return { ...one, outcome, approvalId: outcome.approvalId, decision };
    }
    case 'waiting': {
      const approvalId = outcome.approvalId || (parts.approver.pending(parts.sandbox, key) ?? '');
      return { ...one, outcome, approvalId, decision: { ...one.decision, reason: 'Nobody has decided yet; the request still waits for approval.', hint: 'Go on with other work. The same call with the same arguments passes once when it has been approved.' } };
    }
    case 'unavailable':
      return { ...one, decision: { ...base, verdict: 'deny', decidedBy: 'error', reason: `Approval is needed, but ${outcome.reason.charAt(0).toLowerCase()}${outcome.reason.slice(1)}`, hint: 'Try again later.' } };
  }
}

/** A call the agent can run as it is, or the call to a tool that does not exist: agents execute nothing and go on. */
function delivered(sealed: Sealed, placeholder: string, one: Judged): ToolCall {
  if (isAllowed(one)) return one.call;
  const { rules, reason, hint, verdict } = one.decision;
  const rule = rules[0]?.id ?? '';
  const waiting = verdict === 'escalate' ? { status: 'waiting', approvalId: one.approvalId } : {};
  sealed.put(one.call, placeholder, JSON.stringify({ verdict: verdict === 'escalate' ? 'waiting' : 'deny', rule, reason, hint, ...(verdict === 'escalate' ? { approvalId: one.approvalId } : {}) }));
  return { id: one.call.id, name: placeholder, arguments: JSON.stringify({ ...waiting, rule, reason, hint }) };
}

/** A name that is not offered, however an agent folds case. */
function placeholderName(offered: ReadonlySet<string>): string {
  const taken = new Set([...offered].map((name) => name.toLowerCase()));
  let name = 'refused_by_policy';
  for (let i = 2; taken.has(name); i++) name = `refused_by_policy_${i}`;
  return name;
}

/** Gives a fresh id to a call whose id stands already in the conversation: histories are repaired by id. */
function uniqueIds(parts: FilledParts, sealed: Sealed, setting: GateSetting, calls: readonly ToolCall[]): ToolCall[] {
  return calls.map((call) => (sealed.has(call.id) || setting.usedIds.has(plainId(call.id)) ? { ...call, id: parts.ids.next('call') } : call));
}
