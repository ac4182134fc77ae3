/** What the proxy asks of the policy in force; the one seam between this room and `decide`. */
import type { ActionLabels, ActionRequest, Decider, Decision, History, HostLabel, Resource, RuleProtocol } from '@nemoclaw/contract';
import { headersNamed, needsBody, needsMessage, programsNamed, requestKey, resolveHttp, resolveTool, termsOf } from '@nemoclaw/decide';
import type { CompiledPolicy, EgressTerms, Handling, Resolved } from '@nemoclaw/decide';
import type { InspectionSettings } from '../inspect/findings.ts';

export type { Handling } from '@nemoclaw/decide';

export type HostResource = Extract<Resource, { kind: 'host' }>;
export type HttpResource = Extract<Resource, { kind: 'http' }>;

export interface Judge {
  /** Whether any request to this name could be allowed or escalated. */
  nameAllowed(host: string): boolean;
  /** Whether a rule says this very name, not only a pattern for it. */
  named(host: string): boolean;
  handling(host: string, port: number): Handling;
  /** What the rules ask of the way to a mail server. */
  starttls(host: string, port: number): 'required' | 'allowed';
  /** Whether what leaves is searched for the sandbox's own secrets. */
  readonly scan: boolean;
  /** All that the policy says about inspection; where a judge has none, `scan` is what counts. */
  readonly inspection?: InspectionSettings;
  needsBody(resource: HttpResource, history: History): boolean;
  /** Protocols that the body has to be read as, because rules speak of them. */
  needsMessage(resource: HttpResource): readonly RuleProtocol[];
  /** Names, in small letters, of the headers that rules on this host speak of. */
  headersNamed(host: string): readonly string[];
  /** Whether a rule on this host (without one: any rule) speaks of programs. */
  programsNamed(host?: string): boolean;
  /** What the rule that lets it through asks of the proxy besides; undefined where there is none. */
  terms(resource: HttpResource | HostResource): EgressTerms | undefined;
  /** The label of what this host answers; undefined: none. */
  labelOf(host: string): HostLabel['level'] | undefined;
  action(resource: HttpResource, body: ReadonlyMap<string, unknown>): { readonly action: string; readonly params: ReadonlyMap<string, unknown>; readonly labels: ActionLabels } | undefined;
  /** The action of a tool that the catalogue lists. */
  tool(name: string, args: ReadonlyMap<string, unknown>): Resolved | undefined;
  decide(request: ActionRequest): Decision;
  key(request: ActionRequest): string;
}

/** The judge of a compiled policy; `policy` is asked anew each time, so that a change is in force at once. */
export function judgeOf(policy: () => CompiledPolicy, decider: Decider): Judge {
  return {
    nameAllowed: (host) => policy().network.isNameAllowed(host),
    named: (host) => policy().network.isNamed(host),
    handling: (host, port) => policy().network.handlingFor(host, port),
    starttls: (host, port) => policy().network.starttlsFor(host, port),
    get scan() {
      return policy().network.inspection.scanForPII;
    },
    get inspection() {
      return policy().network.inspection;
    },
    needsBody: (resource, history) => needsBody(policy(), resource, history),
    needsMessage: (resource) => needsMessage(policy(), resource),
    headersNamed: (host) => headersNamed(policy(), host),
    programsNamed: (host) => programsNamed(policy(), host),
    terms: (resource) => termsOf(policy(), resource),
    labelOf: (host) => policy().network.labelOf(host),
    action: (resource, body) => resolveHttp(policy(), resource, body),
    tool: (name, args) => {
      const found = resolveTool(policy(), name, args);
      return found.action === '' ? undefined : found;
    },
    decide: (request) => decider.decide(request),
    key: requestKey,
  };
}

const rank = { allow: 0, escalate: 1, deny: 2 } as const;

/** Of two decisions on two readings of one request, the stricter. */
export function stricter<T extends { readonly decision: Decision }>(a: T, b: T): T {
  return rank[b.decision.verdict] > rank[a.decision.verdict] ? b : a;
}

/** How a place is written in a URL or message. */
export function authority(place: { readonly name: string; readonly port: number; readonly tls: boolean }): string {
  const host = place.name.includes(':') ? `[${place.name}]` : place.name;
  return place.port === (place.tls ? 443 : 80) ? host : `${host}:${place.port}`;
}
