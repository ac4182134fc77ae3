/** The one evaluator: every surface, tool and test asks here. */
import { safeLine, type ActionLabels, type ActionRequest, type Decision, type FileOp, type Resource, type RuleRef, type Verdict } from '@nemoclaw/contract';
import type { ActionPlan } from './actions.ts';
import { evaluate } from './cedar.ts';
import { decideConnect, decideName, type EgressVerdict } from './egress.ts';
import { factsOf } from './facts.ts';
import { decideFile } from './files.ts';
import { canonicalHost } from './hosts.ts';
import { withLabel } from './label-egress.ts';
import { plansOf, type CompiledPolicy } from './policy.ts';
import { httpVerdict } from './verdicts.ts';

/** One surface's word; the strictest of all is the decision. */
interface Part {
  readonly verdict: Verdict;
  readonly refs: readonly RuleRef[];
  readonly reason: string;
  readonly hint: string;
  readonly by: Decision['decidedBy'];
  readonly plan: ActionPlan | undefined;
}

const strictness: Readonly<Record<Verdict, number>> = { allow: 0, escalate: 1, deny: 2 };

const hints = {
  allow: 'Go on.',
  host: 'Use a host, method and path that the policy allows, or ask the operator to add a rule under egress.allow.',
  action: 'Do the task without this action, or ask the operator to add it to permissions.allowedAPIs.',
  denied: 'Do the task without this action; asking again gives the same answer.',
  tool: 'Use a tool of the action catalogue, or ask the operator to list this one there.',
  approve: 'Wait for the operator; `nemoclaw approvals list` shows the question.',
  file: 'Use a path that the policy opens, or ask the operator to add it under filesystem.',
  error: 'Ask the operator to run `nemoclaw policy validate`.',
} as const;

/**
 * Decides one request by one policy. Never throws; what is not known is denied, and any error is a denial.
 * Of several surfaces (the host that a request goes to, each action that it carries out) the strictest wins: deny over escalate over allow.
 * An approval never widens permissions: a trigger on an action that is not in `allowedAPIs` does not make it askable, the action stays denied.
 * Tools that touch only the sandbox (`fs.*`, `process.*`) need no entry in `allowedAPIs`: the kernel governs them. `deniedAPIs` and triggers hold for them too.
 * `params` as `resolveTool` and `resolveHttp` give them. A role that is not the policy's is denied; '' is any.
 */
export function decide(policy: CompiledPolicy, request: ActionRequest): Decision {
  const start = performance.now();
  let part: Part;
  let monitored: Decision['monitored'];
  try {
    part = decideParts(policy, request);
    monitored = part.verdict === 'deny' ? undefined : stricterUnwatched(policy, request, part);
  } catch {
    part = { verdict: 'deny', refs: [{ id: 'error' }], reason: 'The request could not be decided.', hint: hints.error, by: 'error', plan: undefined };
  }
  const decision: Decision = {
    verdict: part.verdict,
    action: part.plan?.name ?? request.action,
    rules: part.refs,
    reason: part.reason,
    hint: part.hint,
    intent: intentOf(part.plan, request.labels),
    policyVersion: policy.version,
    decidedBy: part.by,
    micros: (performance.now() - start) * 1000,
  };
  return monitored === undefined ? decision : { ...decision, monitored };
}

/** What the rules in monitor mode would make of it, where that is stricter. */
function stricterUnwatched(policy: CompiledPolicy, request: ActionRequest, part: Part): Decision['monitored'] {
  const resource = request.resource;
  if (policy.unwatched === undefined || (resource.kind !== 'http' && resource.kind !== 'host')) return undefined;
  const { verdict, refs, reason } = egressVerdict(policy.unwatched, request, resource);
  return verdict === 'allow' || strictness[verdict] <= strictness[part.verdict] ? undefined : { verdict, rules: refs, reason };
}

function intentOf(plan: ActionPlan | undefined, given: ActionLabels): ActionLabels {
  return plan?.ir === undefined ? given : plan.labels;
}

