/** Events of the proxy and the DNS responder, OCSF activities and words in one place. Pure. */
import type { Decision, LedgerEvent } from '@nemoclaw/contract';
import { authority } from './judge/judge.ts';
import { safeLine } from '@nemoclaw/contract';
import type { Place } from './http/request-check.ts';

// OCSF HTTP Activity ids.
const httpActivities: ReadonlyMap<string, number> = new Map([['CONNECT', 1], ['DELETE', 2], ['GET', 3], ['HEAD', 4], ['OPTIONS', 5], ['POST', 6], ['PUT', 7], ['TRACE', 8], ['PATCH', 9]]);

// Most paths need no escaping, and one is written for every request.
const plain = /^[\x21-\x7e]{1,300}$/;

type Recorded = NonNullable<LedgerEvent['verdict']>;

export interface Seen {
  readonly sandbox: string;
  readonly time: number;
  readonly correlation: string;
}

function decided(decision: Decision | undefined): Pick<LedgerEvent, 'decision'> {
  if (!decision) return {};
  const { action, rules, reason, policyVersion, decidedBy, micros } = decision;
  return { decision: { action, rules, reason, policyVersion, decidedBy, micros } };
}

/** What a refused agent was told to do next, and what a rule that only watches would have said. */
function besides(verdict: Recorded, decision: Decision | undefined): Readonly<Record<string, unknown>> {
  const hint = decision && verdict !== 'allow' && decision.hint !== '' ? { hint: decision.hint } : {};
  return decision?.monitored === undefined ? hint : { ...hint, monitored: decision.monitored };
}
/** For people: ` (would be denied by egress.deny[0])`. */
function watched(decision: Decision | undefined): string {
  if (decision?.monitored === undefined) return '';
  return ` (would be ${decision.monitored.verdict === 'deny' ? 'denied' : 'asked about'} by ${decision.monitored.rules[0]?.id ?? 'the policy'})`;
}

/** One HTTP request and what became of it. `path` without its query: parameters may be anything. */
export function httpRecord(seen: Seen, place: Place, method: string, path: string, verdict: Recorded, message: string, decision?: Decision, more?: Readonly<Record<string, unknown>>): LedgerEvent {
  const shown = plain.test(path) ? path : safeLine(path, 300);
  // Over HTTP/2 it can be any word.
  const verb = httpActivities.has(method) ? method : safeLine(method, 32);
  return {
    time: seen.time, class: 'httpActivity', activity: httpActivities.get(method) ?? 99, severity: verdict === 'deny' ? 3 : 1, sandbox: seen.sandbox, layer: 'proxy',
    message: `${verb} ${place.tls ? 'https' : 'http'}://${authority(place)}${shown}: ${message}${watched(decision)}`, verdict, ...decided(decision), correlation: seen.correlation,
    data: { method: verb, host: place.name, port: place.port, path: shown, tls: place.tls, ...besides(verdict, decision), ...more },
  };
}

/** A connection that never became a request, or that is passed through. */
export function connectionRecord(seen: Seen, place: Place, verdict: Recorded, message: string, decision?: Decision, more: Readonly<Record<string, unknown>> = {}): LedgerEvent {
  return {
    time: seen.time, class: 'networkActivity', activity: verdict === 'deny' ? 5 : 1, severity: verdict === 'deny' ? 3 : 1, sandbox: seen.sandbox, layer: 'proxy',
    message: `connection to ${safeLine(place.name)}:${place.port}: ${message}${watched(decision)}`, verdict, ...decided(decision), correlation: seen.correlation, data: { host: place.name, port: place.port, ...besides(verdict, decision), ...more },
  };
}

/** A name that was asked for and not given. `count`: how many such questions this event stands for. */
export function dnsRecord(seen: Seen, name: string, type: number, why: string, count: number, decision?: Decision): LedgerEvent {
  const shown = safeLine(name, 255);
  return {
    time: seen.time, class: 'dnsActivity', activity: 1, severity: 3, sandbox: seen.sandbox, layer: 'dns', verdict: 'deny', ...decided(decision), correlation: seen.correlation,
    message: `DNS question for ${shown}: ${why}`, data: { name: shown, type, count, ...besides('deny', decision) },
  };
}
