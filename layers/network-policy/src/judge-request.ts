/** Asks the policy about one HTTP request: every reading of its path, and everything that is asked for inside it. Pure but for the decision. */
import { hash } from 'node:crypto';
import type { ActionRequest, Decision, HeaderValues } from '@nemoclaw/contract';
import type { Core } from './core.ts';
import { refusal } from './core.ts';
import type { Asked } from './hooks.ts';
import { stricter } from './judge.ts';
import type { HttpResource } from './judge.ts';
import type { CheckedRequest, Place } from './request-check.ts';

export interface Judged {
  readonly request: ActionRequest;
  readonly decision: Decision;
  /** Everything that was asked about: for each thing that is asked for inside, every reading of the path. */
  readonly each: readonly (readonly HttpResource[])[];
}
type JudgedOne = Omit<Judged, 'each'>;

/** What was read of a request besides its head. */
export interface ReadSoFar {
  readonly asked: readonly Asked[];
  readonly attributes: ReadonlyMap<string, unknown>;
  readonly body: Buffer | undefined;
  /** A hook wants a person asked, whatever the policy says. */
  readonly escalate: Decision | undefined;
}

/** The strictest decision over all readings of the path, and all that is asked for. */
export function judgeRequest(core: Core, place: Place, checked: CheckedRequest, read: ReadSoFar): Judged {
  let strictest: JudgedOne | undefined;
  const each: HttpResource[][] = [];
  for (const asked of read.asked.length === 0 ? [undefined] : read.asked) {
    const readings = checked.paths.map((path) => resourceOf(core, place, checked, path, asked));
    each.push(readings);
    for (const resource of readings) {
      const judged = judgeOne(core, resource, asked, read);
      strictest = strictest ? stricter(strictest, judged) : judged;
    }
  }
  if (strictest?.decision.verdict === 'allow' && read.escalate) return { request: strictest.request, decision: read.escalate, each };
  return { ...(strictest ?? { request: core.request('http', { kind: 'none' }), decision: refusal(core.config.version, 'error', 'the request has no path', '') }), each };
}

function judgeOne(core: Core, resource: HttpResource, asked: Asked | undefined, read: ReadSoFar): JudgedOne {
  const bare = core.request('http', resource);
  let request = bare;
  try {
    // Several things in one body are approved together or not at all.
    const whole = read.asked.length > 1;
    const known = asked?.action ?? core.ports.judge.action(resource, read.attributes);
    if (asked?.action) request = { ...bare, source: 'mcp', action: asked.action.action, params: bound(asked.action.params, read, whole), labels: asked.action.labels };
    else if (known) request = { ...bare, action: known.action, params: bound(known.params, read, whole || read.attributes.size === 0), labels: known.labels };
    else if (asked?.params) request = { ...bare, params: bound(asked.params, read, whole) };
    else if (read.body) request = { ...bare, params: bound(read.attributes, read, whole || read.attributes.size === 0) };
  } catch {
    return { request, decision: refusal(core.config.version, 'error', 'the action of this request could not be read', '') };
  }
  return { request, decision: core.decide(request) };
}

/** A body whose fields do not say all of it is bound by its hash, so that an approval is for this body and no other. */
function bound(params: ReadonlyMap<string, unknown>, { body }: ReadSoFar, byHash: boolean): ReadonlyMap<string, unknown> {
  if (!body || body.length === 0 || !byHash) return params;
  return new Map([...params, ['bodyHash', hash('sha256', body, 'hex')]]);
}

/** What the policy is asked for one reading of the path. */
export function resourceOf(core: Core, { name, port, tls }: Place, checked: CheckedRequest, path: string, asked?: Asked): HttpResource {
  const named = core.ports.judge.headersNamed(name);
  const resource: HttpResource = { kind: 'http', host: name, port, method: checked.method, path, query: checked.query, tls, ...(named.length === 0 ? {} : { headers: valuesOf(checked.headers, named) }) };
  return asked === undefined ? resource : { ...resource, message: asked.message };
}

/** Values of the named headers in a list of name, value, name, value…, by their names in small letters. */
function valuesOf(headers: readonly string[], named: readonly string[]): HeaderValues {
  const out: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase();
    if (named.includes(name)) (out[name] ??= []).push(headers[i + 1] ?? '');
  }
  return out;
}