function decideParts(policy: CompiledPolicy, request: ActionRequest): Part {
  if (policy.role !== '' && request.role !== '' && request.role !== policy.role) {
    return { verdict: 'deny', refs: [{ id: 'role' }], reason: `This policy is for the role ${policy.role}.`, hint: hints.error, by: 'default', plan: undefined };
  }
  const resource = request.resource;
  let part: Part | undefined;
  let as = '';
  if (resource.kind === 'http' || resource.kind === 'host') {
    const verdict = network(policy, request);
    as = verdict.rule?.ir.as ?? '';
    part = networkPart(verdict);
  } else if (resource.kind === 'file') part = filePart(policy, resource);
  else if (resource.kind === 'call') part = callPart(policy, resource.name);
  const plans = plansOf(policy, request, as);
  if (plans === undefined) return unlisted(resource.kind === 'tool' ? resource.name : '');
  // a denial of the host is the whole answer, and so is what rules allow where nobody permits actions, but the action is still worth a name
  if (part?.verdict === 'deny' || (part !== undefined && policy.ir.rulesAllowActions === true)) return plans[0] === undefined ? part : { ...part, plan: plans[0] };
  for (const plan of plans) part = stricter(part, actionPart(policy, request, plan));
  return part ?? { verdict: 'deny', refs: [{ id: 'permissions.default' }], reason: 'The request names no action.', hint: hints.action, by: 'default', plan: undefined };
}

/** The stricter of two; between equals both are named, and the action is. */
function stricter(a: Part | undefined, b: Part): Part {
  if (a === undefined) return b;
  const difference = strictness[a.verdict] - strictness[b.verdict];
  if (difference === 0) return { ...b, refs: [...a.refs, ...b.refs], plan: a.plan ?? b.plan, by: a.by === 'table' ? b.by : a.by };
  if (difference < 0) return b;
  return a.plan === undefined ? { ...a, plan: b.plan } : a;
}

function network(policy: CompiledPolicy, request: ActionRequest): EgressVerdict {
  const resource = request.resource;
  const none = policy.ir.networkNone;
  if (none !== null) return { verdict: 'deny', refs: [none], reason: 'This sandbox has no network.', rule: undefined };
  if (resource.kind !== 'host' && resource.kind !== 'http') return { verdict: 'deny', refs: [], reason: '', rule: undefined };
  const verdict = egressVerdict(policy.egress, request, resource);
  return request.source === 'dns' ? verdict : withLabel(request.history, verdict, policy.network.labelOf(resource.host));
}

function egressVerdict(egress: CompiledPolicy['egress'], request: ActionRequest, resource: Extract<Resource, { kind: 'http' | 'host' }>): EgressVerdict {
  if (resource.kind === 'http' || resource.message !== undefined) return httpVerdict(egress, resource);
  const host = canonicalHost(resource.host);
  return request.source === 'dns' ? decideName(egress, host) : decideConnect(egress, host, resource.port, resource.program);
}

function networkPart(verdict: EgressVerdict): Part {
  const hint = verdict.verdict === 'allow' ? hints.allow : verdict.verdict === 'deny' ? hints.host : hints.approve;
  return { verdict: verdict.verdict, refs: verdict.refs, reason: verdict.reason, hint, by: verdict.rule === undefined ? 'default' : 'table', plan: undefined };
}

function filePart(policy: CompiledPolicy, resource: { readonly path: string; readonly toPath?: string; readonly op: FileOp }): Part {
  const first = decideFile(policy.ir, resource.path, resource.op);
  const second = resource.toPath === undefined ? undefined : decideFile(policy.ir, resource.toPath, resource.op === 'rename' ? 'rename' : 'create');
  const worse = second !== undefined && strictness[second.verdict] > strictness[first.verdict] ? second : first;
  const hint = worse.verdict === 'allow' ? hints.allow : worse.verdict === 'deny' ? hints.file : hints.approve;
  return { verdict: worse.verdict, refs: worse.refs, reason: worse.reason, hint, by: 'table', plan: undefined };
}

