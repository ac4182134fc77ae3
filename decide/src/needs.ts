/** What of a request has to be read before the rules can be asked, and what a rule that lets it through asks of the proxy. */
import type { History, Resource, RuleProtocol } from '@nemoclaw/contract';
import { decideConnect, matchesHttp, type EgressGroup, type EgressRule, type EgressTerms } from './egress.ts';
import { canonicalHost } from './hosts.ts';
import { withLabel } from './label-egress.ts';
import { isInBody } from './messages.ts';
import { httpPlans, type CompiledPolicy } from './policy.ts';
import { httpVerdict, viewOf } from './verdicts.ts';

type Http = Extract<Resource, { kind: 'http' }>;
type Host = Extract<Resource, { kind: 'host' }>;

const none: readonly never[] = [];
/** By policy and host: asked for every request, and the same for all to one host. */
const named = new WeakMap<CompiledPolicy, Map<string, readonly string[]>>();
const namedAtMost = 1024;

/** Groups that may decide on a host, in every mode. */
function groupsOf(policy: CompiledPolicy, host: string): readonly EgressGroup[] {
  const out: EgressGroup[] = [];
  for (const group of (policy.unwatched ?? policy.egress).covering(canonicalHost(host))) {
    out.push(group);
    if (group.allow.length > 0) break;
  }
  return out;
}
const rulesOf = (group: EgressGroup): EgressRule[] => [...group.deny, ...group.escalate, ...group.lets, ...group.allow];

/** Names (small letters) of the headers that rules on this host speak of; [] for most. `Resource.headers` holds these and no others. */
export function headersNamed(policy: CompiledPolicy, host: string): readonly string[] {
  if (!policy.speaks.headers) return none;
  const known = named.get(policy) ?? new Map<string, readonly string[]>();
  const kept = known.get(host);
  if (kept !== undefined) return kept;
  const found = [...new Set(groupsOf(policy, host).flatMap((group) => rulesOf(group).flatMap((rule) => (rule.ir.headers ?? []).map(([name]) => name))))];
  if (known.size >= namedAtMost) known.clear();
  known.set(host, found);
  named.set(policy, known);
  return found;
}

/** Whether a rule on this host, or without one any rule, speaks of programs: then `Resource.program` has to be known, or '' where it cannot be. */
export function programsNamed(policy: CompiledPolicy, host?: string): boolean {
  if (!policy.speaks.programs || host === undefined) return policy.speaks.programs;
  return groupsOf(policy, host).some((group) => rulesOf(group).some((rule) => rule.ir.binaries !== undefined));
}

/** Protocols that the body of this request has to be read as, where rules on it speak of them (`graphql`, `mcp`, `json-rpc`); [] for most, and where `message` is known. */
export function needsMessage(policy: CompiledPolicy, resource: Http): readonly RuleProtocol[] {
  if (!policy.speaks.bodies || (resource.message !== undefined && resource.message.protocol !== 'none')) return none;
  const view = viewOf(resource);
  const out = new Set<RuleProtocol>();
  for (const group of groupsOf(policy, resource.host)) {
    for (const rule of rulesOf(group)) if (isInBody(rule.ir.protocol) && rule.ir.protocol !== undefined && matchesHttp({ ...rule, inside: false }, view)) out.add(rule.ir.protocol);
  }
  return [...out];
}

/** Whether the body must be read before the request of a sandbox with this history can be decided: a rule speaks of the message in it, wants attributes of it, or an approval would have to bind to it. */
export function needsBody(policy: CompiledPolicy, resource: Http, history?: History): boolean {
  const host = canonicalHost(resource.host);
  if (policy.ir.networkNone === null && resource.message === undefined && needsMessage(policy, resource).length > 0) return true;
  const network = withLabel(history, httpVerdict(policy.egress, resource), policy.network.labelOf(resource.host));
  if (network.verdict === 'deny' || policy.ir.networkNone !== null) return false;
  const plans = httpPlans(policy, resource, host, network.rule?.ir.as ?? '');
  if (plans.some((plan) => plan.deniedBy !== undefined || plan.allowedBy === undefined)) return false;
  return network.verdict === 'escalate' || plans.some((plan) => plan.always !== undefined || plan.conditional.length > 0);
}

/** Undefined where no rule lets it through. */
export function termsOf(policy: CompiledPolicy, resource: Http | Host): EgressTerms | undefined {
  const found = resource.kind === 'http' || resource.message !== undefined ? httpVerdict(policy.egress, resource) : decideConnect(policy.egress, canonicalHost(resource.host), resource.port, resource.program);
  return found.verdict === 'deny' ? undefined : found.rule?.terms;
}
