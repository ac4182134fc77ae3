/** Asks the policy about one HTTP request: every reading of its path, and everything that is asked for inside it. Pure but for the decision. */
import { hash } from 'node:crypto';
import type { ActionRequest, Decision, HeaderValues } from '@nemoclaw/contract';
import type { Core } from '../core.ts';
import { refusal } from '../core.ts';
import type { Asked, Passing } from '../hooks.ts';
import { stricter } from './judge.ts';
import type { HttpResource } from './judge.ts';
import type { CheckedRequest, Place } from '../http/request-check.ts';

export interface Judged {
  readonly request: ActionRequest;
  readonly decision: Decision;
  /** Everything that was asked about: for each thing that is asked for inside, every reading of the path. */
  readonly each: readonly (readonly HttpResource[])[];
}
type JudgedOne = Omit<Judged, 'each'>;

/** What was read of a request besides its head. */
export interface ReadSoFar {
  readonly attributes: ReadonlyMap<string, unknown>;
  readonly body: Buffer | undefined;
  /** The same without its encoding, and the framing of uploads to AWS. */
  readonly readable: Buffer | undefined;
  /** A hook wants a person asked, whatever the policy says. */
  readonly escalate: Decision | undefined;
}

/** The strictest decision over all readings of the path, and all that is asked for. */
export function judgeRequest(passing: Passing, read: ReadSoFar): Judged {
  const { core, checked } = passing;
  let strictest: JudgedOne | undefined;
  const each: HttpResource[][] = [];
  for (const asked of passing.asked.length === 0 ? [undefined] : passing.asked) {
    const readings = checked.paths.map((path) => resourceFor(passing, path, asked));
    each.push(readings);
    for (const resource of readings) {
      const judged = judgeOne(core, resource, asked, passing, read);
      strictest = strictest ? stricter(strictest, judged) : judged;
    }
  }
  if (!strictest) return { request: core.request('http', { kind: 'none' }), decision: refusal(core.config.version, 'error', 'the request has no path', ''), each };
  const { request, decision } = strictest;
  return { request, decision: decision.verdict === 'allow' && read.escalate ? read.escalate : decision, each };
}

/** The first of what is asked for is what hooks see too. */
function resourceFor(passing: Passing, path: string, asked: Asked | undefined): HttpResource {
  const { core, place, checked } = passing;
  return asked === passing.asked[0] ? passing.resource(path) : resourceOf(place, checked, path, core.ports.judge.headersNamed(place.name), asked, core.programAt(place).program);
}

function judgeOne(core: Core, resource: HttpResource, asked: Asked | undefined, passing: Passing, read: ReadSoFar): JudgedOne {
  const bare = core.request('http', resource);
  let request = bare;
  try {
    // Several things in one body are approved together or not at all.
    const whole = passing.asked.length > 1;
    const known = asked?.action ?? core.ports.judge.action(resource, read.attributes);
    if (asked?.action) request = { ...bare, source: 'mcp', action: asked.action.action, params: bound(asked.action.params, read, whole, passing), labels: asked.action.labels };
    else if (known) request = { ...bare, action: known.action, params: bound(known.params, read, whole || read.attributes.size === 0, passing), labels: known.labels };
    else if (asked?.params) request = { ...bare, params: bound(asked.params, read, whole, passing) };
    else if (read.body) request = { ...bare, params: bound(read.attributes, read, whole || read.attributes.size === 0, passing) };
  } catch {
    return { request, decision: refusal(core.config.version, 'error', 'the action of this request could not be read', '') };
  }
  return { request, decision: core.decide(request) };
}

/** A body whose fields do not say all of it is bound by its hash and by what it says to be, so that an approval is for this body, read so, and no other. */
function bound(params: ReadonlyMap<string, unknown>, read: ReadSoFar, byHash: boolean, { checked }: Passing): ReadonlyMap<string, unknown> {
  // Signatures in the framing of an upload to AWS are new with every second.
  const body = checked.awsChunked === true ? read.readable : read.body;
  if (!body || body.length === 0 || !byHash) return params;
  return new Map([...params, ['bodyHash', hash('sha256', body, 'hex')], ['bodyType', checked.contentType]]);
}

/** What the policy is asked for one reading of the path. `named`: the headers that its rules speak of, in small letters; `program`: of the connection, where they speak of programs. */
export function resourceOf({ name, port, tls }: Place, checked: CheckedRequest, path: string, named: readonly string[], asked: Asked | undefined, program: string | undefined): HttpResource {
  const bare: HttpResource = { kind: 'http', host: name, port, method: checked.method, path, query: checked.query, tls };
  const resource = program === undefined ? bare : { ...bare, program };
  if (named.length === 0 && asked === undefined) return resource;
  return { ...resource, ...(named.length === 0 ? {} : { headers: valuesOf(checked.headers, named) }), ...(asked === undefined ? {} : { message: asked.message }) };
}

/** Values of the named headers in a list of name, value, name, value…, by their names as rules say them, in small letters. CGI and its heirs read `_` as `-`. */
function valuesOf(headers: readonly string[], named: readonly string[]): HeaderValues {
  const out: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = folded(headers[i] ?? '');
    for (const one of named) if (folded(one) === name) (out[one] ??= []).push(headers[i + 1] ?? '');
  }
  return out;
}

const folded = (name: string): string => name.toLowerCase().replaceAll('_', '-');
