/**
 * Egress rules as an index by domain. The most specific domain that has something to say decides: there deny wins over escalate, escalate over allow.
 * A domain with an allow rule is closed: what none of its rules matches is denied. A domain with only deny and escalate rules narrows:
 * what they do not match is left to the less specific domains. Nothing said at all: denied.
 */
import type { RuleRef } from '@nemoclaw/contract';
import { compilePath, loosen, matchPath, matchText, type PathPattern } from './glob.ts';
import { HostIndex } from './hosts.ts';
import type { EgressRuleIr, RateIr } from './ir.ts';
import { failingInside, looksInside, programHolds, type InsideView } from './messages.ts';

/** What the rule that lets a request through asks of the proxy. */
export interface EgressTerms {
  readonly rule: RuleRef;
  readonly rate?: RateIr;
  /** Bytes of a request's body at most. */
  readonly maxBody?: number;
  /** What happens to a body larger than what can be inspected. */
  /** Unsaid: what cannot be inspected is denied. */
  readonly onOversize?: 'deny' | 'escalate' | 'uninspected';
  /** The highest label of what may be sent there. */
  readonly accepts?: 'confidential' | 'restricted';
  /** Over these the request is recorded, not refused. */
  readonly monitor: boolean;
}

export interface EgressRule {
  readonly ir: EgressRuleIr;
  readonly ports: ReadonlySet<number> | undefined;
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathPattern[];
  /** Says something about what is inside a connection. */
  readonly conditional: boolean;
  /** The twin of a rule in monitor mode: holds for host, port and program, whatever is inside. */
  readonly wide: boolean;
  /** Has conditions of `failingInside`. */
  readonly inside: boolean;
  readonly refs: readonly RuleRef[];
  readonly allowReason: string;
  readonly terms: EgressTerms;
}

export interface EgressGroup {
  readonly domain: string;
  readonly deny: EgressRule[];
  readonly escalate: EgressRule[];
  /** Rules that would ask, in monitor mode: they let through and close nothing. */
  readonly lets: EgressRule[];
  readonly allow: EgressRule[];
}

/** What a request shows to the rules; `strict` and `loose` are its path's segments, made once, when first asked. */
export interface HttpView extends InsideView {
  readonly port: number;
  readonly method: string;
  readonly query: readonly (readonly [string, string])[];
  strict(): readonly string[];
  loose(): readonly string[];
}

export interface EgressVerdict {
  readonly verdict: 'allow' | 'deny' | 'escalate';
  readonly refs: readonly RuleRef[];
  readonly reason: string;
  readonly rule: EgressRule | undefined;
}

export const emptyGroup = (domain: string): EgressGroup => ({ domain, deny: [], escalate: [], lets: [], allow: [] });

/** The rules as they are, in whatever mode. */
export function buildEgress(rules: readonly EgressRuleIr[]): HostIndex<EgressGroup> {
  const index = new HostIndex<EgressGroup>();
  for (const rule of rules) index.at(rule.domain, () => emptyGroup(rule.domain))[rule.effect].push(prepare(rule));
  return index;
}

/** The rules as they are enforced: in monitor mode a denial is none, a question lets through, and an allowance holds for its host, ports and programs whatever is inside. */
export function buildEnforced(rules: readonly EgressRuleIr[]): HostIndex<EgressGroup> {
  const index = new HostIndex<EgressGroup>();
  const wide: EgressRuleIr[] = [];
  for (const rule of rules) {
    if (rule.monitor === true && rule.effect === 'deny') continue;
    const group = index.at(rule.domain, () => emptyGroup(rule.domain));
    group[rule.monitor === true && rule.effect === 'escalate' ? 'lets' : rule.effect].push(prepare(rule));
    if (rule.monitor === true && rule.effect === 'allow' && looksInside(rule)) wide.push(rule);
  }
  // after all others, so that a rule that does hold is the one that is named
  for (const rule of wide) {
    const { query: _query, headers: _headers, graphql: _graphql, mcp: _mcp, jsonRpc: _jsonRpc, smtp: _smtp, postgres: _postgres, redis: _redis, ...rest } = rule;
    index.at(rule.domain, () => emptyGroup(rule.domain)).allow.push(prepare({ ...rest, methods: [], paths: [] }, true));
  }
  return index;
}

