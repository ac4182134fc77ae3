/** Actions of the catalogue that are denied or asked about, but whose requests go where nothing reads them: TLS that is passed on, raw TCP. */
import type { Where } from '../errors.ts';
import type { ApprovalPolicy } from './approvals.ts';
import type { Catalogue } from './catalogue.ts';
import { actionMatches } from './lint.ts';
import type { EgressRule, NetworkPolicyFile } from './network.ts';
import { defaultPorts, protocolOf } from './network-sense.ts';
import type { SandboxPolicy } from './sandbox.ts';
import { whereOf } from './source.ts';

export interface UnseenAction {
  readonly text: string;
  readonly where: Where | undefined;
}

/** Whether an action is denied, or can be asked about: then it must be seen where it happens. */
export function actionMatters(name: string, { allowedAPIs, deniedAPIs }: SandboxPolicy['spec']['permissions'], approvals: ApprovalPolicy | undefined): boolean {
  if (!allowedAPIs.some((pattern) => actionMatches(pattern, name)) || deniedAPIs.some((pattern) => actionMatches(pattern, name))) return true;
  return approvals?.triggers.some((trigger) => actionMatches(trigger.action, name)) === true;
}

/**
 * Requests (`http` with a method or a path) that nobody sees. One that names a host alone is decided on where the connection is opened, so that it is none of these.
 */
export function unseenActions(policy: SandboxPolicy, network: NetworkPolicyFile, catalogue: Catalogue, approvals: ApprovalPolicy | undefined): UnseenAction[] {
  return catalogue.actions.flatMap((action, index) =>
    !actionMatters(action.name, policy.spec.permissions, approvals)
      ? []
      : action.match.flatMap(({ http }, match) => {
          if (http === undefined || (http.method === undefined && http.path === undefined)) return [];
          const unread = placesOf(network, http.host).map((place) => unreadAt(network, place)).find((found) => found !== undefined);
          if (unread === undefined) return [];
          const request = [http.method, `${http.host}${http.path ?? ''}`].filter((part) => part !== undefined).join(' ');
          const text = `actions[${index}].match[${match}]: ${action.name} (${request}) is not seen where ${unread}. Let it be read, or name the host alone: then every connection to it is this action.`;
          return [{ text, where: whereOf(catalogue, ['actions', index, 'match', match]) }];
        }),
  );
}

type Listed = { readonly id: string; readonly rule: EgressRule };

/** Hosts that a pattern stands for, as far as rules tell them apart. */
function placesOf(network: NetworkPolicyFile, host: string): string[] {
  if (!isPattern(host)) return [host];
  const named = listed(network, ['allow', 'escalate']).map(({ rule }) => rule.domain).filter((domain) => covers(host, sample(domain)));
  return [...new Set([host, ...named])].map(sample);
}

/** What is not read of the traffic to a host, undefined where all of it is. */
function unreadAt(network: NetworkPolicyFile, host: string): string | undefined {
  const { tlsDecrypt } = network.networkPolicy.inspection;
  const rules = deciding(network, host);
  const looks = listed(network, ['deny']).some(({ rule }) => covers(rule.domain, host) && rule.domain !== '*' && looksInside(rule));
  // One rule that opens TLS opens it at all ports of the host where several are in force.
  const opened = rules.some(({ rule }) => protocolOf(rule) !== 'tcp' && (rule.tls === undefined ? tlsDecrypt : rule.tls === 'intercept'));
  let raw: string | undefined;
  let read = false;
  for (const port of new Set(rules.flatMap(({ rule }) => portsOf(rule)))) {
    const here = rules.filter(({ rule }) => portsOf(rule).includes(port));
    const protocols = here.map(({ rule }) => protocolOf(rule));
    // What speaks mail or a database there is no HTTP server.
    if (protocols.some((protocol) => protocol === 'smtp' || protocol === 'postgres' || protocol === 'redis')) continue;
    const first = here[0]?.id ?? '';
    const passed = here.every(({ rule }) => rule.tls === 'passthrough') || (port === 443 && !tlsDecrypt && here.every(({ rule }) => rule.tls === undefined && rule.as === undefined && !looksInside(rule)));
    if (protocols.every((protocol) => protocol === 'tcp') && !looks) raw ??= `${host}:${port} is raw TCP (${first})`;
    else if (port !== 80 && !looks && (passed || !opened)) return `TLS to ${host}:${port} is passed on unread (${first})`;
    else read = true;
  }
  return read ? undefined : raw;
}

function listed(network: NetworkPolicyFile, lists: readonly ('allow' | 'escalate' | 'deny')[]): Listed[] {
  const egress: Readonly<Record<'allow' | 'escalate' | 'deny', readonly EgressRule[]>> = network.networkPolicy.egress;
  return lists.flatMap((list) => egress[list].map((rule, index) => ({ id: `egress.${list}[${index}]`, rule })));
}

/** Rules that let something through to a host: those of the most specific domains, up to the first that allows. */
function deciding(network: NetworkPolicyFile, host: string): Listed[] {
  const found = listed(network, ['allow', 'escalate']).filter(({ rule }) => covers(rule.domain, host));
  const domains = [...new Set(found.map(({ rule }) => rule.domain))].toSorted((a, b) => Number(isPattern(a)) - Number(isPattern(b)) || b.length - a.length || (b.startsWith('?') ? 1 : -1));
  const last = domains.findIndex((domain) => found.some(({ id, rule }) => rule.domain === domain && id.startsWith('egress.allow')));
  const meant = new Set(last < 0 ? domains : domains.slice(0, last + 1));
  return found.filter(({ rule }) => meant.has(rule.domain));
}

function portsOf(rule: EgressRule): readonly number[] {
  return rule.ports ?? defaultPorts(protocolOf(rule));
}
function looksInside(rule: EgressRule): boolean {
  const protocol = protocolOf(rule);
  return rule.methods !== undefined || rule.paths !== undefined || rule.query !== undefined || rule.headers !== undefined || (protocol !== '' && protocol !== 'tcp');
}
function isPattern(domain: string): boolean {
  return /^[*?]/.test(domain);
}
function sample(domain: string): string {
  return domain === '*' ? 'nemoclaw-sample.example' : domain.replace(/^[*?]\./, 'nemoclaw-sample.');
}
function covers(domain: string, host: string): boolean {
  if (!isPattern(domain)) return domain === host;
  if (domain === '*') return true;
  const suffix = domain.slice(1);
  return host.endsWith(suffix) && host.length > suffix.length && (domain.startsWith('*') || !host.slice(0, -suffix.length).includes('.'));
}
