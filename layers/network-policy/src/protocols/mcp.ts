/** The Model Context Protocol over HTTP (streamable HTTP, 2025-06-18): what a client's request asks for, and what a server may ask back. Pure. */
import { foldKey } from '@nemoclaw/contract';
import type { Carried, Messages } from './graphql-request.ts';
import { isRpcUrl, readJsonRpc } from './json-rpc.ts';
import type { RpcCall, RpcMessage } from './json-rpc.ts';
import { field, isObject } from './strict-json.ts';
import type { JsonObject } from './strict-json.ts';

/** One thing asked for. An answer to a server counts as the method `response`; `''` is the transport alone: opening the stream, ending the session. */
export interface McpMessage {
  readonly method: string;
  /** '' where no tool is called. */
  readonly tool: string;
  /** Of the tool; for other methods their params. */
  readonly arguments: JsonObject;
}
export interface McpRead {
  readonly asked: McpMessage;
  /** Undefined where the HTTP request has no JSON-RPC message. */
  readonly rpc: RpcMessage | undefined;
}

const session: McpRead = { asked: { method: '', tool: '', arguments: {} }, rpc: undefined };

/** `headers`: name, value, …; newer clients repeat method and tool there, and a server might believe them. */
export function readMcpRequest(carried: Carried, headers: readonly string[]): Messages<McpRead> {
  if (carried.method === 'GET' || carried.method === 'DELETE') {
    // The standard has no messages by GET; a server that takes them does more than open a stream.
    if (isRpcUrl(carried.query)) return { ok: false, why: `an MCP message by ${carried.method} is not MCP` };
    return carried.body.length > 0 ? { ok: false, why: `${carried.method} with a body is not MCP` } : { ok: true, messages: [session] };
  }
  const read = readJsonRpc(carried, ['2.0']);
  if (!read.ok) return read;
  const messages: McpRead[] = [];
  for (const rpc of read.messages) {
    const asked = askedBy(rpc);
    if (typeof asked === 'string') return { ok: false, why: asked };
    messages.push({ asked, rpc });
  }
  return headersAgree(headers, messages) ? { ok: true, messages } : { ok: false, why: 'a header names another MCP method or tool than the body' };
}

function askedBy(rpc: RpcMessage): McpMessage | string {
  if (rpc.kind === 'answer') return { method: 'response', tool: '', arguments: {} };
  if (rpc.params !== undefined && !isObject(rpc.params)) return 'the params of an MCP message are not an object';
  if (rpc.method !== 'tools/call') return { method: rpc.method, tool: '', arguments: rpc.params ?? {} };
  const name = rpc.params === undefined ? undefined : field(rpc.params, 'name');
  const args = rpc.params === undefined ? undefined : field(rpc.params, 'arguments');
  if (typeof name !== 'string' || name === '' || name.length > 256) return 'tools/call does not name a tool';
  if (args !== undefined && !isObject(args)) return 'the arguments of tools/call are not an object';
  if (rpc.params !== undefined && Object.keys(rpc.params).some((key) => key !== 'name' && key !== 'arguments' && ['name', 'arguments'].includes(foldKey(key)))) return 'the params of tools/call have a member in an odd spelling';
  return { method: rpc.method, tool: name, arguments: args ?? {} };
}

function headersAgree(headers: readonly string[], messages: readonly McpRead[]): boolean {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase().replaceAll('_', '-');
    const value = headers[i + 1] ?? '';
    const only = messages.length === 1 ? messages[0]?.asked : undefined;
    if (name === 'mcp-method' && only?.method !== value) return false;
    if (name === 'mcp-name' && value !== named(only)) return false;
  }
  return true;
}

function named(message: McpMessage | undefined): unknown {
  if (message === undefined) return undefined;
  return message.method === 'tools/call' ? message.tool : (field(message.arguments, 'name') ?? field(message.arguments, 'uri'));
}

/** A denied `tools/call` is answered as a failed call, which the model gets to read; everything else as a JSON-RPC error. */
export function mcpDenial(call: RpcCall, data: JsonObject): JsonObject {
  if (call.method !== 'tools/call') return { jsonrpc: '2.0', id: call.id ?? null, error: { code: -32_001, message: `denied by policy: ${String(data['reason'] ?? '')}`, data } };
  const text = `Denied by policy (rule ${String(data['rule'] ?? 'default')}): ${String(data['reason'] ?? '')} ${String(data['hint'] ?? '')}`.trim();
  return { jsonrpc: '2.0', id: call.id ?? null, result: { content: [{ type: 'text', text }], isError: true, _meta: { 'nemoclaw/denial': data } } };
}
