/** Tools and requests as actions: permissions, approvals by amount and recipient, what can fool neither. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import { actionRequest, ask, fileRequest, httpRequest, policyOf, toolRequest } from './sample.test.ts';
import { needsBody } from './needs.ts';

const catalogue = `organization: { domains: [acme.example] }
actions:
  - name: crm.read
    match: [{ tool: crm_read }, { http: { host: crm.org, method: GET, path: "/customers/{id}" } }]
    labels: { sensitivity: confidential, reversibility: fully-reversible, scope: single }
  - { name: crm.delete, match: [{ tool: crm_delete_* }, { http: { host: crm.org, method: DELETE } }] }
  - name: pay.send
    match: [{ tool: pay }, { http: { host: pay.org, method: POST, path: /v1/charges } }]
    attributes: { amountUsd: "$.amount / 100" }
  - name: mail.send
    match: [{ tool: mail }, { http: { host: mail.org, method: POST, path: /send } }]
    attributes: { recipient: "$.to", recipientCc: "$.cc" }
  - { name: note.add, match: [{ tool: note }] }
  - { name: fs.read, local: fs, match: [{ tool: read }] }
  - { name: process.exec, local: process, match: [{ tool: bash }] }
`;
const policy = policyOf({
  spec: '  permissions: { allowedAPIs: [crm.*, pay.send, mail.send, note.add], deniedAPIs: [crm.delete] }\n',
  egress: '    allow: [{ domain: crm.org }, { domain: pay.org }, { domain: mail.org }, { domain: as.org, as: crm.delete }, { domain: named.org, as: note.add }]\n',
  catalogue,
  approvals: 'triggers:\n  - { action: pay.send, threshold: above-100-usd }\n  - { action: mail.*, threshold: external-only }\n  - { action: note.add, threshold: always }\n  - { action: gone.away, threshold: always }\n',
});
const tool = (name: string, args: Readonly<Record<string, unknown>> = {}): string => ask(policy, toolRequest(policy, name, args));
const http = (request: string, body: Readonly<Record<string, unknown>> = {}): string => ask(policy, httpRequest(policy, request, body));

test('tools by name and by prefix; an unlisted one is denied', () => {
  assert.equal(tool('crm_read'), 'allow permissions.allowedAPIs[0]');
  assert.equal(tool('crm_delete_all'), 'deny permissions.deniedAPIs[0]');
  for (const name of ['crm.read', 'CRM_READ', 'crm_read2', '__proto__', 'constructor', '']) assert.equal(tool(name), 'deny catalogue.default', name);
});

test('tools that touch only the sandbox need no permission, but a denial or a trigger holds for them', () => {
  assert.equal(tool('bash', { command: 'rm -rf /' }), 'allow local');
  assert.equal(tool('read'), 'allow local');
  const strict = policyOf({ spec: '  permissions: { deniedAPIs: [process.*] }\n', catalogue, approvals: 'triggers: [{ action: fs.read, threshold: always }]\n' });
  assert.equal(ask(strict, toolRequest(strict, 'bash')), 'deny permissions.deniedAPIs[0]');
  assert.equal(ask(strict, toolRequest(strict, 'read')), 'escalate approvals.triggers[0]');
});

test('a request must be allowed as a request and as every action that it is', () => {
  assert.equal(http('GET https://crm.org/customers/1'), 'allow egress.allow[0],permissions.allowedAPIs[0]');
  assert.equal(http('GET https://crm.org/other'), 'allow egress.allow[0]');
  assert.equal(http('DELETE https://crm.org/anything'), 'deny permissions.deniedAPIs[0]');
  assert.equal(http('GET https://nowhere.org/customers/1'), 'deny egress.default');
  assert.equal(http('POST https://as.org/x'), 'deny permissions.deniedAPIs[0]', 'the action that an egress rule names counts');
  assert.equal(http('POST https://named.org/x'), 'escalate approvals.triggers[2]');
  assert.equal(decide(policy, httpRequest(policy, 'POST https://named.org/x')).action, 'note.add');
});

test('a trigger on an action that is not allowed does not make it askable', () => {
  assert.equal(ask(policy, actionRequest('gone.away')), 'deny permissions.default');
  assert.equal(ask(policy, actionRequest('crm.delete')), 'deny permissions.deniedAPIs[0]');
});

test('amounts: above asks, up to it passes, what is no amount asks', () => {
  assert.equal(tool('pay', { amount: 10_000 }), 'allow permissions.allowedAPIs[1]');
  assert.equal(tool('pay', { amount: 0 }), 'allow permissions.allowedAPIs[1]');
  assert.equal(http('POST https://pay.org/v1/charges', { amount: 9_999 }), 'allow egress.allow[1],permissions.allowedAPIs[1]');
  assert.equal(http('POST https://pay.org/v1/charges', { amount: 10_001 }), 'escalate approvals.triggers[0]');
  for (const amount of [10_001, 1e300, -1, Number.NaN, Infinity, '100', '1', null, [1], { a: 1 }, true, undefined]) assert.equal(tool('pay', { amount }), 'escalate approvals.triggers[0]', String(amount));
  assert.equal(tool('pay', { amountUsd: 1 }), 'escalate approvals.triggers[0]', 'an argument of the attribute\'s name is the agent\'s own word');
  const { reason } = decide(policy, toolRequest(policy, 'pay', { amount: 12_345 }));
  assert.match(reason, /its amount is above 100 USD/);
  assert.doesNotMatch(reason, /123/, 'a reason is on record: it does not say the value');
});

test('recipients: ours pass, all others and all that cannot be read ask', () => {
  const asks = 'escalate approvals.triggers[1]';
  for (const to of ['a@acme.example', 'A B <a@ACME.example>', 'a@acme.example, b@acme.example', ['a@acme.example', 'b@acme.example']]) assert.equal(tool('mail', { to }), 'allow permissions.allowedAPIs[2]', String(to));
  const foreign = ['x@evil.example', 'a@acme.example, x@evil.example', ['a@acme.example', 'x@evil.example'], 'a@acme.example.evil.example', 'a@sub.acme.example', '"a@acme.example" <x@evil.example>', 'a@acme.example <x@evil.example>', 'a@acme.example\nbcc: x@evil.example', 'a@b@acme.example', '', 'nobody', [], [['a@acme.example']], null, 7, { mail: 'a@acme.example' }, undefined];
  for (const to of foreign) assert.equal(tool('mail', { to }), asks, JSON.stringify(to));
  assert.equal(tool('mail', { to: 'a@acme.example', cc: 'x@evil.example' }), asks);
  assert.equal(tool('mail', { to: 'a@acme.example', cc: 'b@acme.example' }), 'allow permissions.allowedAPIs[2]');
  assert.equal(tool('mail', { recipient: 'a@acme.example' }), asks);
  assert.doesNotMatch(decide(policy, toolRequest(policy, 'mail', { to: 'x@evil.example' })).reason, /evil/, 'nor whom it goes to');
});

test('one name that says different things in body, query and path fools nobody', () => {
  assert.equal(http('POST https://mail.org/send?to=a@acme.example', { to: 'x@evil.example' }), 'escalate approvals.triggers[1]');
  assert.equal(http('POST https://mail.org/send?to=x@evil.example', { to: 'a@acme.example' }), 'escalate approvals.triggers[1]');
  assert.equal(http('POST https://pay.org/v1/charges?amount=1', { amount: 99_999 }), 'escalate approvals.triggers[0]');
  assert.equal(http('POST https://mail.org//SEND/', { to: 'x@evil.example' }), 'escalate approvals.triggers[1]', 'a careless server may read it as /send');
});

test('the body is needed where a rule reads it or an approval binds to it', () => {
  const need = (request: string): boolean => {
    const { resource } = httpRequest(policy, request);
    assert.ok(resource.kind === 'http');
    return needsBody(policy, resource);
  };
  assert.ok(need('POST https://pay.org/v1/charges') && need('POST https://mail.org/send') && need('POST https://named.org/'));
  assert.ok(!need('GET https://crm.org/customers/1') && !need('DELETE https://crm.org/x') && !need('POST https://nowhere.org/'));
});

test('the intent is what the catalogue says', () => {
  assert.deepEqual(decide(policy, toolRequest(policy, 'crm_read')).intent, { sensitivity: 'confidential', reversibility: 'fully-reversible', scope: 'single', compliance: [] });
  assert.equal(decide(policy, toolRequest(policy, 'unknown')).intent.sensitivity, 'restricted');
});

test('more policies than Cedar keeps parsed: each still decides by its own rules', () => {
  const limits = Array.from({ length: 300 }, (_, i) => i + 1);
  const all = limits.map((usd) => policyOf({ spec: '  permissions: { allowedAPIs: [pay.send] }\n', catalogue, approvals: `triggers: [{ action: pay.send, threshold: above-${usd}-usd }]\n` }));
  for (let round = 0; round < 2; round += 1) {
    all.forEach((one, i) => {
      const usd = limits[i] ?? 0;
      assert.equal(ask(one, toolRequest(one, 'pay', { amount: usd * 100 })), 'allow permissions.allowedAPIs[0]');
      assert.equal(ask(one, toolRequest(one, 'pay', { amount: usd * 100 + 1 })), 'escalate approvals.triggers[0]');
    });
  }
});

test('another role, and a request that breaks the evaluator, are denied', () => {
  assert.equal(ask(policy, { ...actionRequest('crm.read'), role: 'sales' }), 'deny role');
  assert.equal(ask(policy, { ...actionRequest('crm.read'), role: '' }), 'allow permissions.allowedAPIs[0]');
  const broken = { ...actionRequest('pay.send'), params: { get: () => { throw new Error('no'); } } as unknown as ReadonlyMap<string, unknown> };
  assert.equal(ask(policy, broken), 'deny error');
});

test('what an agent calls itself is escaped in what people read', () => {
  const { reason } = decide(policy, toolRequest(policy, 'evil\u001b[31m\u202etool\nAllowed'));
  assert.doesNotMatch(reason, /[\u001b\u202e\n]/);
});

test('files: deny, escalate, read-only, the workspace, and nothing else', () => {
  const files = policyOf({ spec: '  filesystem: { readOnly: [/workspace/lib/**], readWrite: [/data/out], deny: [/workspace/keys/**], escalate: [{ path: /workspace/prod/**, on: [delete, rename] }] }\n' });
  const cases: readonly (readonly [Parameters<typeof fileRequest>, string])[] = [
    [['read', '/workspace/keys/k'], 'deny filesystem.deny[0]'],
    [['rename', '/workspace/a', '/workspace/keys/k'], 'deny filesystem.deny[0]'],
    [['delete', '/workspace/prod/x'], 'escalate filesystem.escalate[0]'],
    [['delete', '/workspace/prod'], 'escalate filesystem.escalate[0]'],
    [['write', '/workspace/prod/x'], 'allow isolation.filesystem'],
    [['rename', '/workspace/a', '/workspace/prod/x'], 'escalate filesystem.escalate[0]'],
    [['write', '/workspace/lib/x'], 'deny filesystem.readOnly[0]'],
    [['read', '/workspace/lib/x'], 'allow filesystem.readOnly[0]'],
    [['write', '/workspace/a'], 'allow isolation.filesystem'],
    [['write', '/workspace/keysnot'], 'allow isolation.filesystem'],
    [['write', '/data/out'], 'allow filesystem.readWrite[0]'],
    [['write', '/data/out/x'], 'allow filesystem.readWrite[0]'],
    [['write', '/data/other'], 'deny filesystem.default'],
    [['write', '/tmp/x'], 'allow filesystem.private'],
    [['read', '/etc/passwd'], 'allow filesystem.view'],
    [['write', '/etc/passwd'], 'deny filesystem.default'],
    [['read', '/root/.ssh/id'], 'deny filesystem.default'],
    [['read', '/workspace/../root'], 'deny filesystem.default'],
    [['read', 'relative'], 'deny filesystem.default'],
  ];
  for (const [args, expected] of cases) assert.equal(ask(files, fileRequest(...args)), expected, args.join(' '));
});
