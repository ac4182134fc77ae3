/** What an OpenShell file does not allow is not allowed after it was read either: generated rules and requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ask, httpRequest, policyOf } from './sample.test.ts';

/** Their meaning of a path pattern: `*` and `**` are any run of characters. */
const theirs = (pattern: string): RegExp => new RegExp(`^${pattern.split(/\*+/).map((text) => text.replaceAll(/[.+^$()|\\]/g, '\\$&')).join('.*')}$`, 's');

const segment = fc.constantFrom('a', 'b', 'ab', '*', '**', 'a*', '*b', 'a*b', 'a**');
const pattern = fc.oneof({ weight: 8, arbitrary: fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`) }, { weight: 1, arbitrary: fc.constantFrom('**', '*', '/', '/**', '**/a', '*b') });
const rule = fc.record({ method: fc.constantFrom('GET', 'POST', '*'), path: pattern });
const asked = fc.record({ method: fc.constantFrom('GET', 'POST', 'DELETE'), path: fc.array(fc.constantFrom('a', 'b', 'ab', 'acb', 'c', ''), { maxLength: 5 }).map((parts) => `/${parts.join('/')}`) });

const matches = (one: { method: string; path: string }, request: { method: string; path: string }): boolean => (one.method === '*' || one.method === request.method) && theirs(one.path).test(request.path);

test('rules of an OpenShell file never allow more here than there', () => {
  let allowed = 0;
  fc.assert(
    fc.property(fc.array(rule, { minLength: 1, maxLength: 3 }), fc.array(rule, { maxLength: 2 }), fc.array(asked, { minLength: 6, maxLength: 12 }), (rules, denials, requests) => {
      const line = (one: { method: string; path: string }): string => `{ method: "${one.method}", path: "${one.path}" }`;
      const file = `version: 1\nnetwork_policies:\n  a:\n    endpoints:\n      - host: x.example.com\n        port: 443\n        protocol: rest\n        rules: [${rules.map((one) => `{ allow: ${line(one)} }`).join(', ')}]\n${denials.length === 0 ? '' : `        deny_rules: [${denials.map(line).join(', ')}]\n`}`;
      const policy = policyOf({ network: file });
      for (const request of requests) {
        if (!ask(policy, httpRequest(policy, `${request.method} https://x.example.com${request.path}`)).startsWith('allow')) continue;
        allowed++;
        assert.ok(rules.some((one) => matches(one, request)) && !denials.some((one) => matches(one, request)), `${file}\n${JSON.stringify(request)}`);
      }
    }),
    { numRuns: 1500, seed: 7 },
  );
  assert.ok(allowed > 500, String(allowed));
});
