/** What is kept of one question must not answer another: other policy, other resource, other host. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalHost } from './hosts.ts';
import { headersNamed, needsBody, termsOf } from './needs.ts';
import { decide } from './decide.ts';
import { resolveHttp } from './policy.ts';
import { httpRequest, policyOf } from './sample.test.ts';

const open = policyOf({ egress: `    allow:
      - { domain: api.example.org, paths: [/v1/**], maxBody: 1Ki, headers: { x-tenant: acme } }
      - { domain: as.example.org, as: crm.read }
` });
const closed = policyOf({ egress: `    deny:
      - { domain: "*" }
` });
const watching = policyOf({ egress: `    allow:
      - { domain: api.example.org }
    deny:
      - { domain: api.example.org, paths: [/v1/**], mode: monitor }
` });
const request = httpRequest(open, 'GET https://api.example.org/v1/a');
const resource = request.resource;
const http = resource.kind === 'http' ? { ...resource, headers: { 'x-tenant': ['acme'] } } : assert.fail();

test('one resource asked of several policies in turn gets the answer of each', () => {
  for (let round = 0; round < 3; round += 1) {
    assert.equal(decide(open, { ...request, resource: http }).verdict, 'allow');
    assert.equal(termsOf(open, http)?.maxBody, 1024);
    assert.equal(decide(closed, { ...request, resource: http }).verdict, 'deny');
    assert.equal(termsOf(closed, http), undefined);
    const watched = decide(watching, { ...request, resource: http });
    assert.equal(watched.verdict, 'allow');
    assert.equal(watched.monitored?.verdict, 'deny', 'the rules as they would be enforced are asked too');
    assert.equal(termsOf(watching, http)?.maxBody, undefined);
    assert.equal(needsBody(closed, http), false);
  }
});

test('resources that differ in anything are each decided for themselves, in any order', () => {
  const others = [
    [http, 'allow'], [{ ...http, path: '/v2/a' }, 'deny'], [{ ...http, headers: { 'x-tenant': ['evil'] } }, 'deny'], [{ ...http, host: 'other.example.org' }, 'deny'],
    [{ ...http, host: 'API.example.org.' }, 'allow'], [{ ...http, message: { protocol: 'websocket' as const } }, 'allow'],
  ] as const;
  for (const [one, verdict] of [...others, ...others.toReversed(), ...others]) assert.equal(decide(open, { ...request, resource: one }).verdict, verdict, JSON.stringify(one));
  assert.equal(resolveHttp(open, http, new Map()), undefined);
  assert.equal(resolveHttp(open, { ...http, host: 'as.example.org' }, new Map())?.action, 'crm.read');
});

test('hosts and the headers that rules on them speak of are kept apart', () => {
  for (let round = 0; round < 2; round += 1) {
    assert.deepEqual(headersNamed(open, 'api.example.org'), ['x-tenant']);
    assert.deepEqual(headersNamed(open, 'as.example.org'), []);
    assert.deepEqual(headersNamed(closed, 'api.example.org'), []);
    assert.equal(canonicalHost('A.example.org'), 'a.example.org');
    assert.equal(canonicalHost(''), '');
    assert.equal(canonicalHost('0x7f.1'), '127.0.0.1');
    assert.equal(canonicalHost('not a host'), '');
  }
});
