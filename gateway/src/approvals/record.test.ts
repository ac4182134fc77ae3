/** A question that a worker asks is the one that a person sees and that an approval binds: nothing of it is lost on the way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyHistory, unlabelled, type ActionRequest, type Resource } from '@nemoclaw/contract';
import { requestKey } from '@nemoclaw/decide';
import { asRequest, holdWireSchema, type RequestWire } from './record.ts';

const http = { kind: 'http', host: 'a.example', port: 443, method: 'POST', path: '/x', query: [['q', '1']], tls: true } as const;
const host = { kind: 'host', host: 'a.example', port: 25 } as const;
const resources: readonly Resource[] = [
  { kind: 'tool', name: 'send' },
  host,
  http,
  { kind: 'none' },
  { ...http, headers: { 'x-tenant': ['acme', 'other'] } },
  { ...http, program: '/usr/bin/curl' },
  { ...host, program: '' },
  ...(['websocket', 'grpc', 'none'] as const).map((protocol) => ({ ...http, message: { protocol } })),
  { ...http, message: { protocol: 'graphql', operation: 'mutation', name: '', fields: ['drop'] } },
  { ...http, message: { protocol: 'mcp', method: 'tools/call', tool: 'send', arguments: { to: 'b', deep: { list: [1, null, true] } } } },
  { ...http, message: { protocol: 'json-rpc', method: 'go' } },
  { ...host, message: { protocol: 'smtp', recipients: ['a@example.org'], tls: true } },
  { ...host, message: { protocol: 'postgres', user: 'u', database: 'd' } },
  { ...host, message: { protocol: 'redis', command: 'CONFIG SET' } },
];

/** As a worker sends it and the gateway takes it. */
function sent(resource: Resource): { readonly before: string; readonly after: string } {
  const request: ActionRequest = { sandbox: 'sb', role: 'support', task: '', source: 'http', action: '', resource, params: new Map([['held', 'x']]), labels: unlabelled, provenance: new Map(), history: emptyHistory };
  const { provenance: _provenance, history: _history, params, ...rest } = request;
  const key = requestKey(request);
  const decision = { verdict: 'escalate', action: '', rules: [], reason: '', hint: '', intent: unlabelled, policyVersion: 1, decidedBy: 'table', micros: 0 };
  const hold = { holdId: 'hold_1', sandbox: 'sb', kind: 'http', request: { ...rest, params: [...params] }, decision, key, summary: '', detail: '', patienceMs: 1 };
  const taken = holdWireSchema.parse(JSON.parse(JSON.stringify(holdWireSchema.parse(hold))));
  return { before: key, after: requestKey(asRequest(taken.request as RequestWire)) };
}

for (const resource of resources) {
  test(`the key is still that of the request: ${JSON.stringify(resource)}`, () => {
    const { before, after } = sent(resource);
    assert.equal(after, before);
  });
}

test('what the protocol does not know is refused, and not left out', () => {
  assert.throws(() => sent({ ...http, another: 1 } as Resource));
  assert.throws(() => sent({ ...host, message: { protocol: 'redis', command: 'GET', another: 1 } } as Resource));
});
