/** What the policy in force would decide; nothing happens and nothing is put on record. */
import { NemoError, unlabelled, type ActionRequest, type Decision, type FileOp, type RuleRef, type Explained, type explainSchema } from '@nemoclaw/contract';
import { checkRequest, isProblem, type Place } from '@nemoclaw/network-policy';
import { ruleRef } from '@nemoclaw/openshell';
import type { z } from 'zod';
import type { House } from '../house.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';

type AnyAsked = z.output<typeof explainSchema>['request'];
type AskedFile = Extract<AnyAsked, { kind: 'file' }>;
type Asked = Exclude<AnyAsked, AskedFile | { kind: 'event' }>;
type AskedHttp = Extract<Asked, { kind: 'http' }>;

/** As the policy calls an operation that a person is asked about. */
const opOf = { read: 'read', write: 'write', create: 'create', mkdir: 'create', delete: 'delete', rename: 'rename', link: 'create', truncate: 'write', chmod: 'write', exec: 'exec', connect: 'connect' } as const satisfies Record<AskedFile['op'], FileOp>;

function baseOf(live: LiveSandbox): ActionRequest {
  return {
    sandbox: live.record.value.id,
    role: live.bundle.role,
    task: '',
    source: 'model',
    action: '',
    resource: { kind: 'none' },
    params: new Map(),
    labels: unlabelled,
    provenance: new Map(),
    history: { readRestricted: false, ingestedUntrusted: false, hasEgress: false, counts: new Map() },
  };
}

function requestOf(live: LiveSandbox, asked: Exclude<Asked, AskedHttp>): ActionRequest {
  const base = baseOf(live);
  switch (asked.kind) {
    case 'tool':
      return { ...base, ...live.inForce.resolveTool(asked.tool, new Map(Object.entries(asked.arguments))), resource: { kind: 'tool', name: asked.tool } };
    case 'action':
      return { ...base, action: asked.action, params: new Map(Object.entries(asked.params)) };
    case 'connect': {
      const { host, port, message, program } = asked;
      return { ...base, source: 'connect', resource: { kind: 'host', host: hostOf(host), port, ...(message === undefined ? {} : { message }), ...(program === undefined ? {} : { program }) } };
    }
  }
}

/** A host as a client would look it up: Unicode names in their ASCII form, addresses in their usual spelling. */
function hostOf(text: string): string {
  const url = `http://${text.includes(':') && !text.startsWith('[') ? `[${text}]` : text}/`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : text;
}

function placeOf(text: string): Place & { readonly target: string; readonly authority: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const [, rest = ''] = /^[A-Za-z]+:[/\\]+[^/?#\\]*([^#]*)/.exec(text) ?? [];
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw new NemoError('NEMO_E_BODY', { what: 'The address is not an http or https URL.', fix: 'Write e.g. https://api.example.com/v1/items' });
  const tls = url.protocol === 'https:';
  // the path as it would be sent by a client that leaves it alone: what a careless server may read into it is refused, not resolved
  return { name: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? (tls ? 443 : 80) : Number(url.port), tls, target: rest.startsWith('/') ? rest : `/${rest}`, authority: url.host };
}

const rank = { allow: 0, escalate: 1, deny: 2 } as const;

/** A request as the proxy would see it: refused where it is ambiguous, else the strictest of its readings. */
function explainHttp(live: LiveSandbox, asked: AskedHttp): Explained {
  const { target, authority, ...place } = placeOf(asked.url);
  const given = Object.entries(asked.headers).flatMap(([name, values]) => [values].flat().map((value) => [name, value] as const));
  const length = Object.keys(asked.body).length === 0 ? [] : ['content-length', '2'];
  const checked = checkRequest({ method: asked.method.toUpperCase(), url: target, rawHeaders: ['host', authority, ...given.flat(), ...length] }, place);
  if (isProblem(checked)) return { verdict: 'deny', action: '', rules: [{ id: `proxy.${checked.code}` }], reason: `${checked.why}.`, hint: 'Send a plain, unambiguous request.', policyVersion: live.inForce.version };
  const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of given) (headers[name.toLowerCase()] ??= []).push(value);
  const decisions = checked.paths.map((path) => {
    const resource = { kind: 'http', host: place.name, port: place.port, method: checked.method, path, query: checked.query, tls: place.tls, headers, ...(asked.message === undefined ? {} : { message: asked.message }) } as const;
    return live.inForce.decide({ ...baseOf(live), source: 'http', ...live.inForce.resolveHttp(resource, new Map(Object.entries(asked.body))), resource });
  });
  return explained(decisions.reduce((strictest, one) => (rank[one.verdict] > rank[strictest.verdict] ? one : strictest)));
}

function explained({ verdict, action, rules, reason, hint, policyVersion, monitored }: Decision): Explained {
  const copies = (all: readonly RuleRef[]): Explained['rules'] => all.map((rule) => ({ ...rule }));
  return { verdict, action, rules: copies(rules), reason, hint, policyVersion, ...(monitored === undefined ? {} : { monitored: { ...monitored, rules: copies(monitored.rules) } }) };
}

export function explain(live: LiveSandbox, asked: Asked): Explained {
  return asked.kind === 'http' ? explainHttp(live, asked) : explained(live.inForce.decide(requestOf(live, asked)));
}

/** An operation on a file: what the kernel answers, and, where a person would be asked, whether the policy leaves anything to ask. Throws NEMO_E_BODY. */
export async function explainFile(house: House, live: LiveSandbox, asked: AskedFile): Promise<Explained> {
  const { op, path, toPath } = asked;
  const two = op === 'rename' || op === 'link';
  if (two !== (toPath !== undefined)) throw new NemoError('NEMO_E_BODY', { what: two ? `${op} needs toPath, the new name.` : `${op} needs one path only.` });
  const kernel = house.explainFile(live.bundle.sandboxPolicy, await house.hostFacts(), { op, path, ...(toPath === undefined ? {} : { toPath }) });
  const policyVersion = live.inForce.version;
  if (kernel.verdict === 'escalate') {
    // A link makes its new name; everything else is about the first path.
    const resource = op === 'link' ? { kind: 'file', op: 'create', path: toPath ?? path } as const : { kind: 'file', op: opOf[op], path, ...(toPath === undefined ? {} : { toPath }) } as const;
    const held = live.inForce.decide({ ...baseOf(live), source: 'syscall', resource });
    if (held.verdict === 'deny') return { verdict: 'deny', action: '', rules: held.rules.map((rule) => ({ ...rule })), reason: held.reason, hint: held.hint, policyVersion };
  }
  const sees = kernel.errno === null ? '' : `; the program sees ${kernel.errno}`;
  const reason = kernel.verdict === 'allow' ? 'Nothing stops it.' : kernel.verdict === 'deny' ? `Stopped by ${kernel.layer ?? 'the policy'}${sees}.` : `A person is asked${kernel.errno === null ? '' : `; where nobody approves, the program sees ${kernel.errno}`}.`;
  return { verdict: kernel.verdict, action: '', rules: [ruleRef(live.bundle.sandboxPolicy, kernel.rule)], reason, hint: '', policyVersion };
}
