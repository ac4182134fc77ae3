/** Builds policies and requests from short texts for the tests of this room. */
import { readFileSync } from 'node:fs';
import { emptyHistory, loadApprovalPolicy, loadCatalogue, loadNetworkPolicy, loadSandboxPolicy, unlabelled, type ActionRequest, type Decision, type FileOp } from '@nemoclaw/contract';
import { compilePolicy } from './compile.ts';
import { decide } from './decide.ts';
import { resolveHttp, resolveTool, type CompiledPolicy } from './policy.ts';

export const example = (name: string): string => readFileSync(new URL(`../../contract/vectors/policy/${name}`, import.meta.url), 'utf8');

export interface Texts {
  /** Lines of `spec`, after `isolation`. */
  readonly spec?: string;
  readonly sandbox?: string;
  /** Lines of `egress`, or a whole file. */
  readonly egress?: string;
  readonly network?: string;
  readonly catalogue?: string;
  readonly approvals?: string;
  readonly role?: string;
}

export function policyOf(texts: Texts): CompiledPolicy {
  const sandbox = texts.sandbox ?? `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { filesystem: workspace }\n${texts.spec ?? ''}`;
  const network = texts.network ?? (texts.egress === undefined ? undefined : `networkPolicy:\n  name: t\n  egress:\n${texts.egress}`);
  return compilePolicy(
    {
      sandboxPolicy: loadSandboxPolicy(sandbox, 'sandbox.yaml'),
      ...(network === undefined ? {} : { network: loadNetworkPolicy(network, 'network.yaml') }),
      ...(texts.catalogue === undefined ? {} : { catalogue: loadCatalogue(texts.catalogue, 'actions.yaml') }),
      ...(texts.approvals === undefined ? {} : { approvals: loadApprovalPolicy(texts.approvals, 'approvals.yaml', { channels: new Set(['terminal', 'slack', 'teams', 'pagerduty']) }) }),
      role: texts.role ?? 'support',
    },
    7,
  );
}

const base = { sandbox: 'sb', role: 'support', task: 'task-1', labels: unlabelled, provenance: new Map<string, never>(), history: emptyHistory, action: '', params: new Map<string, unknown>() };

/** A model's call of a tool, as the router asks it. */
export function toolRequest(policy: CompiledPolicy, name: string, args: Readonly<Record<string, unknown>> = {}): ActionRequest {
  return { ...base, source: 'model', ...resolveTool(policy, name, new Map(Object.entries(args))), resource: { kind: 'tool', name } };
}

/** A request as the proxy asks it; `method url`, default port by scheme. */
export function httpRequest(policy: CompiledPolicy, methodAndUrl: string, body: Readonly<Record<string, unknown>> = {}): ActionRequest {
  const [method = '', text = ''] = methodAndUrl.split(' ');
  const match = /^(https?):\/\/([^/:]*)(?::(\d+))?(\/[^?]*)?(?:\?(.*))?$/.exec(text);
  const tls = match?.[1] === 'https';
  const query = [...new URLSearchParams(match?.[5] ?? '')];
  const resource = { kind: 'http' as const, host: match?.[2] ?? '', port: Number(match?.[3] ?? (tls ? 443 : 80)), method, path: match?.[4] ?? '/', query, tls };
  const fields = new Map(Object.entries(body));
  return { ...base, source: 'http', params: fields, ...(resolveHttp(policy, resource, fields) ?? {}), resource };
}

export function connectRequest(host: string, port: number, source: 'connect' | 'dns' = 'connect'): ActionRequest {
  return { ...base, source, resource: { kind: 'host', host, port } };
}

export function actionRequest(action: string, params: Readonly<Record<string, unknown>> = {}): ActionRequest {
  return { ...base, source: 'hook', action, params: new Map(Object.entries(params)), resource: { kind: 'none' } };
}

export function fileRequest(op: FileOp, path: string, toPath?: string): ActionRequest {
  return { ...base, source: 'syscall', resource: { kind: 'file', path, op, ...(toPath === undefined ? {} : { toPath }) } };
}

/** `verdict rule,rule` */
export function brief(decision: Decision): string {
  return `${decision.verdict} ${decision.rules.map((r) => r.id).join(',')}`;
}
export function ask(policy: CompiledPolicy, request: ActionRequest): string {
  return brief(decide(policy, request));
}
