/** Which rule decides, against a plain reference that sorts and tries them all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ask, httpRequest, policyOf } from './sample.test.ts';

interface Rule { readonly list: 'allow' | 'escalate' | 'deny'; readonly domain: string; readonly ports?: readonly number[]; readonly methods?: readonly string[] }

const patterns = ['a.test', 'b.a.test', 'c.b.a.test', '?.a.test', '*.a.test', '*.b.a.test', '*.test', '*'];
/** How much a pattern leaves open; the least wins. Labels of its suffix count first, then: the name itself, one label, any labels. */
const width = (pattern: string): number => (pattern === '*' ? 1000 : (pattern.startsWith('*.') ? 20 : pattern.startsWith('?.') ? 10 : 0) - (/^[*?]/.test(pattern) ? pattern.split('.').length - 1 : 100));
const covers = (pattern: string, host: string): boolean => {
  if (pattern === '*' || pattern === host) return true;
  if (pattern.startsWith('*.')) return host.endsWith(pattern.slice(1));
  return pattern.startsWith('?.') && host.endsWith(pattern.slice(1)) && !host.slice(0, -pattern.length + 1).includes('.');
};
const order = { deny: 0, escalate: 1, allow: 2 } as const;

/** The most specific domain that has a matching rule, or an allow rule at all, decides; there deny, then question, then allowance, else denied. */
function reference(rules: readonly Rule[], host: string, port: number, method: string): string {
  const matches = (rule: Rule): boolean => (rule.ports ?? (rule.list === 'deny' ? [port] : [80, 443])).includes(port) && (rule.methods === undefined || rule.methods.includes(method));
  const covering = rules.filter((rule) => covers(rule.domain, host));
  for (const domain of [...new Set(covering.map((rule) => rule.domain))].sort((a, b) => width(a) - width(b))) {
    const here = covering.filter((rule) => rule.domain === domain);
    const found = here.filter(matches).sort((a, b) => order[a.list] - order[b.list])[0];
    if (found !== undefined) return found.list;
    if (here.some((rule) => rule.list === 'allow')) return 'deny';
  }
  return 'deny';
}

const optional = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined });
const rule: fc.Arbitrary<Rule> = fc
  .record({ list: fc.constantFrom('allow', 'escalate', 'deny'), domain: fc.constantFrom(...patterns), ports: optional(fc.subarray([80, 443, 8443], { minLength: 1 })), methods: optional(fc.subarray(['GET', 'POST'], { minLength: 1 })) })
  .map((given) => Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as unknown as Rule)
  // a wildcard below a single label, and `*`, are too wide to be allowed
  .filter((given) => given.list !== 'allow' || (given.domain !== '*' && given.domain !== '*.test'));

test('generated rules decide as the reference says', () => {
  const seen = { allow: 0, escalate: 0, deny: 0 };
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 8 }), fc.array(fc.record({ host: fc.constantFrom('a.test', 'b.a.test', 'x.a.test', 'c.b.a.test', 'd.c.b.a.test', 'other.test', 'x.org'), port: fc.constantFrom(80, 443, 8443), method: fc.constantFrom('GET', 'POST', 'PUT') }), { minLength: 5, maxLength: 10 }), (rules, requests) => {
      const list = (name: Rule['list']): string => `    ${name}: ${JSON.stringify(rules.filter((one) => one.list === name).map(({ list: _list, ...rest }) => rest))}\n`;
      const policy = policyOf({ egress: `${list('allow')}${list('escalate')}${list('deny')}` });
      for (const { host, port, method } of requests) {
        const expected = reference(rules, host, port, method);
        seen[expected as keyof typeof seen] += 1;
        assert.equal(ask(policy, httpRequest(policy, `${method} http://${host}:${port}/`)).split(' ')[0], expected, `${method} ${host}:${port}\n${JSON.stringify(rules)}`);
      }
    }),
    { numRuns: 400, seed: 11 },
  );
  for (const [verdict, count] of Object.entries(seen)) assert.ok(count > 100, `${verdict}: ${count}`);
});
