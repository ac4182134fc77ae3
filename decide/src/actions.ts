/** Actions: which tool or request is which, what is permitted, what asks a person. */
import { actionMatches, evaluateAttribute, unlabelled, type ActionLabels, type Resource, type RuleRef } from '@nemoclaw/contract';
import { captures, compilePath, loosen, looseSegments, matchPath, strictSegments, type PathPattern } from './glob.ts';
import { canonicalHost, HostIndex } from './hosts.ts';
import type { ActionIr, NamedRuleIr, PolicyIr, TriggerIr } from './ir.ts';

/** What the policy says of one action name, worked out once. */
export interface ActionPlan {
  readonly name: string;
  readonly ir: ActionIr | undefined;
  readonly local: boolean;
  readonly deniedBy: RuleRef | undefined;
  readonly allowedBy: RuleRef | undefined;
  /** A trigger without a condition. */
  readonly always: TriggerIr | undefined;
  /** Triggers with a condition on attributes: decided by Cedar. */
  readonly conditional: readonly TriggerIr[];
  readonly labels: ActionLabels;
}

interface HttpMatch {
  readonly method: string;
  readonly path: PathPattern | undefined;
  readonly loose: PathPattern | undefined;
  readonly plan: ActionPlan;
}

export interface Resolved {
  /** Dotted name, or '' for a tool nobody listed. */
  readonly action: string;
  /** The arguments, the parameters of path and query, and the catalogue's attributes. */
  readonly params: ReadonlyMap<string, unknown>;
  readonly labels: ActionLabels;
  readonly local: boolean;
}

export interface ActionTable {
  plan(name: string): ActionPlan;
  tools(name: string): readonly ActionPlan[];
  http(resource: Extract<Resource, { kind: 'http' }>, host: string): readonly ActionPlan[];
  hasHttp(host: string): boolean;
  /** Actions that are whatever goes to a host: they name no method and no path. */
  connecting(host: string): readonly ActionPlan[];
  resolveTool(name: string, args: ReadonlyMap<string, unknown>): Resolved;
  resolveHttp(resource: Extract<Resource, { kind: 'http' }>, body: ReadonlyMap<string, unknown>): Resolved | undefined;
  /** The same for a request that only an egress rule (`as:`) gives a name. */
  nameHttp(action: string, resource: Extract<Resource, { kind: 'http' }>, body: ReadonlyMap<string, unknown>): Resolved;
}

const none: readonly never[] = [];

/** `originOf`: where requests to a host go, as far as the policy leaves no doubt: `https://host:443`. */
export function buildActions(ir: PolicyIr, originOf: (host: string) => string | undefined): ActionTable {
  const plans = new Map<string, ActionPlan>();
  const exactTools = new Map<string, ActionPlan[]>();
  const prefixTools: { prefix: string; plan: ActionPlan }[] = [];
  /** Actions that more than one tool name carries out: then the name is part of the request's identity. */
  const severalTools = new Set<string>();
  /** The one request that carries out what an action's one tool does. */
  const twins = new Map<string, { readonly host: string; readonly method: string; readonly path: string }>();
  const https = new HostIndex<HttpMatch[]>();
  const allowed = new NameIndex(ir.allowed);
  const denied = new NameIndex(ir.denied);
  const make = (name: string, entry: ActionIr | undefined): ActionPlan => {
    const triggers = ir.triggers.filter((t) => actionMatches(t.pattern, name));
    return {
      name,
      ir: entry,
      local: entry?.local ?? /^(fs|process)\./.test(name),
      deniedBy: denied.find(name)?.ref,
      allowedBy: allowed.find(name)?.ref,
      always: triggers.find((t) => t.threshold.kind === 'always'),
      conditional: triggers.filter((t) => t.threshold.kind !== 'always'),
      labels: entry?.labels ?? unlabelled,
    };
  };
  for (const entry of ir.actions) {
    const plan = make(entry.name, entry);
    plans.set(entry.name, plan);
    if (entry.tools.length > 1 || entry.tools.some((tool) => tool.endsWith('*'))) severalTools.add(entry.name);
    for (const tool of entry.tools) {
      if (tool.endsWith('*')) prefixTools.push({ prefix: tool.slice(0, -1), plan });
      else exactTools.set(tool, [...(exactTools.get(tool) ?? []), plan]);
    }
    for (const match of entry.http) {
      const path = match.path === '' ? undefined : compilePath(match.path);
      https.at(match.host, () => []).push({ method: match.method, path, loose: path && loosen(path), plan });
      const whole = match.method !== '' && path?.exact === true && !/^[*?]/.test(match.host);
      if (whole && entry.http.length === 1 && !severalTools.has(entry.name)) twins.set(entry.name, match);
    }
  }
  prefixTools.sort((a, b) => b.prefix.length - a.prefix.length);
  const tools = (name: string): readonly ActionPlan[] => {
    const exact = exactTools.get(name) ?? none;
    if (prefixTools.length === 0) return exact;
    const more = prefixTools.filter((t) => name.startsWith(t.prefix)).map((t) => t.plan);
    return more.length === 0 ? exact : [...new Set([...exact, ...more])];
  };
  const matches = (resource: Extract<Resource, { kind: 'http' }>, host: string): readonly HttpMatch[] => {
    const lists = https.covering(host);
    if (lists.length === 0) return none;
    let segments: readonly string[] | undefined;
    return lists.flatMap((list) =>
      list.filter((m) => {
        if (m.method !== '' && m.method !== resource.method) return false;
        if (m.loose === undefined) return true;
        segments ??= looseSegments(resource.path);
        return matchPath(m.loose, segments);
      }),
    );
  };
  return {
    // names that nobody listed come from agents, so they are not kept
    plan: (name) => plans.get(name) ?? make(name, undefined),
    tools,
    http: (resource, host) => {
      const found = matches(resource, host);
      return found.length === 0 ? none : [...new Set(found.map((m) => m.plan))];
    },
    hasHttp: (host) => https.covering(host).length > 0,
    connecting: (host) => [...new Set(https.covering(host).flatMap((list) => list.filter((m) => m.method === '' && m.path === undefined).map((m) => m.plan)))],
    resolveTool: (name, args) => {
      const plan = tools(name)[0];
      if (plan === undefined) return { action: '', params: args, labels: unlabelled, local: false };
      const params = ownFields(args);
      if (severalTools.has(plan.name)) params.set('$tool', name);
      const twin = twins.get(plan.name);
      const origin = twin && originOf(canonicalHost(twin.host));
      if (twin && origin !== undefined) params.set('$request', `${twin.method} ${origin}${twin.path}`);
      return { action: plan.name, params: withAttributes(plan, params), labels: plan.labels, local: plan.local };
    },
    resolveHttp: (resource, body) => {
      const found = matches(resource, canonicalHost(resource.host));
      const first = found[0];
      if (first === undefined) return undefined;
      const params = fieldsOf(resource, body);
      const strict = strictSegments(resource.path);
      const bound = first.path?.exact === true && matchPath(first.path, strict) ? first.path : undefined;
      if (bound !== undefined) for (const [name, value] of captures(bound, strict)) add(params, name, value);
      // what the match leaves open must still be part of the request's identity
      else params.set('$path', resource.path);
      params.set('$request', `${resource.method} ${originText(resource)}${bound?.text ?? ''}`);
      return { action: first.plan.name, params: withAttributes(first.plan, params), labels: first.plan.labels, local: false };
    },
    nameHttp: (action, resource, body) => {
      const plan = plans.get(action) ?? make(action, undefined);
      const params = fieldsOf(resource, body);
      params.set('$path', resource.path);
      params.set('$request', `${resource.method} ${originText(resource)}`);
      return { action, params: withAttributes(plan, params), labels: plan.labels, local: false };
    },
  };
}

