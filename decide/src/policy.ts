/** One policy version ready to decide: the IR and the indexes built from it. Immutable, free of I/O. */
import type { ActionRequest, Resource } from '@nemoclaw/contract';
import { buildActions, type ActionPlan, type ActionTable, type Resolved } from './actions.ts';
import { sliceOf, warm, type CedarSlice } from './cedar.ts';
import { buildEgress, buildEnforced, type EgressGroup } from './egress.ts';
import { canonicalHost, type HostIndex } from './hosts.ts';
import type { PolicyIr } from './ir.ts';
import { isInBody } from './messages.ts';
import { networkView, type NetworkView } from './network.ts';
import { httpVerdict } from './verdicts.ts';

export interface CompiledPolicy {
  readonly version: number;
  /** Of the sandbox policy. */
  readonly name: string;
  readonly role: string;
  readonly ir: PolicyIr;
  readonly network: NetworkView;
  readonly actions: ActionTable;
  /** As enforced. */
  readonly egress: HostIndex<EgressGroup>;
  /** As if no rule were in monitor mode; undefined where none is. */
  readonly unwatched: HostIndex<EgressGroup> | undefined;
  /** Whether any rule speaks of headers, of what is in a body, of programs: most policies do not, and pay nothing for it. */
  readonly speaks: { readonly headers: boolean; readonly bodies: boolean; readonly programs: boolean };
  /** The Cedar slice of an action with conditional triggers. */
  slice(plan: ActionPlan): CedarSlice;
}

/** Builds the indexes; loads and warms Cedar only if a rule of the catalogue's actions needs it. */
export function buildPolicy(ir: PolicyIr): CompiledPolicy {
  const egress = buildEnforced(ir.egress);
  const actions = buildActions(ir, (host) => network.originOf(host));
  const network = networkView(ir, egress, actions.hasHttp);
  const unwatched = ir.egress.some((rule) => rule.monitor === true) ? buildEgress(ir.egress) : undefined;
  const speaks = { headers: ir.egress.some((rule) => rule.headers !== undefined), bodies: ir.egress.some((rule) => isInBody(rule.protocol)), programs: ir.egress.some((rule) => rule.binaries !== undefined) };
  const slices = new Map<string, CedarSlice>();
  const slice = (plan: ActionPlan): CedarSlice => {
    // names that are in no catalogue come from outside, so only those of the catalogue are kept
    const made = slices.get(plan.name) ?? sliceOf(plan, ir.organization);
    if (plan.ir !== undefined) slices.set(plan.name, made);
    return made;
  };
  for (const action of ir.actions) {
    const plan = actions.plan(action.name);
    if (plan.conditional.length > 0 && plan.allowedBy !== undefined && plan.deniedBy === undefined) warm(slice(plan), plan);
  }
  return { version: ir.version, name: ir.name, role: ir.role, ir, network, actions, egress, unwatched, speaks, slice };
}

type Http = Extract<Resource, { kind: 'http' }>;

/** Tool name and arguments -> action, by the catalogue. An unlisted tool has the action '' and is denied. Never throws. */
export function resolveTool(policy: CompiledPolicy, name: string, args: ReadonlyMap<string, unknown>): Resolved {
  return policy.actions.resolveTool(name, args);
}

/** The action that an HTTP request carries out: by the catalogue, else by an egress rule's `as`; undefined if neither names one. `body`: fields of a JSON body, empty if not read. */
export function resolveHttp(policy: CompiledPolicy, resource: Http, body: ReadonlyMap<string, unknown>): Resolved | undefined {
  const found = policy.actions.resolveHttp(resource, body);
  if (found !== undefined) return found;
  const as = httpVerdict(policy.egress, resource).rule?.ir.as ?? '';
  return as === '' ? undefined : policy.actions.nameHttp(as, resource, body);
}

/** Every action that a request counts as. */
export function httpPlans(policy: CompiledPolicy, resource: Http, host: string, as: string): readonly ActionPlan[] {
  const plans = policy.actions.http(resource, host);
  return plans.length > 0 || as === '' ? plans : [policy.actions.plan(as)];
}

/** The action of what is said in a conversation of its own: the rule's `as`; a mail is `email.send` where the policy says anything of that. */
function messagePlans(policy: CompiledPolicy, message: NonNullable<Http['message']>, as: string): readonly ActionPlan[] {
  if (message.protocol !== 'smtp') return as === '' ? [] : [policy.actions.plan(as)];
  // Before a recipient is named there is no mail.
  if (message.recipients.length === 0) return [];
  const plan = policy.actions.plan(as === '' ? 'email.send' : as);
  const known = as !== '' || plan.ir !== undefined || plan.allowedBy !== undefined || plan.deniedBy !== undefined || plan.always !== undefined || plan.conditional.length > 0;
  return known ? [plan] : [];
}

/** The actions of a connection that nobody reads: those that are whatever goes to its host. Where it is read, its requests are decided one by one. */
function connectPlans({ actions, network }: CompiledPolicy, host: string, port: number): readonly ActionPlan[] {
  const plans = actions.connecting(host);
  if (plans.length === 0) return plans;
  const handling = network.handlingFor(host, port);
  return handling === 'passthrough' || handling === 'unread' ? plans : [];
}

/** Every action that a request names or carries out, the request's own first; undefined where it is a tool that nobody listed. */
export function plansOf(policy: CompiledPolicy, request: ActionRequest, as: string): readonly ActionPlan[] | undefined {
  const resource = request.resource;
  let found: readonly ActionPlan[] = [];
  if (resource.kind === 'tool') {
    found = policy.actions.tools(resource.name);
    if (found.length === 0) return undefined;
  } else if (resource.kind === 'http') found = httpPlans(policy, resource, canonicalHost(resource.host), as);
  else if (resource.kind === 'host' && resource.message !== undefined) found = messagePlans(policy, resource.message, as);
  else if (resource.kind === 'host' && request.source === 'connect') found = connectPlans(policy, canonicalHost(resource.host), resource.port);
  if (request.action === '' || found.some((plan) => plan.name === request.action)) return found;
  return [policy.actions.plan(request.action), ...found];
}