/** Only calls that the policy names are ever asked about; the kernel has decided on all others. */
function callPart(policy: CompiledPolicy, name: string): Part {
  const rule = policy.ir.calls.find((call) => call.name === name);
  if (rule) return { verdict: 'escalate', refs: [rule.ref], reason: `A person decides on every ${safeLine(name)} (${rule.ref.id}).`, hint: hints.approve, by: 'table', plan: undefined };
  return { verdict: 'deny', refs: [{ id: 'syscalls.default' }], reason: `The policy does not name ${safeLine(name)}.`, hint: hints.action, by: 'default', plan: undefined };
}

function unlisted(tool: string): Part {
  return { verdict: 'deny', refs: [{ id: 'catalogue.default' }], reason: `The tool ${safeLine(tool.slice(0, 128))} is not in the action catalogue.`, hint: hints.tool, by: 'default', plan: undefined };
}

function actionPart(policy: CompiledPolicy, request: ActionRequest, plan: ActionPlan): Part {
  const name = plan.ir === undefined ? safeLine(plan.name.slice(0, 128)) : plan.name;
  const part = (verdict: Verdict, refs: readonly RuleRef[], reason: string, hint: string, by: Decision['decidedBy']): Part => ({ verdict, refs, reason, hint, by, plan });
  if (plan.deniedBy !== undefined) return part('deny', [plan.deniedBy], `${name} is denied by ${plan.deniedBy.id}.`, hints.denied, 'table');
  const local = plan.local && (request.resource.kind === 'tool' || request.resource.kind === 'none');
  if (plan.allowedBy === undefined && !local) return part('deny', [{ id: 'permissions.default' }], `${name} is not among the allowed actions.`, hints.action, 'default');
  if (plan.always !== undefined) return part('escalate', [plan.always.ref], `A person decides on every ${name} (${plan.always.ref.id}).`, hints.approve, 'table');
  if (plan.conditional.length > 0) {
    const facts = factsOf(plan, request.params, isStated(request.resource));
    const answer = evaluate(policy.slice(plan), plan, request.sandbox, facts);
    if (answer.verdict === 'error') return part('deny', plan.conditional.map((t) => t.ref), `${name} could not be decided: ${answer.why}.`, hints.error, 'error');
    if (answer.verdict !== 'allow') {
      const refs = answer.triggers.map((t) => t.ref);
      const why = answer.triggers.map((t) => (t.threshold.kind === 'above' ? amountReason(t.threshold.usd, facts.amountUsdCents) : recipientReason(facts.recipientDomains))).join('; ');
      return part(answer.verdict, refs, `A person decides on this ${name}: ${why} (${refs.map((r) => r.id).join(', ')}).`, hints.approve, 'cedar');
    }
    return part('allow', [plan.allowedBy ?? localRef], `${name} is allowed by ${(plan.allowedBy ?? localRef).id}; no approval is needed for this one.`, hints.allow, 'cedar');
  }
  const by = plan.allowedBy ?? localRef;
  return part('allow', [by], plan.allowedBy === undefined ? `${name} touches only the sandbox; the kernel governs it.` : `${name} is allowed by ${by.id}.`, hints.allow, 'table');
}

/** Whether the parameters are nobody's own word: what a person states, or the envelope of a mail as the proxy will send it. */
function isStated(resource: ActionRequest['resource']): boolean {
  return resource.kind === 'none' || (resource.kind === 'host' && resource.message?.protocol === 'smtp');
}

const localRef: RuleRef = { id: 'local' };

/** Neither says the value itself: a reason is on record, and what a request carries is not. */
function amountReason(limit: number, cents: number | undefined): string {
  return cents === undefined ? 'its amount is not known' : `its amount is above ${limit} USD`;
}
function recipientReason(domains: readonly string[] | undefined): string {
  return domains === undefined ? 'its recipient is not known' : 'it goes outside the organization';
}
