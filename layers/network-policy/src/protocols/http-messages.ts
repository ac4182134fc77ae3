/** Reads what GraphQL, MCP and JSON-RPC say inside an HTTP request, where a rule speaks of it; whatever cannot be read so for certain is refused. */
import type { RuleProtocol } from '@nemoclaw/contract';
import { refusal } from '../core.ts';
import { bareName } from '../http/query-names.ts';
import { Stopped } from '../hooks.ts';
import type { Asked, BodyReader, DenialShape, HttpMessage, Passing, Reading } from '../hooks.ts';
import { graphqlDenial, isGraphqlName, isGraphqlUrl, readGraphqlRequest } from './graphql-request.ts';
import type { Carried } from './graphql-request.ts';
import { isRpcUrl, readJsonRpc, rpcDenial, rpcErrors } from './json-rpc.ts';
import type { RpcMessage } from './json-rpc.ts';
import { mcpDenial, readMcpRequest } from './mcp.ts';
import { isObject, readStrictJson } from './strict-json.ts';
import type { JsonObject } from './strict-json.ts';

type Read = { readonly asked: readonly Asked[]; readonly shape: DenialShape | undefined } | { readonly why: string };

const nothingSaid: Asked = { message: { protocol: 'none' } };

/** Asked first of all body readers, so that every later denial is told in the words of the protocol. */
export const applicationMessages: BodyReader = {
  bodiless: true,
  needs: (passing) => passing.checked.paths.some((path) => passing.core.ports.judge.needsMessage(passing.resource(path)).length > 0),
  read: (passing, readable): Reading => {
    const { checked } = passing;
    const carried: Carried = { method: checked.method, contentType: checked.contentType, query: checked.query, body: readable };
    const asked: Asked[] = [];
    let shape: DenialShape | undefined;
    for (const protocol of wanted(passing)) {
      if (saysNothing(protocol, carried)) continue;
      const read = readAs(protocol, passing, carried);
      if ('why' in read) throw new Stopped(refusal(passing.core.config.version, 'proxy.message', `The policy depends on what this request says, and ${read.why}.`, 'Send a request that every server reads alike.'), read.why);
      asked.push(...read.asked);
      shape = read.shape ?? shape;
    }
    return { asked: asked.length === 0 ? [nothingSaid] : asked, ...(shape === undefined ? {} : { shape }) };
  },
};

function wanted(passing: Passing): ReadonlySet<RuleProtocol> {
  return new Set(passing.checked.paths.flatMap((path) => passing.core.ports.judge.needsMessage(passing.resource(path))));
}

function readAs(protocol: RuleProtocol, passing: Passing, carried: Carried): Read {
  if (protocol === 'graphql') {
    const read = readGraphqlRequest(carried);
    return read.ok ? { asked: read.messages.map((one) => ({ message: { protocol: 'graphql', ...one } })), shape: (data, status) => ({ status, body: graphqlDenial(data) }) } : read;
  }
  if (protocol === 'mcp') {
    const read = readMcpRequest(carried, passing.checked.headers);
    if (!read.ok) return read;
    return { asked: read.messages.map(({ asked }) => mcpAsked(passing, { protocol: 'mcp', ...asked })), shape: shapeOf(read.messages.flatMap(({ rpc }) => rpc ?? []), carried, mcpDenial) };
  }
  const read = readJsonRpc(carried, ['2.0', '1.1', '1.0', undefined]);
  if (!read.ok) return read;
  const asked = read.messages.map((one): Asked => ({ message: { protocol: 'json-rpc', method: one.kind === 'call' ? one.method : 'response' }, params: new Map<string, unknown>(one.kind === 'call' ? [['method', one.method], ['params', one.params ?? null]] : []) }));
  return { asked, shape: shapeOf(read.messages, carried, rpcDenial) };
}

/** A tool that the catalogue lists is decided as the same call at the model's side is. */
function mcpAsked(passing: Passing, message: Extract<HttpMessage, { protocol: 'mcp' }>): Asked {
  const params = new Map<string, unknown>([['method', message.method], ['tool', message.tool], ['arguments', message.arguments]]);
  if (message.method !== 'tools/call') return { message, params };
  const known = passing.core.ports.judge.tool(message.tool, new Map(Object.entries(message.arguments)));
  return known === undefined ? { message, params } : { message, params: known.params, action: known };
}

/** JSON-RPC answers with 200; where nothing waits for an answer the plain denial stands. */
function shapeOf(messages: readonly RpcMessage[], carried: Carried, one: (call: Extract<RpcMessage, { kind: 'call' }>, data: JsonObject) => JsonObject): DenialShape | undefined {
  const batch = /^\s*\[/.test(carried.body.toString('latin1', 0, 64));
  return (data) => {
    const body = rpcErrors(messages, batch, (call) => one(call, data));
    return body === undefined ? undefined : { status: 200, body };
  };
}

/** Whether a request has nothing in it that any server would take for a message of this protocol. */
function saysNothing(protocol: RuleProtocol, carried: Carried): boolean {
  if (protocol !== 'graphql' && isRpcUrl(carried.query)) return false;
  if (carried.body.length === 0) {
    // An event stream is opened and ended without a body.
    if (protocol === 'mcp') return carried.method !== 'GET' && carried.method !== 'DELETE' && carried.method !== 'POST';
    return carried.method !== 'POST' && (protocol !== 'graphql' || !isGraphqlUrl(carried.query));
  }
  if (!/[/+]json\b/.test(carried.contentType) || (protocol === 'graphql' && isGraphqlUrl(carried.query))) return false;
  const read = readStrictJson(carried.body);
  const says = protocol === 'graphql' ? isGraphqlName : (key: string): boolean => /^(?:jsonrpc|method|result|error)$/.test(bareName(key));
  // Where the prototype of what is read comes from, its members do.
  return read.ok && isObject(read.value) && !Object.keys(read.value).some((key) => key === '__proto__' || says(key));
}
