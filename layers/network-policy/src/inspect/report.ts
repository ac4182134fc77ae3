/** What inspection says: to the agent, to the person who is asked, and to the record. Classes and places, never values. */
import type { Decision, LedgerEvent } from '@nemoclaw/contract';
import { refusal } from '../core.ts';
import type { Core } from '../core.ts';
import { Stopped } from '../hooks.ts';
import type { Passing } from '../hooks.ts';
import { authority } from '../judge/judge.ts';
import { classWords, numbersOf, type Action, type Found, type InspectionSettings } from './findings.ts';

/** What a finding is told about: any request, or any conversation. */
export type Reported = Pick<Passing, 'core' | 'place' | 'correlation'>;

/** What the policy in force says about inspection. */
export function settingsOf(core: Core): InspectionSettings {
  const { judge } = core.ports;
  return judge.inspection ?? { scanForPII: judge.scan };
}

/** What is looked for in all that leaves. */
export interface LookedFor {
  readonly scans: boolean;
  readonly secrets: boolean;
}
export const lookedFor = (core: Core): LookedFor => ({ scans: settingsOf(core).scanForPII, secrets: !core.secrets.empty });

/** Whether what was looked through then would have to be looked through again. */
export function looksForMore(core: Core, { scans, secrets }: LookedFor): boolean {
  const more = lookedFor(core);
  return (more.scans && !scans) || (more.secrets && !secrets);
}

/** However large a policy wants them. */
const mostInspected = 16 << 20;

/** Bytes of a body that is held and inspected as a whole, at most. */
export function inspectedBytes(core: Core): number {
  const { bodyBytes } = core.ports.limits;
  return Math.min(settingsOf(core).maxBody ?? bodyBytes, Math.max(bodyBytes, mostInspected));
}

/** Puts on record that a body goes on, or is asked about, of which nothing was read. */
export function recordUninspected(passing: Reported, verdict: 'observe' | 'escalate', why: string, way: 'request' | 'answer' = 'request'): void {
  const { core, place } = passing;
  const seen = core.seen(passing.correlation);
  core.ports.audit.emit({
    time: seen.time, class: 'dataSecurityFinding', activity: 1, severity: 3, sandbox: seen.sandbox, layer: 'proxy', correlation: seen.correlation, verdict,
    message: `${way} ${way === 'answer' ? 'from' : 'to'} ${authority(place)}: not inspected, because ${why}`, data: { host: place.name, port: place.port, way, inspected: false },
  });
}

/** The id that the rule has for people: where a policy would change it. */
export function ruleOf(found: Found): string {
  return found.type === 'known-secret' ? 'inspection.scanForPII' : `inspection.actions.${found.type}`;
}

/** The end of a request in which something was found that must not leave. */
export function blocked(passing: Reported, found: Found): Stopped {
  const what = classWords[found.type];
  const hint = found.type === 'known-secret' || found.type === 'secret' ? 'Secrets are put in outside the sandbox; never send one yourself.' : 'Leave it out of the request, or ask the operator about `inspection.actions`.';
  const decision = refusal(passing.core.config.version, ruleOf(found), `${upper(what)} stands in ${found.place}.`, hint);
  return new Stopped({ ...decision, decidedBy: 'table' }, `${what} is in ${found.place}`);
}

/** The end of an answer in which something was found that the sandbox is not to have. `held`: none of it was delivered. */
export function answerBlocked(passing: Reported, found: Found): Stopped {
  const what = classWords[found.type];
  const decision = refusal(passing.core.config.version, `inspection.responses.actions.${found.type}`, `${upper(what)} stands in ${found.place.replace('the body', 'the body of the answer')}.`, 'The request was made, but its answer is not delivered. Ask for less, or ask the operator about `inspection.responses`.');
  return new Stopped({ ...decision, decidedBy: 'table' }, `${what} is in the answer: ${found.place}`);
}

/** The question about an answer. */
export function askedAboutAnswer(passing: Reported, rule: string, why: string): Decision {
  return { ...refusal(passing.core.config.version, rule, `A person decides whether this answer is delivered: ${why}.`, 'Wait for the operator; `nemoclaw approvals list` shows the question.'), verdict: 'escalate', decidedBy: 'table' };
}

/** A refusal of an answer that cannot be looked into. */
export function answerUnreadable(passing: Reported, rule: string, why: string): Stopped {
  return new Stopped(refusal(passing.core.config.version, rule, `${upper(why)}.`, 'The request was made, but its answer is not delivered. Ask the operator about `inspection.responses`.'), why, 502);
}

/** The question about a request that a person decides on, because of `why`. */
export function askedAbout(passing: Reported, rule: string, why: string): Decision {
  return { ...refusal(passing.core.config.version, rule, `A person decides on this request: ${why}.`, 'Wait for the operator; `nemoclaw approvals list` shows the question.'), verdict: 'escalate', decidedBy: 'table' };
}

/** The question about a request in which something was found that a person decides on. */
export function asked(passing: Reported, found: Found): Decision {
  const what = classWords[found.type];
  return askedAbout(passing, ruleOf(found), `${what} stands in ${found.place}`);
}

/** A refusal of a body that cannot be looked into. */
export function unreadable(passing: Passing, rule: string, why: string, hint: string): Stopped {
  return new Stopped(refusal(passing.core.config.version, rule, `${upper(why)}.`, hint), why);
}

/** Puts on record what was found and what was done. `way`: `request`, `answer`, `message`, `mail`, `command` or `query`. */
export function recordFound(passing: Reported, way: string, all: readonly Found[], action: Action): void {
  if (all.length === 0) return;
  const { core, place } = passing;
  const seen = core.seen(passing.correlation);
  const found = numbersOf(all);
  const places = [...new Set(all.map((one) => one.place))].slice(0, 8);
  const event: LedgerEvent = {
    time: seen.time, class: 'dataSecurityFinding', activity: 1, severity: action === 'log' ? 1 : 3, sandbox: seen.sandbox, layer: 'proxy', correlation: seen.correlation,
    verdict: action === 'block' ? 'deny' : action === 'escalate' ? 'escalate' : 'observe',
    message: `${way} ${way === 'answer' ? 'from' : 'to'} ${authority(place)}: found ${Object.entries(found).map(([type, n]) => `${type} ${n}`).join(', ')}${action === 'redact' ? ', redacted' : ''}`,
    data: { host: place.name, port: place.port, way, found, places, action },
  };
  core.ports.audit.emit(event);
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