function prepare(ir: EgressRuleIr, wide = false): EgressRule {
  const paths = ir.paths.map(compilePath);
  return {
    ir,
    ports: ir.ports.length === 0 ? undefined : new Set(ir.ports),
    methods: ir.methods.length === 0 ? undefined : new Set(ir.methods),
    paths: ir.effect === 'allow' ? paths : paths.map(loosen),
    // its twin goes on saying how the connection is handled
    conditional: wide || looksInside(ir),
    wide,
    inside: !wide && (ir.headers !== undefined || ir.binaries !== undefined || ir.protocol !== undefined || (ir.effect === 'allow' && ir.methods.length > 0)),
    refs: [ir.ref],
    allowReason: wide ? `${ir.domain} is allowed by ${ir.ref.id}, which only watches.` : `${ir.domain} is allowed by ${ir.ref.id}.`,
    terms: { rule: ir.ref, ...(ir.rate === undefined ? {} : { rate: ir.rate }), ...(ir.maxBody === undefined ? {} : { maxBody: ir.maxBody }), ...(ir.onOversize === undefined ? {} : { onOversize: ir.onOversize }), ...(ir.accepts === '' ? {} : { accepts: ir.accepts }), monitor: ir.monitor === true },
  };
}

/** Whether a rule matches an HTTP request to a host of its group. */
export function matchesHttp(rule: EgressRule, view: HttpView): boolean {
  if (rule.ports !== undefined && !rule.ports.has(view.port)) return false;
  if (rule.methods !== undefined && !rule.methods.has(view.method)) return false;
  if (rule.paths.length > 0) {
    if (!view.http) return false;
    const segments = rule.ir.effect === 'allow' ? view.strict() : view.loose();
    if (!rule.paths.some((p) => matchPath(p, segments))) return false;
  }
  if (rule.ir.query !== undefined && !(view.http && queryHolds(rule.ir, view.query))) return false;
  if (rule.wide) return programHolds(rule.ir, view.program);
  return !rule.inside || failingInside(rule.ir, view) === undefined;
}

/**
 * Allow: no parameter but the named ones, each with an accepted value, and all that are required. Escalate, deny: one of the named ones occurs with such a value,
 * as a careless server may read it: whatever its case, as a list (`a[]`), and after a `;` too.
 */
export function queryHolds(ir: EgressRuleIr, query: readonly (readonly [string, string])[]): boolean {
  const accepted = (name: string, value: string): boolean => ir.query?.some(([n, values]) => n === name && values.some((v) => matchText(v, value))) === true;
  if (ir.queryRequired?.some((required) => !query.some(([name]) => name === required)) === true) return false;
  return ir.effect === 'allow' ? query.every(([name, value]) => accepted(name, value)) : query.some(([name, value]) => readings(name, value).some(([n, v]) => loosely(ir, n, v)));
}

function* pairs(name: string, value: string): Generator<readonly [string, string]> {
  yield [name, value];
  for (const part of `${name}=${value}`.split(';')) {
    const equals = part.indexOf('=');
    yield equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
  }
}
const readings = (name: string, value: string): readonly (readonly [string, string])[] => (value.includes(';') || name.includes(';') ? [...pairs(name, value)] : [[name, value]]);

