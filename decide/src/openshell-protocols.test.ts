/** What OpenShell's files say of GraphQL, MCP, JSON-RPC and WebSocket, and NemoClaw's presets, decide here as there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { foreignNotes, loadNetworkPolicy, type AppMessage } from '@nemoclaw/contract';
import { decide } from './decide.ts';
import type { CompiledPolicy } from './policy.ts';
import { ask, connectRequest, example, httpRequest, policyOf } from './sample.test.ts';

function said(policy: CompiledPolicy, text: string, message?: AppMessage): string {
  const request = httpRequest(policy, text);
  assert.ok(request.resource.kind === 'http');
  return ask(policy, message === undefined ? request : { ...request, resource: { ...request.resource, message } }).split(' ')[0] ?? '';
}

test('GraphQL, MCP, JSON-RPC and WebSocket of an OpenShell file', () => {
  const policy = policyOf({ network: example('openshell/tools.yaml') });
  const graphql = (operation: 'query' | 'mutation', name: string, ...fields: string[]): string => said(policy, 'POST https://api.example.com/graphql', { protocol: 'graphql', operation, name, fields });
  assert.deepEqual([graphql('query', '', 'viewer', 'repository'), graphql('mutation', 'IssueNew', 'createIssue')], ['allow', 'allow']);
  assert.deepEqual([graphql('query', '', 'secrets'), graphql('mutation', 'Other', 'createIssue'), graphql('mutation', 'IssueX', 'createIssue', 'deleteRepository')], ['deny', 'deny', 'deny']);
  assert.equal(said(policy, 'POST https://api.example.com/other', { protocol: 'graphql', operation: 'query', name: '', fields: ['viewer'] }), 'deny', 'the path of the endpoint');
  const mcp = (method: string, tool = ''): string => said(policy, 'POST https://mcp.example.com/mcp', { protocol: 'mcp', method, tool, arguments: {} });
  for (const [method, tool] of [['initialize', ''], ['notifications/initialized', ''], ['tools/call', 'search_web'], ['tools/call', 'crm_read']] as const) assert.equal(mcp(method, tool), 'allow', `${method} ${tool}`);
  for (const [method, tool] of [['tools/list', ''], ['tools/call', 'crm_delete'], ['tools/call', 'crm_x y'], ['tools/call', 'shell'], ['resources/read', '']] as const) assert.equal(mcp(method, tool), 'deny', `${method} ${tool}`);
  const rpc = (method: string): string => said(policy, 'POST http://rpc.example.com:8545/', { protocol: 'json-rpc', method });
  assert.deepEqual([rpc('eth_call'), rpc('admin_stop'), rpc('response')], ['allow', 'deny', 'deny']);
  assert.equal(said(policy, 'GET https://feed.example.com/x', { protocol: 'websocket' }), 'allow');
  assert.equal(said(policy, 'GET https://feed.example.com/admin/x', { protocol: 'websocket' }), 'deny');
  assert.equal(said(policy, 'GET https://feed.example.com/x'), 'deny', 'only WebSocket');
  const file = loadNetworkPolicy(example('openshell/tools.yaml'), 't.yaml');
  assert.deepEqual(file.networkPolicy.egress.allow.map((rule) => rule.maxBody), [65_536, 65_536, 131_072, 131_072, 131_072, 65_536, undefined, undefined]);
  assert.match(foreignNotes(file).map((note) => note.text).join('\n'), /signed anew where the sandbox has a credential[^]*may not be spoken through|may not be spoken through[^]*signed anew/);
});

test('presets: packages to read, hosts by one label, connections by name', () => {
  const policy = policyOf({ network: example('presets/packages.yaml') });
  assert.equal(said(policy, 'GET https://pypi.org/simple/requests/'), 'allow');
  assert.equal(said(policy, 'POST https://pypi.org/simple/'), 'deny');
  assert.equal(said(policy, 'PUT https://registry.npmjs.org/x'), 'allow', 'no protocol, no rules');
  assert.equal(said(policy, 'GET https://cdn.hf.example.com/m'), 'allow');
  assert.equal(said(policy, 'GET https://a.cdn.hf.example.com/m'), 'deny', 'their * is one label');
  assert.equal(said(policy, 'GET https://hf.example.com/m'), 'deny');
  assert.ok(policy.network.interceptNames.includes('*.hf.example.com'));
  assert.equal(loadNetworkPolicy(example('presets/packages.yaml'), 't.yaml').networkPolicy.name, 'packages');
});

test('presets: requests, a socket, a rule that is only watched, a model on a private address', () => {
  const policy = policyOf({ network: example('presets/chat.yaml') });
  assert.equal(said(policy, 'POST https://chat.example.com/api/x'), 'allow');
  assert.equal(said(policy, 'POST https://chat.example.com/x'), 'deny');
  assert.equal(said(policy, 'GET https://chat.example.com/x', { protocol: 'websocket' }), 'deny');
  assert.equal(said(policy, 'GET https://socket.example.com/x', { protocol: 'websocket' }), 'allow');
  assert.equal(said(policy, 'GET https://socket.example.com/x'), 'deny');
  const watched = decide(policy, httpRequest(policy, 'DELETE https://bot.example.com/x'));
  assert.deepEqual([watched.verdict, watched.monitored?.verdict], ['allow', 'deny'], 'enforcement: audit');
  assert.equal(ask(policy, connectRequest('host.example.internal', 11434)).split(' ')[0], 'allow');
  assert.deepEqual(policy.network.upstreamsFor('host.example.internal').within, ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16']);
});
