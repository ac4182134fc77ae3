/** The identity of requests: equal for the same doing by tool and by request, different for everything else; damaged policies do not load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NemoError } from '@nemoclaw/contract';
import { canonicalJson } from './canonical.ts';
import { decodePolicy, encodePolicy, policyDigest } from './codec.ts';
import { requestKey } from './key.ts';
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
