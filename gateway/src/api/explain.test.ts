/** What the policy says of a request as the proxy reads it, and what was decided of an event on record. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainSchema, NemoError } from '@nemoclaw/contract';
import { makeWorld, type World } from '../fake-world.ts';
import { createSandbox } from '../sandboxes/create.ts';
import type { LiveSandbox } from '../sandboxes/live.ts';
import { explainEvent } from './explain-event.ts';
import { explain } from './explain.ts';

async function withSandbox(body: (world: World, live: LiveSandbox) => Promise<void>): Promise<void> {
  const world = await makeWorld();
  try {
    await body(world, await createSandbox(world.gateway.house, { name: 'helper', blueprint: 'support' }, 1000));
  } finally {
    await world.close();
  }
}

test('a URL is read as the proxy reads it: ambiguous ones are refused, hosts and addresses are in one spelling', () => withSandbox(async (_world, live) => {
  const ask = (url: string, more: object = {}) => {
    const { request } = explainSchema.parse({ sandbox: 'helper', request: { kind: 'http', url, ...more } });
    assert.ok(request.kind === 'http');
    return explain(live, request);
  };
  assert.equal(ask('https://CRM.acme.example:443/customers/1').verdict, 'allow');
  for (const url of ['https://crm.acme.example/customers/%2e%2e/admin', 'https://crm.acme.example/customers/../admin', 'https://crm.acme.example/%2561', 'https://crm.acme.example/a%00']) assert.deepEqual([ask(url).verdict, ask(url).rules[0]?.id], ['deny', 'proxy.target'], url);
  assert.deepEqual(ask('https://crm.acme.example/customers/1', { headers: { 'x-http-method-override': 'DELETE' } }).rules, [{ id: 'proxy.method-override' }]);
  assert.match(ask('https://0x7f.1/').reason, /127\.0\.0\.1 is not among the allowed hosts/);
}));

test('of an event it is what the agent was told, by number and by event id', () => withSandbox(async ({ record, gateway }, live) => {
  const decision = { action: '', rules: [{ id: 'egress.deny[0]', file: 'network.yaml', line: 12 }], reason: 'example.org is not among the allowed hosts.', policyVersion: 3, decidedBy: 'table', micros: 5 } as const;
  const base = { time: 1000, class: 'httpActivity', activity: 3, severity: 3, sandbox: live.record.value.id, layer: 'proxy' } as const;
  record.emit({ ...base, message: 'GET https://example.org/: denied', verdict: 'deny', decision, correlation: 'net_1.7', data: { hint: 'Use another host.' } });
  record.emit({ ...base, message: 'GET https://crm.acme.example/: allowed', verdict: 'allow', correlation: 'net_1.8' });
  const { event, ...byId } = await explainEvent(gateway.house, live, 'net_1.7');
  assert.deepEqual(byId, { verdict: 'deny', action: '', rules: decision.rules, reason: decision.reason, hint: 'Use another host.', policyVersion: 3 });
  assert.deepEqual([event?.message, event?.layer], ['GET https://example.org/: denied', 'proxy']);
  assert.deepEqual(await explainEvent(gateway.house, live, String(event?.sequence)), { event, ...byId });
  for (const id of ['net_1.70', '999999', 'net_1.8']) await assert.rejects(explainEvent(gateway.house, live, id), (error: unknown) => error instanceof NemoError && error.code === 'NEMO_E_NOT_FOUND', id);
}));
