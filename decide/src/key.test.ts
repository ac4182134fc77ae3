/** The identity of requests: equal for the same doing by tool and by request, different for everything else; damaged policies do not load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NemoError } from '@nemoclaw/contract';
import { canonicalJson } from './canonical.ts';
import { decodePolicy, encodePolicy, policyDigest } from './codec.ts';
import { requestKey } from './key.ts';
import { resolveHttp } from './policy.ts';
import { actionRequest, fileRequest, httpRequest, policyOf, toolRequest } from './sample.test.ts';

const policy = policyOf({
  egress: '    allow: [{ domain: t.org }, { domain: free.org }]\n',
  catalogue: 'actions:\n  - name: ticket.resolve\n    match: [{ tool: resolve }, { http: { host: t.org, method: POST, path: "/t/{ticketId}/resolve" } }]\n    attributes: { recipient: "$.to" }\n  - { name: ticket.list, match: [{ tool: list }, { http: { host: t.org, method: GET, path: /t } }] }\n  - { name: data.drop, match: [{ tool: drop }, { http: { host: t.org, method: DELETE } }] }\n',
});
const tool = (name: string, args: Readonly<Record<string, unknown>>): string => requestKey(toolRequest(policy, name, args));
const http = (request: string, body: Readonly<Record<string, unknown>> = {}): string => requestKey(httpRequest(policy, request, body));

test('a tool call and the request that carries it out have one key', () => {
  assert.equal(tool('resolve', { ticketId: 't-1', note: 'x' }), http('POST https://t.org/t/t-1/resolve', { note: 'x', ticketId: 't-1' }));
  assert.equal(tool('resolve', { ticketId: 5, note: 'x' }), http('POST https://t.org/t/5/resolve', { note: 'x', ticketId: 5 }));
  assert.equal(tool('list', { status: 'open' }), http('GET https://t.org/t?status=open'));
  assert.match(tool('list', {}), /^[0-9a-f]{64}$/);
});

test('anything that changes what happens changes the key', () => {
  const one = http('POST https://t.org/t/1/resolve', { note: 'x' });
  const others = [
    http('POST https://t.org/t/2/resolve', { note: 'x' }),
    http('POST https://t.org/t/1/resolve', { note: 'y' }),
    http('POST https://t.org/t/1/resolve?force=1', { note: 'x' }),
    http('POST https://t.org/t/1/resolve', { note: 'x', ticketId: '2' }),
    http('POST https://t.org//t/1/resolve', { note: 'x' }),
    http('POST https://t.org/t/1/resolve', { note: 'x', recipient: 'a' }),
    http('POST https://t.org/t/1/resolve', { note: 'x', recipient: 'b' }),
    requestKey({ ...httpRequest(policy, 'POST https://t.org/t/1/resolve', { note: 'x' }), task: 'task-2' }),
    requestKey({ ...httpRequest(policy, 'POST https://t.org/t/1/resolve', { note: 'x' }), sandbox: 'sb-2' }),
  ];
  assert.equal(new Set([one, ...others]).size, others.length + 1);
  assert.notEqual(http('DELETE https://t.org/a'), http('DELETE https://t.org/b'), 'a match without a path binds to the path');
  assert.notEqual(http('GET https://free.org/a'), http('GET https://free.org/b'));
  assert.notEqual(http('GET https://free.org/a'), http('GET https://free.org/a?x=1'));
  assert.notEqual(http('PUT https://free.org/a', { bodyHash: '1' }), http('PUT https://free.org/a', { bodyHash: '2' }));
  assert.notEqual(requestKey(fileRequest('delete', '/workspace/a')), requestKey(fileRequest('delete', '/workspace/b')));
});

test('an approval binds scheme, port, method, host, path and query, whether the catalogue, a rule or nobody names the action', () => {
  const open = policyOf({
    egress: '    allow: [{ domain: t.org, ports: [80, 443, 8443] }, { domain: named.org, ports: [80, 443, 8443], as: crm.update }, { domain: "*.w.org", ports: [80, 443, 8443] }, { domain: free.org, ports: [80, 443, 8443] }]\n',
    catalogue: 'actions:\n  - { name: ticket.resolve, match: [{ tool: resolve }, { http: { host: t.org, path: "/t/{id}" } }] }\n  - { name: wild.do, match: [{ http: { host: "*.w.org", path: "/t/{id}" } }] }\n',
  });
  const key = (request: string, body: Readonly<Record<string, unknown>> = {}): string => requestKey(httpRequest(open, request, body));
  for (const [host, other] of [['t.org', 'named.org'], ['named.org', 'free.org'], ['a.w.org', 'b.w.org'], ['free.org', 't.org']] as const) {
    const keys = [
      key(`POST https://${host}/t/1`, { note: 'x' }),
      key(`POST http://${host}/t/1`, { note: 'x' }),
      key(`POST https://${host}:8443/t/1`, { note: 'x' }),
      key(`POST http://${host}:8443/t/1`, { note: 'x' }),
      key(`POST https://${host}:80/t/1`, { note: 'x' }),
      key(`PUT https://${host}/t/1`, { note: 'x' }),
      key(`DELETE https://${host}/t/1`, { note: 'x' }),
      key(`DELETE https://${host}/t/1?note=x`),
      key(`POST https://${other}/t/1`, { note: 'x' }),
      key(`POST https://${host}/t/2`, { note: 'x' }),
      key(`POST https://${host}/T/1`, { note: 'x' }),
      key(`POST https://${host}//t/1`, { note: 'x' }),
      key(`POST https://${host}/t/1?note=x`),
      key(`POST https://${host}/t/1?note=x`, { note: 'x' }),
      key(`POST https://${host}/t/1`, { note: 'x', $request: `POST http://${host}:80/t/{id}` }),
      key(`POST https://${host}/t/1`, { note: 'x', $query: ['note'] }),
    ];
    assert.equal(new Set(keys).size, keys.length, host);
  }
  assert.equal(key('POST https://t.org/t/1?b=1&a=2'), key('POST https://t.org/t/1?a=2&b=1'), 'the order of parameters says nothing');
});

test('headers that rules speak of, the body and its kind are bound', () => {
  const tenants = policyOf({ egress: '    allow: [{ domain: t.org, headers: { x-tenant: "*" }, as: crm.update }]\n' });
  const asked = (headers: Readonly<Record<string, readonly string[]>>, more: readonly (readonly [string, unknown])[] = []): string => {
    const bare = httpRequest(tenants, 'POST https://t.org/t/1');
    assert.ok(bare.resource.kind === 'http');
    const resource = { ...bare.resource, headers };
    return requestKey({ ...bare, resource, action: 'crm.update', params: new Map([...(resolveHttp(tenants, resource, new Map())?.params ?? []), ...more]) });
  };
  const keys = [asked({ 'x-tenant': ['a'] }), asked({ 'x-tenant': ['b'] }), asked({ 'x-tenant': ['a', 'b'] }), asked({}), asked({ 'x-tenant': ['a'] }, [['bodyHash', '1'], ['bodyType', 'text/plain']]), asked({ 'x-tenant': ['a'] }, [['bodyHash', '1'], ['bodyType', 'application/json']])];
  assert.equal(new Set(keys).size, keys.length);
});

test('a tool that is called over MCP is that of one server, and its approval none for the model’s call', () => {
  const tools = policyOf({ egress: '    allow: [{ domain: a.org, mcp: { tools: [pay] } }, { domain: b.org, mcp: { tools: [pay] } }]\n', catalogue: 'actions: [{ name: money.pay, match: [{ tool: pay }, { http: { host: pay.org, method: POST, path: /pay } }] }]\n' });
  const over = (url: string, args: Readonly<Record<string, unknown>> = { to: 'x' }): string => requestKey({ ...toolRequest(tools, 'pay', args), source: 'mcp', resource: httpRequest(tools, `POST ${url}`).resource });
  const keys = [over('https://a.org/mcp'), over('https://b.org/mcp'), over('http://a.org/mcp'), over('https://a.org:8443/mcp'), over('https://a.org/other'), over('https://a.org/mcp', { to: 'x', $request: 'POST https://pay.org:443/pay' }), requestKey(toolRequest(tools, 'pay', { to: 'x' }))];
  assert.equal(new Set(keys).size, keys.length);
});

test('an approved tool call covers its request only where the policy leaves no doubt about the place', () => {
  const catalogue = 'actions: [{ name: money.pay, match: [{ tool: pay }, { http: { host: pay.org, method: POST, path: /pay } }] }]\n';
  const covered = (ports: string, url: string): boolean => {
    const given = policyOf({ egress: `    allow: [{ domain: pay.org${ports} }]\n`, catalogue });
    return requestKey(toolRequest(given, 'pay', { to: 'x' })) === requestKey(httpRequest(given, `POST ${url}`, { to: 'x' }));
  };
  for (const [ports, url, yes] of [
    ['', 'https://pay.org/pay', true],
    ['', 'http://pay.org/pay', false],
    [', ports: [8931]', 'https://pay.org:8931/pay', true],
    [', ports: [8931]', 'http://pay.org:8931/pay', false],
    [', ports: [80]', 'http://pay.org/pay', true],
    [', ports: [8931, 8932]', 'https://pay.org:8931/pay', false],
    [', ports: [8931, 8932]', 'https://pay.org:8932/pay', false],
    [', ports: [443, 8931]', 'https://pay.org/pay', true],
    [', ports: [443, 8931]', 'https://pay.org:8931/pay', false],
  ] as const) assert.equal(covered(ports, url), yes, `${ports} ${url}`);
});

test('an action with several tools or requests: an approval of one is none of another with the same arguments', () => {
  const many = policyOf({
    egress: '    allow: [{ domain: t.org }, { domain: u.org }]\n',
    catalogue: 'actions:\n  - name: data.delete\n    match: [{ tool: drop_* }, { http: { host: t.org, method: DELETE, path: "/users/{id}" } }, { http: { host: t.org, method: DELETE, path: "/projects/{id}" } }, { http: { host: u.org, method: DELETE, path: "/users/{id}" } }]\n  - { name: note.add, match: [{ tool: note }, { tool: memo }] }\n',
  });
  const keys = [
    ...['drop_user', 'drop_project', 'note', 'memo'].map((name) => requestKey(toolRequest(many, name, { id: '5' }))),
    requestKey(toolRequest(many, 'drop_user', { id: '5', $tool: 'drop_project' })),
    ...['https://t.org/users/5', 'https://t.org/projects/5', 'https://u.org/users/5'].map((url) => requestKey(httpRequest(many, `DELETE ${url}`))),
  ];
  assert.equal(new Set(keys).size, keys.length);
});

test('the order of fields and the source are no part of the key', () => {
  assert.equal(requestKey(actionRequest('a.b', { x: 1, y: { b: 1, a: [2] } })), requestKey({ ...actionRequest('a.b', { y: { a: [2], b: 1 }, x: 1 }), source: 'model' }));
});

test('canonical JSON: one text for one value', () => {
  assert.equal(canonicalJson(new Map<string, unknown>([['b', [1, 'x', null]], ['a', { z: undefined, y: -0 }]])), '{"a":{"y":0},"b":[1,"x",null]}');
  assert.equal(canonicalJson([Number.NaN, 10n]), '[{"$number":"NaN"},{"$bigint":"10"}]');
  let deep: unknown = 1;
  for (let i = 0; i < 2000; i += 1) deep = [deep];
  assert.throws(() => canonicalJson(deep), RangeError);
});

test('encoded policies: equal for equal, and every changed byte is refused', () => {
  const bytes = encodePolicy(policy);
  assert.equal(policyDigest(decodePolicy(bytes)), policyDigest(policy));
  for (const damage of [0, 20, 60, bytes.length - 1, Math.floor(bytes.length / 2)]) {
    const bad = Uint8Array.from(bytes);
    bad[damage] = (bad[damage] ?? 0) ^ 1;
    assert.throws(() => decodePolicy(bad), (error: unknown) => error instanceof NemoError && error.code === 'NEMO_E_POLICY_DAMAGED');
  }
  for (const bad of [new Uint8Array(), bytes.slice(0, -1), new TextEncoder().encode('{}')]) assert.throws(() => decodePolicy(bad), NemoError);
});
