/** The events the router puts on record: what was decided, never what was said. */
import { hash } from 'node:crypto';
import { safeLine, type Decision, type LedgerEvent } from '@nemoclaw/contract';
import type { FilledParts } from './parts.ts';
import type { Judged } from './judge.ts';
import type { RequestRefused } from './refused.ts';

/** OCSF API activity: "Create" for what reaches a provider or a tool. */
const create = 1;

export interface ModelCall {
  readonly provider: string;
  readonly model: string;
  readonly location: string;
  readonly ms: number;
  readonly outcome: string;
  readonly attempts: number;
  readonly streamed: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly calls: number;
}

/** One call of a model; `id` is the answer's id. */
export function modelCallEvent(parts: FilledParts, task: string, id: string, call: ModelCall): LedgerEvent {
  const worked = call.outcome === 'complete';
  return {
    time: parts.clock.now(),
    class: 'apiActivity',
    activity: create,
    severity: worked ? 1 : 3,
    sandbox: parts.sandbox,
    layer: 'router',
    message: worked ? `Model call to ${call.provider}` : `Model call to ${call.provider} failed: ${safeLine(call.outcome)}`,
    correlation: id,
    data: { task, ...call },
  };
}

/** One request that was not passed on. */
export function refusedEvent(parts: FilledParts, task: string, refused: RequestRefused): LedgerEvent {
  const { code, rule, message, status } = refused.refusal;
  return {
    time: parts.clock.now(),
    class: 'apiActivity',
    activity: create,
    severity: status === 403 || status === 401 ? 3 : 2,
    sandbox: parts.sandbox,
    layer: 'router',
    message: `Model request refused at ${refused.path === '' ? 'its start' : safeLine(refused.path)}: ${message}`,
    verdict: 'deny',
    decision: { action: 'model.call', rules: [{ id: rule }], reason: message, policyVersion: parts.decider.version, decidedBy: 'table', micros: 0 },
    data: { task, code, status, field: safeLine(refused.path) },
  };
}

/** One tool call of an answer. The arguments are there as a digest; of the catalogue's attributes, numbers and truth values as they are, texts redacted and short. */
export function toolCallEvent(parts: FilledParts, task: string, answerId: string, judged: Judged): LedgerEvent {
  const { decision, call } = judged;
  const attributes: Record<string, unknown> = Object.create(null);
  for (const [name, value] of judged.attributes) attributes[safeLine(name, 64)] = masked(parts, value);
  const verdict = judged.outcome?.verdict === 'allow' ? 'approved' : judged.outcome?.verdict === 'deny' ? 'rejected' : decision.verdict;
  return {
    time: parts.clock.now(),
    class: 'apiActivity',
    activity: create,
    severity: verdict === 'allow' ? 1 : verdict === 'approved' ? 2 : 3,
    sandbox: parts.sandbox,
    layer: 'gate',
    message: `Tool call ${safeLine(call.name, 128)}: ${decision.reason}`,
    verdict,
    decision: pick(decision),
    correlation: judged.approvalId === '' ? safeLine(call.id, 128) : judged.approvalId,
    data: { task, answer: answerId, call: safeLine(call.id, 128), tool: safeLine(call.name, 128), argumentsSha256: hash('sha256', call.arguments, 'hex'), attributes },
  };
}

function pick(decision: Decision): NonNullable<LedgerEvent['decision']> {
  const { action, rules, reason, policyVersion, decidedBy, micros } = decision;
  return { action, rules, reason, policyVersion, decidedBy, micros };
}

function masked(parts: FilledParts, value: unknown): unknown {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (typeof value === 'string' && value.length <= 200) return parts.redact(safeLine(value, 200), 'record');
  return `(${Array.isArray(value) ? 'list' : typeof value}, not recorded)`;
}
