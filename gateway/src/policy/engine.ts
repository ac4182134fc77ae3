/** One compiled policy as the gateway uses it: to ship it, to decide again what is held, to explain. */
import type { ActionRequest, Decision, PolicyBundle, Resource } from '@nemoclaw/contract';
import { compilePolicy, decide, encodePolicy, requestKey, resolveHttp, resolveTool } from '@nemoclaw/decide';

/** What the catalogue says of a request. */
export type Named = Pick<ActionRequest, 'action' | 'params' | 'labels'>;

export interface InForce {
  readonly version: number;
  /** base64 of the bytes that are shipped. */
  readonly bytes: string;
  /** Names for which TLS is opened, sorted; the intermediate certificate is bound to exactly these. */
  readonly interceptNames: readonly string[];
  decide(request: ActionRequest): Decision;
  /** Identifies the identical request, SHA-256 hex. */
  key(request: ActionRequest): string;
  /** What a tool call is, by the catalogue. */
  resolveTool(tool: string, args: ReadonlyMap<string, unknown>): Named;
  /** What an HTTP request carries out; undefined where neither catalogue nor rule names it. */
  resolveHttp(resource: Extract<Resource, { kind: 'http' }>, body: ReadonlyMap<string, unknown>): Named | undefined;
}

/** Compiles a checked bundle. Throws NemoError. */
export type Compile = (bundle: PolicyBundle, version: number) => InForce;

/** The engine of `decide`. */
export const compileWithDecide: Compile = (bundle, version) => {
  const policy = compilePolicy(bundle, version);
  return {
    version,
    bytes: Buffer.from(encodePolicy(policy)).toString('base64'),
    interceptNames: policy.network.interceptNames,
    decide: (request) => decide(policy, request),
    key: (request) => requestKey(request),
    resolveTool: (tool, args) => resolveTool(policy, tool, args),
    resolveHttp: (resource, body) => resolveHttp(policy, resource, body),
  };
};
