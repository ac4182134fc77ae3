/** A restricted label asks before anything leaves, whatever the rule, unless the rule accepts it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyHistory } from '@nemoclaw/contract';
import { decodePolicy, encodePolicy } from './codec.ts';
import { decide } from './decide.ts';
import { needsBody } from './needs.ts';
import { brief, connectRequest, httpRequest, policyOf } from './sample.test.ts';

const restricted = { ...emptyHistory, readRestricted: true };
const policy = policyOf({ egress: '    allow:\n      - domain: a.org\n      - { domain: vault.org, accepts: restricted }\n      - { domain: db.org, ports: [5432] }\n    escalate:\n      - { domain: a.org, methods: [PUT] }\n    deny:\n      - { domain: a.org, methods: [DELETE] }\n' });

test('with a restricted label, what a rule allows is asked about; what it denies or asks about stays', () => {
  const after = (request: string): string => brief(decide(policy, { ...httpRequest(policy, request), history: restricted }));
  assert.equal(after('POST https://a.org/x'), 'escalate labels.egress,egress.allow[0]');
  assert.equal(after('GET https://a.org/x?q=1'), 'escalate labels.egress,egress.allow[0]');
  assert.equal(after('PUT https://a.org/x'), 'escalate egress.escalate[0]');
  assert.equal(after('DELETE https://a.org/x'), 'deny egress.deny[0]');
  assert.equal(after('GET https://b.org/'), 'deny egress.default');
  assert.equal(after('POST https://vault.org/x'), 'allow egress.allow[1]');
  assert.equal(brief(decide(policy, httpRequest(policy, 'POST https://a.org/x'))), 'allow egress.allow[0]', 'without the label');
});

test('so are connections whose bytes are not read; names are still answered, since questions are never forwarded', () => {
  assert.equal(brief(decide(policy, { ...connectRequest('db.org', 5432), history: restricted })), 'escalate labels.egress,egress.allow[2]');
  assert.equal(brief(decide(policy, { ...connectRequest('db.org', 443, 'dns'), history: restricted })), 'allow egress.allow[2]');
});

test('the approval binds to the body, and the word survives the way to the worker', () => {
  const shipped = decodePolicy(encodePolicy(policy));
  const resource = httpRequest(shipped, 'POST https://a.org/x').resource;
  assert.ok(resource.kind === 'http');
  assert.equal(needsBody(shipped, resource), false);
  assert.equal(needsBody(shipped, resource, restricted), true);
  assert.equal(needsBody(shipped, { ...resource, host: 'vault.org' }, restricted), false);
});

test('a host that is labelled restricted takes what is; it is read whatever a rule says, also where everything else passes unread', () => {
  const labelled = decodePolicy(encodePolicy(policyOf({
    egress: '    allow:\n      - { domain: a.org, tls: passthrough, uninspected: allow }\n      - domain: "*.in.org"\n  labels:\n    - { domain: a.org, level: restricted }\n    - { domain: "*.in.org", level: confidential }\n    - { domain: x.in.org, level: restricted }\n',
  })));
  const after = (request: string): string => brief(decide(labelled, { ...httpRequest(labelled, request), history: restricted }));
  assert.equal(after('POST https://a.org/x'), 'allow egress.allow[0]');
  assert.equal(after('POST https://x.in.org/x'), 'allow egress.allow[1]');
  assert.equal(after('POST https://y.in.org/x'), 'escalate labels.egress,egress.allow[1]');
  const { network } = labelled;
  assert.deepEqual(['a.org', 'A.org', 'x.in.org', 'y.in.org', 'b.org'].map((host) => network.labelOf(host)), ['restricted', 'restricted', 'restricted', 'confidential', undefined]);
  assert.equal(network.handlingFor('a.org', 443), 'inspect');
  assert.ok(network.interceptNames.includes('a.org'));
});
