/** Hosts in all their spellings come to one, or to none, before a rule is looked at. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalHost } from './hosts.ts';
import { ask, httpRequest, policyOf } from './sample.test.ts';

const spellings: readonly (readonly [string, readonly string[]])[] = [
  ['127.0.0.1', ['127.0.0.1', '127.0.0.1.', '2130706433', '0x7f000001', '0x7F.0.0.1', '017700000001', '0177.0.0.1', '127.1', '127.0.1', '0x7f.1', '::ffff:127.0.0.1', '::FFFF:7f00:1', '0:0:0:0:0:ffff:7f00:0001']],
  ['2001:db8::1', ['2001:db8::1', '2001:DB8::1', '2001:0db8:0:0:0:0:0:1', '2001:db8:0::0:1']],
  ['::1', ['::1', '0:0:0:0:0:0:0:1', '0000::0001']],
  ['a.example', ['a.example', 'A.EXAMPLE', 'a.example.', 'A.Example.']],
  ['xn--bcher-kva.example', ['xn--bcher-kva.example', 'XN--BCHER-KVA.example.']],
  ['', ['', '.', '..', 'a..example', '.a.example', 'a.example..', 'b\u00fccher.example', 'a%2eexample', 'a example', 'a/b', 'a@b', 'a:b.example', '[::1]', 'fe80::1%eth0', 'fe80::1%25eth0', '256.0.0.1', '1.2.3.4.5', '0x100000000', '1.2.3.09', '::ffff:1.2.3.4.5', 'example.0x', 'a\u3002example', '\uff41.example', 'a.example\0', '1.2.3.4:80', 'a'.repeat(254)]],
];

test('every spelling of a host', () => {
  for (const [canonical, given] of spellings) for (const host of given) assert.equal(canonicalHost(host), canonical, JSON.stringify(host));
  // a name that ends in a number and is no address is nothing
  assert.equal(canonicalHost('example.1'), '');
});

test('rules on addresses hold for every spelling, in rules and in requests', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: "2001:0DB8::0:1" }, { domain: 192.0.2.1 }, { domain: "*.b.example" }]\n    deny: [{ domain: "::ffff:192.0.2.9" }]\n' });
  const resource = (host: string) => {
    const request = httpRequest(policy, 'GET https://x.b.example/');
    return ask(policy, { ...request, resource: { ...request.resource, host } as typeof request.resource });
  };
  for (const host of ['2001:db8::1', '2001:DB8:0:0:0:0:0:1']) assert.equal(resource(host), 'allow egress.allow[0]', host);
  for (const host of ['192.0.2.1', '3221225985', '0xc0.0.2.1', '::ffff:192.0.2.1']) assert.equal(resource(host), 'allow egress.allow[1]', host);
  for (const host of ['192.0.2.9', '0300.0.2.9']) assert.equal(resource(host), 'deny egress.deny[0]', host);
  assert.equal(resource('1.b.example'), 'allow egress.allow[2]');
  assert.equal(resource('x.b.example.1'), 'deny egress.default');
});