function loosely(ir: EgressRuleIr, name: string, value: string): boolean {
  const plain = name.toLowerCase().trim();
  const bare = plain.replace(/\[.*$/, '');
  return ir.query?.some(([n, values]) => [plain, bare].includes(n.toLowerCase()) && values.some((v) => matchText(v.toLowerCase(), value.toLowerCase()))) === true;
}

const nothing: readonly RuleRef[] = [{ id: 'egress.default' }];

/** The verdict on a request inside a connection. */
export function decideHttp(index: HostIndex<EgressGroup>, host: string, view: HttpView): EgressVerdict {
  for (const group of index.covering(host)) {
    for (const rule of group.deny) if (matchesHttp(rule, view)) return denied(rule, host);
    for (const rule of group.escalate) if (matchesHttp(rule, view)) return asked(rule, host);
    for (const rule of group.lets) if (matchesHttp(rule, view)) return watched(rule, host);
    for (const rule of group.allow) if (matchesHttp(rule, view)) return { verdict: 'allow', refs: rule.refs, reason: rule.allowReason, rule };
    const closed = group.allow[0];
    if (closed !== undefined) return closedHttp(group, closed, host, view);
  }
  return unnamed(host);
}

/** The verdict on opening a connection, before anything is known of what is inside: allowed where some request could be allowed or escalated. */
export function decideConnect(index: HostIndex<EgressGroup>, host: string, port: number, program?: string): EgressVerdict {
  for (const group of index.covering(host)) {
    const meant = (rule: EgressRule): boolean => atPort(rule, port) && programHolds(rule.ir, program);
    for (const rule of group.deny) if (!rule.conditional && meant(rule)) return denied(rule, host);
    for (const rule of group.escalate) if (!rule.conditional && meant(rule)) return asked(rule, host);
    for (const rule of group.lets) if (!rule.conditional && meant(rule)) return watched(rule, host);
    for (const rule of group.allow) if (meant(rule)) return { verdict: 'allow', refs: rule.refs, reason: rule.allowReason, rule };
    for (const rule of group.escalate) if (meant(rule)) return { verdict: 'allow', refs: rule.refs, reason: `Some requests to ${host} may be made after approval (${rule.ir.ref.id}).`, rule };
    for (const rule of group.lets) if (meant(rule)) return watched(rule, host);
    const closed = group.allow[0];
    if (closed === undefined) continue;
    const here = group.allow.find((rule) => atPort(rule, port));
    return here === undefined ? { verdict: 'deny', refs: closed.refs, reason: portReason(group, host, port), rule: closed } : { verdict: 'deny', refs: here.refs, reason: `${host} is allowed for other programs only.`, rule: here };
  }
  return unnamed(host);
}

/** The verdict on resolving a name: allowed where some connection could be. */
export function decideName(index: HostIndex<EgressGroup>, host: string): EgressVerdict {
  for (const group of index.covering(host)) {
    for (const rule of group.deny) if (isBlanket(rule)) return denied(rule, host);
    const open = group.allow[0] ?? group.escalate[0] ?? group.lets[0];
    if (open !== undefined) return { verdict: 'allow', refs: open.refs, reason: `${host} is named by ${open.ir.ref.id}.`, rule: open };
  }
  return unnamed(host);
}

/** Denies whatever goes to its domain. */
export function isBlanket(rule: EgressRule): boolean {
  return !rule.conditional && rule.ports === undefined && rule.ir.binaries === undefined;
}
export function atPort(rule: EgressRule, port: number): boolean {
  return rule.ports === undefined || rule.ports.has(port);
}

function denied(rule: EgressRule, host: string): EgressVerdict {
  const why = rule.ir.domain === '*' ? `${host} is not among the allowed hosts.` : `${host} is denied by ${rule.ir.ref.id}.`;
  return { verdict: 'deny', refs: rule.refs, reason: why, rule };
}
function asked(rule: EgressRule, host: string): EgressVerdict {
  return { verdict: 'escalate', refs: rule.refs, reason: `A person decides on requests to ${host} (${rule.ir.ref.id}).`, rule };
}
function watched(rule: EgressRule, host: string): EgressVerdict {
  return { verdict: 'allow', refs: rule.refs, reason: `A person would decide on requests to ${host} (${rule.ir.ref.id}), but the rule only watches.`, rule };
}
function unnamed(host: string): EgressVerdict {
  return { verdict: 'deny', refs: nothing, reason: host === '' ? 'The host is not a plain name or address.' : `${host} is not among the allowed hosts.`, rule: undefined };
}

/** Why nothing in a closed group matched: the first condition that fails for all of its allow rules. */
function closedHttp(group: EgressGroup, first: EgressRule, host: string, view: HttpView): EgressVerdict {
  const atThisPort = group.allow.filter((r) => atPort(r, view.port));
  if (atThisPort.length === 0) return { verdict: 'deny', refs: first.refs, reason: portReason(group, host, view.port), rule: first };
  const byMethod = atThisPort.filter((r) => r.methods === undefined || r.methods.has(view.method));
  const near = byMethod.find((r) => shapeHolds(r, view)) ?? byMethod[0] ?? atThisPort[0] ?? first;
  const reason =
    byMethod.length === 0
      ? `${host} is allowed for ${[...new Set(atThisPort.flatMap((r) => r.ir.methods))].join(', ')}, not for ${view.http ? view.method : (view.message?.protocol ?? 'this')}.`
      : `${host} is allowed for other ${shapeHolds(near, view) ? (failingInside(near.ir, view) ?? 'requests') : near.paths.length > 0 ? 'paths' : 'queries'} only.`;
  return { verdict: 'deny', refs: near.refs, reason, rule: near };
}
/** Whether path and query are not what fails. */
function shapeHolds(rule: EgressRule, view: HttpView): boolean {
  return matchesHttp({ ...rule, inside: false }, view);
}
function portReason(group: EgressGroup, host: string, port: number): string {
  return `${host} is allowed on port ${[...new Set(group.allow.flatMap((r) => r.ir.ports))].join(', ')}, not ${port}.`;
}
