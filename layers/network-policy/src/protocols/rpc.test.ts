/** JSON-RPC and MCP requests: what is read, what is refused, how a denial is answered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Carried } from './graphql-request.ts';
import { readJsonRpc, rpcDenial, rpcErrors } from './json-rpc.ts';
import { mcpDenial, readMcpRequest } from './mcp.ts';

const post = (body: string, contentType = 'application/json'): Carried => ({ method: 'POST', contentType, query: [], body: Buffer.from(body) });
const json = (value: unknown): Carried => post(JSON.stringify(value));
const call = (method: string, params?: unknown, id: unknown = 1): Record<string, unknown> => ({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) });

test('JSON-RPC: requests, notifications, batches', () => {
  const read = readJsonRpc(json([call('a', { x: 1 }), { jsonrpc: '2.0', method: 'b' }, call('c', [1], 'id')]), ['2.0']);
  assert.ok(read.ok);
  assert.deepEqual(read.messages.map((m) => (m.kind === 'call' ? [m.method, m.id] : m.kind)), [['a', 1], ['b', undefined], ['c', 'id']]);
  assert.equal(readJsonRpc(post('{"method":"a","id":1}'), ['2.0']).ok, false);
  assert.equal(readJsonRpc(post('{"method":"a","id":1}'), ['2.0', undefined]).ok, true);
  assert.equal(readJsonRpc(post(JSON.stringify(call('a')), 'application/json-rpc; charset=utf-8'), ['2.0']).ok, true);
});

test('JSON-RPC: what is not plainly a message is refused', () => {
  for (const body of [
    '', '1', 'null', '[]', '[[]]', '{}', '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","method":1}', '{"jsonrpc":"2.0","method":""}', '{"jsonrpc":"2.0","method":"a","method":"b"}', '{"jsonrpc":"2.0","method":"a","Method":"b"}',
    '{"jsonrpc":"2.0","Method":"b","id":1,"result":1}', '{"jsonrpc":"2.0","method":"a"," method":"b"}', '{"jsonrpc":"2.0","method":"a","method\\u0000":"b"}', '{"jsonrpc":"2.0","method":"a","\uff4dethod":"b"}', '{"jsonrpc":"2.0","method":"a","params":1}', '{"jsonrpc":"2.0","method":"a","id":{}}', '{"jsonrpc":"2.0","method":"a","result":1,"id":1}', '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
    '{"jsonrpc":"2.0","result":1}', '{"jsonrpc":"2.0","method":"a"}x', '{"jsonrpc":"2.0","method":"a","id":12345678901234567890}', '\ufeff{"jsonrpc":"2.0","method":"a"}',
  ]) assert.equal(readJsonRpc(post(body), ['2.0']).ok, false, body);
  assert.equal(readJsonRpc({ ...json(call('a')), method: 'PUT' }, ['2.0']).ok, false);
  for (const type of ['', 'text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-16']) assert.equal(readJsonRpc(post(JSON.stringify(call('a')), type), ['2.0']).ok, false, type);
});

test('MCP: method, tool and arguments; a stream is the transport alone, an answer counts as response', () => {
  const read = readMcpRequest(json(call('tools/call', { name: 'search', arguments: { q: 'x', n: 2 }, _meta: {} })), ['Mcp-Method', 'tools/call', 'MCP-Name', 'search']);
  assert.ok(read.ok);
  assert.deepEqual(read.messages[0]?.asked, { method: 'tools/call', tool: 'search', arguments: { q: 'x', n: 2 } });
  const other = (carried: Carried): readonly string[] => {
    const result = readMcpRequest(carried, []);
    return result.ok ? result.messages.map((m) => m.asked.method) : [result.why];
  };
  assert.deepEqual(other({ method: 'GET', contentType: '', query: [], body: Buffer.alloc(0) }), ['']);
  assert.deepEqual(other({ method: 'DELETE', contentType: '', query: [], body: Buffer.alloc(0) }), ['']);
  assert.deepEqual(other(json({ jsonrpc: '2.0', id: 1, result: {} })), ['response']);
  assert.deepEqual(other(json({ jsonrpc: '2.0', id: 1, result: { role: 'assistant' } })), ['response']);
  assert.deepEqual(other(json({ jsonrpc: '2.0', id: 1, error: { code: 1, message: 'secret' } })), ['response']);
  assert.deepEqual(other(json([call('tools/list'), { jsonrpc: '2.0', method: 'notifications/initialized' }])), ['tools/list', 'notifications/initialized']);
});

test('MCP: odd calls and headers that say something else are refused', () => {
  for (const params of [undefined, [], ['search'], {}, { name: 1 }, { name: '' }, { name: 'a', arguments: [] }, { name: 'a', arguments: 'x' }, { name: 'a', Arguments: {} }]) assert.equal(readMcpRequest(json(call('tools/call', params)), []).ok, false, JSON.stringify(params));
  assert.equal(readMcpRequest({ method: 'GET', contentType: '', query: [], body: Buffer.from('{}') }, []).ok, false);
  assert.equal(readMcpRequest(json(call('tools/call', { name: 'a' })), ['mcp-method', 'tools/list']).ok, false);
  assert.equal(readMcpRequest(json(call('tools/call', { name: 'a' })), ['Mcp_Name', 'b']).ok, false);
  assert.equal(readMcpRequest(json([call('tools/list'), call('tools/call', { name: 'a' })]), ['mcp-method', 'tools/list']).ok, false);
});

test('denials: a failed call for tools/call, an error for others, nothing for notifications', () => {
  const data = { error: 'denied_by_policy', rule: 'egress.allow[0]', reason: 'No.', hint: 'Ask.' };
  const tools = mcpDenial({ kind: 'call', method: 'tools/call', params: {}, id: 7 }, data);
  assert.deepEqual(tools['id'], 7);
  assert.deepEqual(tools['result'], { content: [{ type: 'text', text: 'Denied by policy (rule egress.allow[0]): No. Ask.' }], isError: true, _meta: { 'nemoclaw/denial': data } });
  assert.deepEqual(rpcDenial({ kind: 'call', method: 'a', params: undefined, id: 'x' }, data), { jsonrpc: '2.0', id: 'x', error: { code: -32_001, message: 'denied by policy: No.', data } });
  const batch = readJsonRpc(json([call('a'), { jsonrpc: '2.0', method: 'b' }]), ['2.0']);
  assert.ok(batch.ok);
  assert.equal([rpcErrors(batch.messages, true, (c) => rpcDenial(c, data))].flat(2).length, 1);
  assert.equal(rpcErrors(batch.messages.slice(1), true, (c) => rpcDenial(c, data)), undefined);
});

test('property: mutated bytes give messages or a refusal, never anything else', () => {
  const seed = Buffer.from(JSON.stringify([call('tools/call', { name: 'a', arguments: { b: [1, { c: 'd' }] } }), { jsonrpc: '2.0', id: 1, result: {} }]));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(255), fc.nat(2)), { maxLength: 5 }), (changes) => {
      const bytes = [...seed];
      for (const [at, value, how] of changes) bytes.splice(at % (bytes.length + 1), how === 0 ? 1 : 0, ...(how === 1 ? [] : [value]));
      const read = readMcpRequest({ method: 'POST', contentType: 'application/json', query: [], body: Buffer.from(bytes) }, []);
      assert.ok(read.ok ? read.messages.length > 0 : read.why.length > 0);
    }),
    { seed: 43, numRuns: 2000 },
  );
});
