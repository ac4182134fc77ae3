/** `rate` and `maxBody` of the rule that lets a request through: over them it is refused, or, by a rule that only watches, recorded. */
import type { Decision } from '@nemoclaw/contract';
import { unlabelled } from '@nemoclaw/contract';
import type { EgressTerms } from '@nemoclaw/decide';
import type { Core } from '../core.ts';
import { Stopped } from '../hooks.ts';
import type { LimitHook, Passing } from '../hooks.ts';
import type { HostResource, HttpResource } from './judge.ts';
import { httpRecord } from '../records.ts';
import { shownPath } from '../inspect/shown-path.ts';
import { Rates } from './rates.ts';

/** One bucket a rule, for each sandbox. They outlive a change of the policy as long as the rule's id and rate stay. */
const rates = new WeakMap<Core, Rates>();

/** Where a sandbox begins to be served, its rates begin to be refilled. */
export function beginRates(core: Core): Rates {
  const begun = rates.get(core) ?? new Rates(core.ports.clock, core.ports.rates);
  rates.set(core, begun);
  return begun;
}

/** Requests that a rule allows in its window, all at once if need be, and refilled evenly. True: one of them is taken. */
function taken(core: Core, { rule, rate }: EgressTerms): boolean {
  return rate === undefined || beginRates(core).take(`${rule.id} ${rate.count}/${rate.windowMs}`, (rate.count * 1000) / rate.windowMs, rate.count);
}

const units: Readonly<Record<number, string>> = { 1000: 'second', 60_000: 'minute', 3_600_000: 'hour' };

/** A denial by the limit of a rule: `egress.allow[0].rate`. */
function over(core: Core, terms: EgressTerms, field: 'rate' | 'maxBody', reason: string, hint: string): Decision {
  const rule = { ...terms.rule, id: `${terms.rule.id}.${field}` };
  return { verdict: 'deny', action: '', rules: [rule], reason, hint, intent: unlabelled, policyVersion: core.config.version, decidedBy: 'table', micros: 0 };
}

/** Counts one request, or one connection, against its rule. Undefined: it may pass; else the denial, and the seconds until the next may. */
export function countAgainst(core: Core, resource: HttpResource | HostResource): { readonly decision: Decision; readonly retryAfter: number; readonly monitor: boolean } | undefined {
  const terms = core.ports.judge.terms(resource);
  if (terms?.rate === undefined || taken(core, terms)) return undefined;
  const { count, windowMs } = terms.rate;
  const decision = over(core, terms, 'rate', `The rule allows ${count} ${count === 1 ? 'request' : 'requests'} in a ${units[windowMs] ?? `time of ${windowMs} ms`}, and that many were made.`, 'Wait as long as Retry-After says, then go on more slowly.');
  return { decision, retryAfter: Math.max(1, Math.ceil(windowMs / count / 1000)), monitor: terms.monitor };
}

function tooLong(core: Core, terms: EgressTerms, bytes: number): Decision {
  return over(core, terms, 'maxBody', `The rule allows bodies of ${bytes} bytes at most.`, 'Send less at a time.');
}

/** What the request counts as: each thing that is asked for inside once against every rule that lets a reading of it through. */
function counted(passing: Passing): readonly HttpResource[] {
  const { terms } = passing.core.ports.judge;
  const each = passing.judged?.each ?? [[passing.resource(passing.checked.paths[0] ?? '')]];
  const [only] = each;
  if (only?.length === 1 && each.length === 1) return only;
  return each.flatMap((readings) => (readings.length === 1 ? readings : [...new Map(readings.map((one) => [terms(one)?.rule.id, one])).values()]));
}

/** The rule with the smallest limit on the body; of equal ones, one that holds rather than one that watches. */
function smallest(passing: Passing): EgressTerms | undefined {
  const { terms } = passing.core.ports.judge;
  let least: EgressTerms | undefined;
  for (const resource of counted(passing)) {
    const one = terms(resource);
    if (one?.maxBody === undefined) continue;
    if (least?.maxBody === undefined || (one.monitor === least.monitor ? one.maxBody < least.maxBody : least.monitor)) least = one;
  }
  return least;
}

function onRecord(passing: Passing, message: string, decision: Decision): void {
  const { core, place, checked, correlation } = passing;
  core.ports.audit.emit(httpRecord(core.seen(correlation), place, checked.method, shownPath(passing), 'observe', message, decision));
}

export const ruleLimits: LimitHook = {
  admit: (passing) => {
    const { core, checked } = passing;
    const terms = smallest(passing);
    if (terms?.maxBody !== undefined && (checked.length ?? 0) > terms.maxBody) {
      const decision = tooLong(core, terms, terms.maxBody);
      if (!terms.monitor) throw new Stopped(decision, 'the body is longer than its rule allows', 413);
      onRecord(passing, 'the body is longer than its rule allows, which only watches', decision);
    }
    for (const resource of counted(passing)) {
      const refused = countAgainst(core, resource);
      if (refused === undefined) continue;
      if (!refused.monitor) throw new Stopped(refused.decision, 'over the rate of its rule', 429, { 'retry-after': String(refused.retryAfter) });
      onRecord(passing, 'over the rate of its rule, which only watches', refused.decision);
    }
  },
  maxBody: (passing) => {
    const { core } = passing;
    const terms = smallest(passing);
    // a body cannot be let through and be recorded as too long before its end is seen, so that watching looks at the stated length alone
    if (terms?.maxBody === undefined || terms.monitor) return undefined;
    return { bytes: terms.maxBody, decision: tooLong(core, terms, terms.maxBody) };
  },
};
