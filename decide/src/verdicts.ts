/** The verdict of the egress rules on one request. Several questions are asked about each request in turn; what was found for the first answers the others. */
import type { Resource } from '@nemoclaw/contract';
import { decideHttp, type EgressGroup, type EgressVerdict, type HttpView } from './egress.ts';
import { looseSegments, strictSegments } from './glob.ts';
import { canonicalHost, type HostIndex } from './hosts.ts';

type Http = Extract<Resource, { kind: 'http' }>;
type Host = Extract<Resource, { kind: 'host' }>;

/** The last one, by identity: resources and indexes are immutable. */
let last: { readonly index: HostIndex<EgressGroup>; readonly resource: Http | Host; readonly verdict: EgressVerdict } | undefined;

/** What `decideHttp` says on an HTTP request, or on what is said in a conversation of another protocol. */
export function httpVerdict(index: HostIndex<EgressGroup>, resource: Http | Host): EgressVerdict {
  if (last?.index === index && last.resource === resource) return last.verdict;
  const verdict = decideHttp(index, canonicalHost(resource.host), viewOf(resource));
  last = { index, resource, verdict };
  return verdict;
}

/** What the egress rules see of an HTTP request, or of a conversation in another protocol. */
export function viewOf(resource: Http | Host): HttpView {
  const http = resource.kind === 'http';
  let strict: readonly string[] | undefined;
  let loose: readonly string[] | undefined;
  return {
    http,
    port: resource.port,
    method: http ? resource.method : '',
    query: http ? resource.query : [],
    headers: http ? resource.headers : undefined,
    message: resource.message,
    program: resource.program,
    strict: () => (strict ??= http ? strictSegments(resource.path) : []),
    loose: () => (loose ??= http ? looseSegments(resource.path) : []),
  };
}
