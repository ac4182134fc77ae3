/** The published example policies, unedited, decide as their documents say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import { actionRequest, ask, connectRequest, example, httpRequest, policyOf } from './sample.test.ts';

const policy = policyOf({ sandbox: example('openshell-policy.yaml'), network: example('network-policy.yaml'), approvals: example('approval-policy.ts.txt') });

test('the network policy: domains, methods and ports', () => {
  assert.equal(ask(policy, httpRequest(policy, 'POST https://acme.my.salesforce.com/services/data')), 'allow egress.allow[0]');
  assert.equal(ask(policy, httpRequest(policy, 'DELETE https://acme.my.salesforce.com/services/data')), 'deny egress.allow[0]');
  assert.equal(ask(policy, httpRequest(policy, 'GET https://api.hubspot.com/crm')), 'allow egress.allow[1]');
  assert.equal(ask(policy, httpRequest(policy, 'POST https://api.hubspot.com/crm')), 'deny egress.allow[1]');
  assert.match(decide(policy, httpRequest(policy, 'POST https://api.hubspot.com/crm')).reason, /allowed for GET, not for POST/);
  assert.equal(ask(policy, connectRequest('smtp.company.com', 587)), 'allow egress.allow[2]');
  assert.equal(ask(policy, connectRequest('smtp.company.com', 25)), 'deny egress.allow[2]');
  assert.match(decide(policy, connectRequest('smtp.company.com', 25)).reason, /port 587, not 25/);
  for (const host of ['example.org', 'salesforce.com', 'notsalesforce.com', 'hubspot.com', 'x.api.hubspot.com']) assert.equal(ask(policy, httpRequest(policy, `GET https://${host}/`)), 'deny egress.deny[0]', host);
  const denied = decide(policy, httpRequest(policy, 'GET https://example.org/'));
  assert.deepEqual(denied.rules, [{ id: 'egress.deny[0]', file: 'network.yaml', line: 12 }]);
  assert.equal(denied.policyVersion, 7);
});

test('the network policy: names, interception, handling', () => {
  const { network } = policy;
  assert.ok(network.isNameAllowed('a.salesforce.com') && network.isNameAllowed('smtp.company.com') && !network.isNameAllowed('salesforce.com') && !network.isNameAllowed('example.org'));
  assert.deepEqual(network.portsFor('api.hubspot.com'), [80, 443]);
  assert.deepEqual(network.portsFor('example.org'), []);
  assert.equal(network.handlingFor('smtp.company.com', 587), 'raw');
  assert.equal(network.handlingFor('api.hubspot.com', 443), 'inspect');
  assert.deepEqual(network.interceptNames, ['*.salesforce.com', 'api.hubspot.com', 'smtp.company.com']);
  assert.deepEqual(network.inspection, { tlsDecrypt: true, logPayloads: false, scanForPII: true });
});

test('the permissions: listed, denied by group, and everything else', () => {
  assert.equal(ask(policy, actionRequest('crm.read')), 'allow permissions.allowedAPIs[0]');
  assert.equal(ask(policy, actionRequest('admin.x')), 'deny permissions.deniedAPIs[0]');
  assert.equal(ask(policy, actionRequest('admin.user.drop')), 'deny permissions.deniedAPIs[0]');
  assert.equal(ask(policy, actionRequest('user.delete')), 'deny permissions.deniedAPIs[2]');
  for (const name of ['admin', 'crm', 'crm.read.all', 'user.read', 'crmxread', '']) assert.equal(ask(policy, actionRequest(name)), 'deny permissions.default', name);
  assert.deepEqual(decide(policy, actionRequest('admin.x')).rules, [{ id: 'permissions.deniedAPIs[0]', file: 'sandbox.yaml', line: 22 }]);
});

test('the approval policy never widens the permissions', () => {
  for (const name of ['data.delete', 'infra.modify', 'email.send', 'payment.process']) assert.equal(ask(policy, actionRequest(name)), 'deny permissions.default', name);
});

test('the approval policy, where the actions are allowed', () => {
  const open = policyOf({ spec: '  permissions: { allowedAPIs: [data.delete, infra.*, email.send, payment.process] }\n', approvals: example('approval-policy.ts.txt') });
  assert.equal(ask(open, actionRequest('data.delete')), 'escalate approvals.triggers[0]');
  assert.equal(ask(open, actionRequest('infra.modify')), 'escalate approvals.triggers[1]');
  assert.equal(ask(open, actionRequest('infra.read')), 'allow permissions.allowedAPIs[1]');
  assert.equal(ask(open, actionRequest('payment.process', { amountUsd: 100 })), 'allow permissions.allowedAPIs[3]');
  assert.equal(ask(open, actionRequest('payment.process', { amountUsd: 100.01 })), 'escalate approvals.triggers[3]');
  assert.equal(ask(open, actionRequest('payment.process')), 'escalate approvals.triggers[3]');
  assert.equal(ask(open, actionRequest('email.send', { recipient: 'a@acme.example' })), 'escalate approvals.triggers[2]', 'no domain is ours unless the catalogue says so');
});
