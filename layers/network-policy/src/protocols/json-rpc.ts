/** Reads JSON-RPC messages, single or in a batch, and makes the errors that answer them. Pure. */
import { allParameters, bareName, behindSemicolons } from '../http/query-names.ts';
import type { Carried, Messages } from './graphql-request.ts';
import { field, isObject, readJsonText, readStrictJson } from './strict-json.ts';
import type { JsonObject, JsonRead } from './strict-json.ts';

export type RpcId = string | number | null;

export interface RpcCall {
  readonly kind: 'call';
  readonly method: string;
  /** An object or list; undefined where there is none. */
  readonly params: unknown;
  /** Undefined for a notification, which is not answered. */
  readonly id: RpcId | undefined;
}
/** An answer that the client gives to a request of the server. */
export interface RpcAnswer {
  readonly kind: 'answer';
  readonly id: RpcId;
}
export type RpcMessage = RpcCall | RpcAnswer;

const known = ['jsonrpc', 'method', 'params', 'id', 'result', 'error'];
const longestBatch = 100;

/** Names of parameters by which a server takes a URL for a message, in whatever spelling. */
const isMark = (name: string): boolean => /^(?:jsonrpc|method)$/.test(bareName(name));


/** Whether a URL has what a server could take for a JSON-RPC message. */
export function isRpcUrl(query: Carried['query']): boolean {
  return allParameters(query).some(([name]) => isMark(name));
}

const isSplit = (query: Carried['query']): boolean => behindSemicolons(query).some(([name]) => isMark(name));

/** The messages of a POST body, or the one in the URL of a GET. `versions`: accepted values of the member `jsonrpc`; undefined among them stands for none. */
export function readJsonRpc(carried: Carried, versions: readonly (string | undefined)[]): Messages<RpcMessage> {
  if (carried.method === 'GET' && carried.body.length === 0) return readUrl(carried.query, versions);
  const read = readBody(carried, versions);
  if (!read.ok || !isRpcUrl(carried.query)) return read;
  // Some servers take the URL's method first, others the body's.
  const [only] = read.messages;
  const agrees = read.messages.length === 1 && !isSplit(carried.query) && only?.kind === 'call' && carried.query.every(([name, value]) => !isMark(name) || (name === 'method' && value === only.method));
  return agrees ? read : { ok: false, why: 'the URL names another JSON-RPC method than the body' };
}

/** `?jsonrpc=2.0&method=…&params=…&id=…`, the params as JSON or as that in base64. Other parameters are the server's own business: they name no method. */
function readUrl(query: Carried['query'], versions: readonly (string | undefined)[]): Messages<RpcMessage> {
  const odd = { ok: false, why: 'the URL has a JSON-RPC member twice or in an odd spelling' } as const;
  if (isSplit(query)) return odd;
  const found: Record<string, unknown> = {};
  for (const [name, value] of query) {
    const member = ['jsonrpc', 'method', 'params', 'id'].find((one) => bareName(name) === one);
    if (member === undefined) continue;
    if (member !== name || Object.hasOwn(found, name)) return odd;
    found[name] = value;
  }
  if (typeof found['params'] === 'string') {
    const params = readParams(found['params']);
    if (!params.ok) return params;
    found['params'] = params.value;
  }
  if (typeof found['id'] === 'string' && /^-?\d{1,15}$/.test(found['id'])) found['id'] = Number(found['id']);
  return readRpcValue(found, versions);
}

function readParams(text: string): JsonRead {
  const plain = readJsonText(text);
  if (plain.ok && typeof plain.value === 'object') return plain;
  const coded = /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? readStrictJson(Buffer.from(text, 'base64')) : plain;
  return coded.ok ? coded : { ok: false, why: 'the params in the URL are neither JSON nor JSON in base64' };
}

function readBody(carried: Carried, versions: readonly (string | undefined)[]): Messages<RpcMessage> {
  if (carried.method !== 'POST') return { ok: false, why: `${carried.method} is not a method of JSON-RPC` };
  if (!/^application\/(?:[a-z0-9.-]+\+)?json(?:-rpc|request)?\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/.test(carried.contentType)) return { ok: false, why: 'the JSON-RPC request is not JSON' };
  const read = readStrictJson(carried.body);
  if (!read.ok) return read;
  return readRpcValue(read.value, versions);
}

/** The same for a value that is already read. */
function readRpcValue(value: unknown, versions: readonly (string | undefined)[]): Messages<RpcMessage> {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > longestBatch) return { ok: false, why: `a JSON-RPC batch has 1 to ${longestBatch} messages` };
  const messages: RpcMessage[] = [];
  for (const one of list) {
    const message = readOne(one, versions);
    if (typeof message === 'string') return { ok: false, why: message };
    messages.push(message);
  }
  return { ok: true, messages };
}

function readOne(value: unknown, versions: readonly (string | undefined)[]): RpcMessage | string {
  if (!isObject(value)) return 'a JSON-RPC message is a JSON object';
  // A reader that ignores case would take `Method` for the method.
  if (Object.keys(value).some((key) => !known.includes(key) && known.includes(bareName(key)))) return 'a JSON-RPC message has a member in an odd spelling';
  const version = field(value, 'jsonrpc');
  if (!versions.some((accepted) => accepted === version)) return 'the JSON-RPC message has another version than expected';
  const id = field(value, 'id');
  if (id !== undefined && id !== null && typeof id !== 'string' && !Number.isFinite(id)) return 'the id of a JSON-RPC message is neither text nor a number';
  const has = (name: string): boolean => Object.hasOwn(value, name);
  if (!has('method')) return readAnswer(value, id as RpcId | undefined);
  const method = field(value, 'method');
  const params = field(value, 'params');
  if (typeof method !== 'string' || method === '' || method.length > 256) return 'the method of a JSON-RPC message is not a short text';
  if (has('result') || has('error')) return 'a JSON-RPC message is a request and an answer at once';
  if (params !== undefined && !isObject(params) && !Array.isArray(params)) return 'the params of a JSON-RPC message are neither an object nor a list';
  return { kind: 'call', method, params, id: id as RpcId | undefined };
}

function readAnswer(value: JsonObject, id: RpcId | undefined): RpcAnswer | string {
  const result = field(value, 'result');
  const error = field(value, 'error');
  if (id === undefined || (result === undefined) === (error === undefined)) return 'a JSON-RPC message is neither a request nor an answer';
  return { kind: 'answer', id };
}

/** Errors for every request of `messages`, in the form that the client waits for: an object, a list, or nothing where all were notifications. */
export function rpcErrors(messages: readonly RpcMessage[], batch: boolean, one: (call: RpcCall) => JsonObject): JsonObject | readonly JsonObject[] | undefined {
  const answers = messages.flatMap((message) => (message.kind === 'call' && message.id !== undefined ? [one(message)] : []));
  if (answers.length === 0) return undefined;
  return batch ? answers : answers[0];
}

/** The JSON-RPC error object of a denial; `data` has the fields of the HTTP denial. */
export function rpcDenial(call: RpcCall, data: JsonObject): JsonObject {
  return { jsonrpc: '2.0', id: call.id ?? null, error: { code: -32_001, message: `denied by policy: ${String(data['reason'] ?? '')}`, data } };
}
