/** Decides by Cedar alone, over the text of the whole policy: slow, and independent of the tables. For proof and for the test that both agree. */
import type { CedarValueJson, EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import { sandboxFiles, type ActionRequest, type FileOp, type Verdict } from '@nemoclaw/contract';
import { cedar } from './cedar.ts';
import { actionEntity, factsContext } from './cedar-words.ts';
import { toCedar } from './cedar-text.ts';
import { decideHttp, queryHolds } from './egress.ts';
import { factsOf } from './facts.ts';
import { inView } from './files.ts';
import { compilePath, loosen, matchPath } from './glob.ts';
import { canonicalHost } from './hosts.ts';
import { failingInside, programHolds } from './messages.ts';
import { plansOf, type CompiledPolicy } from './policy.ts';
import { viewOf } from './verdicts.ts';

/** One question to Cedar; a request may need several, and the strictest answer counts. */
export interface CedarQuery {
  readonly action: string;
  /** Dotted actions are members of the groups of their prefixes. */
  readonly grouped: boolean;
  readonly context: Readonly<Record<string, CedarValueJson>>;
}

/** The questions that a request comes to; none at all means denied. */
export function cedarQueries(policy: CompiledPolicy, request: ActionRequest): CedarQuery[] {
  const resource = request.resource;
  const out: CedarQuery[] = [];
  let as = '';
  if (resource.kind === 'http' || (resource.kind === 'host' && resource.message !== undefined)) {
    const view = viewOf(resource);
    const host = canonicalHost(resource.host);
    as = policy.ir.networkNone === null ? (decideHttp(policy.egress, host, view).rule?.ir.as ?? '') : '';
    const strict = view.strict();
    const loose = view.loose();
    const patterns = [...new Set(policy.ir.egress.flatMap((r) => r.paths))];
    out.push({
      action: 'net:http',
      grouped: false,
      context: {
        ...hostContext(host, resource.port),
        method: view.method,
        paths: patterns.filter((p) => view.http && matchPath(compilePath(p), strict)),
        pathsLoosely: patterns.filter((p) => view.http && matchPath(loosen(compilePath(p)), loose)),
        queries: policy.ir.egress.filter((r) => view.http && r.query !== undefined && queryHolds(r, view.query)).map((r) => r.ref.id),
        // of a rule that only watches, its twin wants the program alone
        insides: policy.ir.egress.flatMap((r) => [...(failingInside(r, view) === undefined ? [r.ref.id] : []), ...(r.monitor === true && r.binaries !== undefined && programHolds(r, view.program) ? [`${r.ref.id}:watch`] : [])]),
      },
    });
  } else if (resource.kind === 'host') {
    out.push({ action: request.source === 'dns' ? 'net:dns' : 'net:connect', grouped: false, context: { ...hostContext(canonicalHost(resource.host), resource.port), insides: policy.ir.egress.filter((r) => programHolds(r, resource.program)).map((r) => r.ref.id) } });
  } else if (resource.kind === 'file') {
    out.push(fileQuery(policy, resource.path, resource.op));
    if (resource.toPath !== undefined) out.push(fileQuery(policy, resource.toPath, resource.op === 'rename' ? 'rename' : 'create'));
  } else if (resource.kind === 'call') out.push({ action: 'sys:call', grouped: false, context: { name: resource.name } });
  const plans = plansOf(policy, request, as);
  if (plans === undefined) return [];
  const atModel = resource.kind === 'tool' || resource.kind === 'none';
  for (const plan of plans) out.push({ action: plan.name, grouped: true, context: { ...factsContext(factsOf(plan, request.params, resource.kind === 'none'), false), atModel } });
  return out;
}

function hostContext(host: string, port: number): Record<string, CedarValueJson> {
  return { host, port, isAddress: /^[0-9.]+$/.test(host) || host.includes(':') };
}

function fileQuery(policy: CompiledPolicy, given: string, op: FileOp): CedarQuery {
  const path = sandboxFiles.canonical(given);
  const files = policy.ir.files;
  const named = [...files.deny, ...files.escalate].map((r) => r.path);
  return {
    action: `file:${op}`,
    grouped: false,
    context: { path, moves: op === 'delete' || op === 'rename', pathsBelow: [...new Set(named.filter((p) => p.startsWith(`${path}/`)))], inView: inView(policy.ir, given, op) },
  };
}

/** The verdict of Cedar alone, by the policy's text. Any error is a denial. */
export function decideByCedar(policy: CompiledPolicy): (request: ActionRequest) => Verdict {
  const name = 'nemoclaw-plain';
  const parsed = cedar().preparsePolicySet(name, { staticPolicies: Object.fromEntries(toCedar(policy)) });
  if (parsed.type !== 'success') throw new RangeError(`the text does not parse: ${parsed.errors.map((e) => e.message).join('; ')}`);
  const permitted = (request: ActionRequest, query: CedarQuery, approved: boolean): boolean => {
    const answer = cedar().statefulIsAuthorized({
      principal: { type: 'Sandbox', id: request.sandbox },
      action: { type: 'Action', id: query.action },
      resource: { type: 'Resource', id: request.resource.kind },
      context: { ...query.context, approved },
      preparsedPolicySetId: name,
      entities: [actionEntity(query.action, query.grouped), sandboxEntity(policy, request)],
    });
    return answer.type === 'success' && answer.response.diagnostics.errors.length === 0 && answer.response.decision === 'allow';
  };
  return (request) => {
    const queries = cedarQueries(policy, request);
    if (queries.length === 0) return 'deny';
    let verdict: Verdict = 'allow';
    for (const query of queries) {
      if (permitted(request, query, false)) continue;
      if (!permitted(request, query, true)) return 'deny';
      verdict = 'escalate';
    }
    return verdict;
  };
}

function sandboxEntity(policy: CompiledPolicy, request: ActionRequest): EntityJson {
  const role = request.role === '' ? policy.role : request.role;
  return { uid: { type: 'Sandbox', id: request.sandbox }, attrs: {}, parents: role === '' ? [] : [{ type: 'Role', id: role }] };
}