type Http = Extract<Resource, { kind: 'http' }>;

/** Scheme, host and port, none of them left out. */
function originText({ host, port, tls }: Pick<Http, 'host' | 'port' | 'tls'>): string {
  return `${tls ? 'https' : 'http'}://${canonicalHost(host)}:${port}`;
}

const queryMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

/** Fields of body and query. Where they do not stand only where a tool's arguments would be put, the places are named as well: a server may read the one and not the other. */
function fieldsOf(resource: Http, body: ReadonlyMap<string, unknown>): Map<string, unknown> {
  const params = ownFields(body);
  for (const [name, value] of resource.query) add(params, name.startsWith('$') ? `$arg.${name}` : name, value);
  if (queryMethods.has(resource.method) ? body.size > 0 : resource.query.length > 0) {
    params.set('$body', [...body.keys()].toSorted());
    params.set('$query', resource.query.map(([name]) => name).toSorted());
  }
  return params;
}

/** Names with a dollar are ours: one that the agent chose gets another name, so that no argument stands for what we say of the request. */
function ownFields(given: ReadonlyMap<string, unknown>): Map<string, unknown> {
  return new Map([...given].map(([name, value]) => [name.startsWith('$') ? `$arg.${name}` : name, value]));
}

/** A name that says different things in body, query and path keeps all of them: no reader of it can be fooled by one. */
function add(params: Map<string, unknown>, name: string, value: string): void {
  const there = params.get(name);
  if (there === undefined && !params.has(name)) params.set(name, value);
  else if (typeof there === 'object' || String(there) !== value) params.set(name, [there, value]);
}

function withAttributes(plan: ActionPlan, document: ReadonlyMap<string, unknown>): ReadonlyMap<string, unknown> {
  if (plan.ir === undefined || plan.ir.attributes.length === 0) return document;
  const out = new Map(document);
  for (const [name, expression] of plan.ir.attributes) {
    const value = evaluateAttribute(expression, document);
    // an argument that happens to have the attribute's name stays part of the request's identity
    if (document.has(name) && document.get(name) !== value) out.set(`$arg.${name}`, document.get(name));
    if (value === undefined) out.delete(name);
    else out.set(name, value);
  }
  return out;
}

/** Names and `prefix.*` groups; the first rule by position wins as the one that is shown. */
class NameIndex {
  readonly #rules = new Map<string, NamedRuleIr>();
  constructor(rules: readonly NamedRuleIr[]) {
    for (const rule of rules) if (!this.#rules.has(rule.pattern)) this.#rules.set(rule.pattern, rule);
  }
  find(name: string): NamedRuleIr | undefined {
    let found = this.#rules.get(name.endsWith('*') ? '' : name) ?? this.#rules.get('*');
    for (let dot = name.indexOf('.'); dot >= 0 && found === undefined; dot = name.indexOf('.', dot + 1)) found = this.#rules.get(`${name.slice(0, dot)}.*`);
    return found;
  }
}
