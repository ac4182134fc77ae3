/** Finds the GraphQL operations that an HTTP request carries: POST with JSON or a bare document, GET, batches. What is not plainly one of these is refused. Pure. */
import { hash } from 'node:crypto';
import { foldKey } from '@nemoclaw/contract';
import { allParameters, bareName } from '../http/query-names.ts';
import { readGraphqlDocument } from './graphql-document.ts';
import type { GraphqlOperation } from './graphql-document.ts';
import { GraphqlProblem } from './graphql-tokens.ts';
import { field, isObject, readJsonText, readStrictJson } from './strict-json.ts';
import type { JsonObject } from './strict-json.ts';

/** An HTTP request as an application protocol sees it; `body` without its content encoding, empty where there is none. */
export interface Carried {
  readonly method: string;
  /** Lower case. */
  readonly contentType: string;
  readonly query: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

/** Every message of a request (each is decided, the strictest counts), or why it is none. */
export type Messages<T> = { readonly ok: true; readonly messages: readonly T[] } | { readonly ok: false; readonly why: string };

/** GraphQL over HTTP knows these parameters; a server that knows another (`id`, `documentId`) could run something else than the query that stands here. */
const parameters = new Set(['query', 'operationName', 'variables', 'extensions']);
const longestBatch = 100;

/** Every operation that could be run by this request. A document's other operations count too, since `operationName` is only a hint to the server. */
export function readGraphqlRequest(carried: Carried): Messages<GraphqlOperation> {
  try {
    return { ok: true, messages: operationsOf(carried) };
  } catch (error) {
    if (error instanceof GraphqlProblem) return { ok: false, why: error.message };
    throw error;
  }
}

function operationsOf(carried: Carried): readonly GraphqlOperation[] {
  const inUrl = fromQuery(carried.query);
  if (carried.method === 'GET' || carried.method === 'HEAD') {
    if (carried.body.length > 0) throw new GraphqlProblem('a GraphQL request by GET has a body');
    return oneRequest(inUrl);
  }
  if (carried.method !== 'POST') throw new GraphqlProblem(`${carried.method} is not a method of GraphQL`);
  const type = /^[^;]*/.exec(carried.contentType)?.[0].trim() ?? '';
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/.exec(carried.contentType)?.[1];
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') throw new GraphqlProblem('the GraphQL request is in another character set than UTF-8');
  if (type === 'application/graphql') {
    if (Object.hasOwn(inUrl, 'query')) throw new GraphqlProblem('the GraphQL request has a query in the URL and in the body');
    return oneRequest({ ...inUrl, query: textOf(carried.body) });
  }
  if (type !== 'application/json' && type !== 'application/graphql+json') throw new GraphqlProblem('the GraphQL request is neither JSON nor a bare document');
  // Some servers take the URL's parameters first, others the body's.
  if (Object.keys(inUrl).length > 0) throw new GraphqlProblem('the GraphQL request has parameters in the URL and in the body');
  const read = readStrictJson(carried.body);
  if (!read.ok) throw new GraphqlProblem(read.why);
  if (!Array.isArray(read.value)) return oneRequest(read.value);
  if (read.value.length === 0 || read.value.length > longestBatch) throw new GraphqlProblem(`a GraphQL batch has 1 to ${longestBatch} requests`);
  return read.value.flatMap((one: unknown) => oneRequest(one));
}

/** Names by which servers are told an operation, or one that they know already (persisted queries). */
const family = /^(?:query|mutation|subscription|extensions|variables|requests|hash|id|operations?|operation(?:name|id|hash)|doc(?:ument)?(?:id|hash)?|query(?:id|hash)|persisted\w*|sha256hash)$/;

/** Whether a server could take a member or parameter of this name for a part of a GraphQL request. */
export const isGraphqlName = (name: string): boolean => family.test(bareName(name));

/** The same of all parameters of a URL. */
export const isGraphqlUrl = (query: Carried['query']): boolean => allParameters(query).some(([name]) => isGraphqlName(name));

/** The GraphQL parameters of a URL as a JSON body would give them; others are none of ours. */
function fromQuery(query: Carried['query']): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of query) {
    const known = [...parameters].find((parameter) => foldKey(parameter) === foldKey(name));
    // `query[]` and the like become lists in some servers.
    if (known === undefined && ![...parameters].some((parameter) => foldKey(name).startsWith(`${foldKey(parameter)}[`))) {
      if (isGraphqlUrl([[name, value]])) throw new GraphqlProblem('a persisted GraphQL query, or one in an odd spelling, cannot be decided on');
      continue;
    }
    if (known === undefined || known !== name || Object.hasOwn(out, name)) throw new GraphqlProblem('the URL has a GraphQL parameter twice or in an odd spelling');
    if (name === 'extensions' || name === 'variables') {
      const read = readJsonText(value === '' ? 'null' : value);
      if (!read.ok) throw new GraphqlProblem(read.why);
      out[name] = read.value;
    } else out[name] = value;
  }
  return out;
}

function oneRequest(request: unknown): readonly GraphqlOperation[] {
  if (!isObject(request)) throw new GraphqlProblem('a GraphQL request is a JSON object');
  const odd = Object.keys(request).find((key) => !parameters.has(key));
  if (odd !== undefined) throw new GraphqlProblem('the GraphQL request has a parameter that is not query, operationName, variables or extensions');
  const query = field(request, 'query');
  const extensions = field(request, 'extensions') ?? undefined;
  if (extensions !== undefined && !isObject(extensions)) throw new GraphqlProblem('the extensions of the GraphQL request are not an object');
  if (typeof query !== 'string' || query === '') throw new GraphqlProblem(extensions === undefined ? 'the GraphQL request has no query' : 'a persisted GraphQL query cannot be decided on');
  checkPersisted(extensions === undefined ? undefined : field(extensions, 'persistedQuery'), query);
  const operations = readGraphqlDocument(query);
  const name = field(request, 'operationName') ?? '';
  if (typeof name !== 'string') throw new GraphqlProblem('the operationName of the GraphQL request is not text');
  if (name === '' ? operations.length > 1 : !operations.some((o) => o.name === name)) throw new GraphqlProblem('the GraphQL request does not say which of its operations is meant');
  return operations;
}

/** A hash beside the query is let through only where it is the query's own. */
function checkPersisted(persisted: unknown, query: string): void {
  if (persisted === undefined || persisted === null) return;
  const sum = isObject(persisted) ? field(persisted, 'sha256Hash') : undefined;
  if (sum !== hash('sha256', query, 'hex')) throw new GraphqlProblem('the persisted GraphQL query is another than the query beside it');
}

function textOf(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw new GraphqlProblem('the GraphQL document is not UTF-8');
  }
}

/** The answer to a denied request as GraphQL clients read it; `data` has the fields of the HTTP denial. */
export function graphqlDenial(data: JsonObject): JsonObject {
  return { errors: [{ message: `denied by policy: ${String(data['reason'] ?? '')}`, extensions: { code: 'FORBIDDEN', ...data } }] };
}
