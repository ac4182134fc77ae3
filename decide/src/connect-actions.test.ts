/** Actions at hosts whose traffic is not read: the host alone is decided on where the connection opens; what could not be seen is told at load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { loadCatalogue, loadNetworkPolicy, loadSandboxPolicy, unenforced } from '@nemoclaw/contract';
import { decideByCedar } from './cedar-plain.ts';
import { decide } from './decide.ts';
import { ask, connectRequest, httpRequest, policyOf } from './sample.test.ts';

const spec = '  permissions: { allowedAPIs: [files.put, logs.read], deniedAPIs: [data.drop] }\n';
const catalogue = `actions:
  - { name: data.drop, match: [{ http: { host: drop.org } }] }
  - { name: files.put, match: [{ http: { host: "*.store.org" } }] }
  - { name: logs.read, match: [{ http: { host: logs.org } }] }
  - { name: odd.thing, match: [{ http: { host: odd.org } }] }
  - { name: data.drop.one, match: [{ http: { host: drop.org, path: /one } }] }
`;
const rules = (how: string): string => ['drop.org', '"*.store.org"', 'logs.org', 'odd.org'].map((domain) => `{ domain: ${domain}, ${how} }`).join(', ');

test('a connection to a host that is not read is the action of that host', () => {
  for (const how of ['tls: passthrough', 'protocol: tcp, ports: [443]']) {
    const policy = policyOf({ spec, egress: `    allow: [${rules(how)}]\n  inspection: { scanForPII: false }\n`, catalogue, approvals: 'triggers: [{ action: files.put, threshold: above-10-usd }]\n' });
    assert.equal(ask(policy, connectRequest('drop.org', 443)), 'deny permissions.deniedAPIs[0]', how);
    assert.equal(ask(policy, connectRequest('a.b.store.org', 443)), 'escalate approvals.triggers[0]', 'an amount that nobody can see is asked about');
    assert.match(ask(policy, connectRequest('logs.org', 443)), /^allow egress\.allow\[2\],permissions\.allowedAPIs\[1\]/);
    assert.equal(ask(policy, connectRequest('odd.org', 443)), 'deny permissions.default');
    assert.match(ask(policy, connectRequest('drop.org', 443, 'dns')), /^allow /, 'a name is not yet a connection');
    const plain = decideByCedar(policy);
    for (const host of ['drop.org', 'a.store.org', 'logs.org', 'odd.org']) assert.equal(plain(connectRequest(host, 443)), decide(policy, connectRequest(host, 443)).verdict, host);
  }
});

test('where it is read, its requests are decided, not its connections', () => {
  const policy = policyOf({ spec, egress: `    allow: [${rules('ports: [443]')}]\n`, catalogue });
  assert.match(ask(policy, connectRequest('drop.org', 443)), /^allow /);
  assert.equal(ask(policy, httpRequest(policy, 'GET https://drop.org/')), 'deny permissions.deniedAPIs[0]');
});

test('with an open network the hosts of denied and held requests are read, those of plain ones are not', () => {
  const sandbox = `apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { network: open }\n${spec}`;
  const policy = policyOf({ sandbox, catalogue: 'actions:\n  - { name: data.drop, match: [{ http: { host: drop.org, method: DELETE } }] }\n  - { name: logs.read, match: [{ http: { host: logs.org, method: GET } }] }\n  - { name: odd.thing, match: [{ http: { host: odd.org } }] }\n' });
  assert.deepEqual(['drop.org', 'logs.org', 'odd.org', 'other.org'].map((host) => policy.network.handlingFor(host, 443)), ['inspect', 'unread', 'unread', 'unread']);
  assert.equal(policy.network.interceptFor('drop.org'), true);
  assert.equal(ask(policy, httpRequest(policy, 'DELETE https://drop.org/x')), 'deny permissions.deniedAPIs[0]');
  assert.equal(ask(policy, connectRequest('odd.org', 443)), 'deny permissions.default', 'a host alone is decided on as a connection');
});

const rule = fc.record(
  { domain: fc.constantFrom('drop.acme.org', '*.acme.org', '?.acme.org', 'a.drop.acme.org', '*.drop.acme.org'), ports: fc.constantFrom([443], [80], [8443], [443, 8443]), tls: fc.constantFrom('intercept', 'passthrough'), protocol: fc.constantFrom('tcp', 'http', 'smtp') },
  { requiredKeys: ['domain', 'ports'] },
);

test('what is told at load is what the proxy would not read', () => {
  let [told, quiet] = [0, 0];
  const loaded = loadCatalogue('actions: [{ name: data.drop, match: [{ http: { host: drop.acme.org, method: DELETE } }] }]\n', 'actions.yaml');
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 4 }), fc.array(rule, { maxLength: 2 }), fc.boolean(), (allow, escalate, tlsDecrypt) => {
      const strict = (list: readonly object[]): object[] => list.map((one) => ({ ...one, ...('protocol' in one && one.protocol !== 'http' ? { tls: undefined } : {}) }));
      const text = JSON.stringify({ networkPolicy: { name: 't', egress: { allow: strict(allow), escalate: strict(escalate) }, inspection: { tlsDecrypt, scanForPII: false } } });
      let network;
      try {
        network = loadNetworkPolicy(text, 'network.yaml');
      } catch {
        return; // rules that contradict each other do not load
      }
      const sandbox = loadSandboxPolicy('apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { network: restricted }\n', 'sandbox.yaml');
      const policy = policyOf({ network: text, catalogue: 'actions: [{ name: data.drop, match: [{ http: { host: drop.acme.org, method: DELETE } }] }]\n' });
      const said = unenforced(sandbox, { tier: 'B', programs: true }, { network, catalogue: loaded }).some((note) => /is not seen where/.test(note));
      const handling = policy.network.portsFor('drop.acme.org').map((port) => ({ port, how: policy.network.handlingFor('drop.acme.org', port) }));
      const opened = policy.network.interceptFor('drop.acme.org');
      const closed = handling.some(({ port, how }) => port !== 80 && (how === 'passthrough' || (how === 'inspect' && !opened)));
      const read = handling.some(({ port, how }) => (how === 'inspect' && opened) || (port === 80 && (how === 'inspect' || how === 'passthrough')));
      assert.equal(said, closed || (!read && handling.some(({ how }) => how === 'unread')), `${text} ${JSON.stringify(handling)}`);
      if (said) told += 1;
      else quiet += 1;
    }),
    { numRuns: 2000, seed: 20_261_122 },
  );
  assert.ok(told > 100 && quiet > 100, `${told} told, ${quiet} quiet`);
});
