/** Decides one tool call by the policy; fails closed. */
import { emptyHistory, unlabelled, type ActionRequest, type Decision, type HoldOutcome } from '@nemoclaw/contract';
import { readArguments } from './call-arguments.ts';
import type { ToolCall } from './dialect.ts';
import type { FilledParts } from './parts.ts';

export interface Judged {
  readonly call: ToolCall;
  readonly decision: Decision;
  /** Absent where the call could not even be understood. */
  readonly request: ActionRequest | undefined;
  readonly attributes: ReadonlyMap<string, unknown>;
  readonly local: boolean;
  /** What a person said, where one was asked. */
  readonly outcome: HoldOutcome | undefined;
  readonly approvalId: string;
}

export interface Setting {
  readonly role: string;
  readonly task: string;
  readonly offered: ReadonlySet<string>;
}

/** Decides `call`. Never throws. */
export function judge(parts: FilledParts, setting: Setting, call: ToolCall): Judged {
  const refuse = (rule: string, reason: string, hint: string, error = false): Judged => ({
    call,
    decision: refusal(parts, rule, reason, hint, error),
    request: undefined,
    attributes: new Map(),
    local: false,
    outcome: undefined,
    approvalId: '',
  });
  // An agent may repair a name it does not know into one it has; then another tool would run than was decided.
  if (!setting.offered.has(call.name)) return refuse('gate.notOffered', 'The agent did not offer a tool of this name.', 'Use one of the offered tools, by its exact name.');
  const args = readArguments(call.arguments, parts.limits.maxDepth);
  if (typeof args === 'string') return refuse('gate.arguments', args, 'Send the arguments again as one complete JSON object.');
  try {
    const { action, params, labels, local, attributes } = parts.resolveTool(call.name, args);
    const request: ActionRequest = {
      sandbox: parts.sandbox,
      role: setting.role,
      task: setting.task,
      source: 'model',
      action,
      resource: { kind: 'tool', name: call.name },
      params,
      labels,
      provenance: new Map(),
      history: emptyHistory,
    };
    return { call, decision: parts.decider.decide(request), request, attributes: new Map(attributes.filter((name) => params.has(name)).map((name) => [name, params.get(name)])), local, outcome: undefined, approvalId: '' };
  } catch {
    return refuse('gate.error', 'The call could not be decided.', 'Try another way; tell your operator if it happens again.', true);
  }
}

/** A denial of the gate's own. */
export function refusal(parts: FilledParts, rule: string, reason: string, hint: string, error = false): Decision {
  return {
    verdict: 'deny',
    action: '',
    rules: [{ id: rule }],
    reason,
    hint,
    intent: unlabelled,
    policyVersion: parts.decider.version,
    decidedBy: error ? 'error' : 'default',
    micros: 0,
  };
}
