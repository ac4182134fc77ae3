/** A denied or held action whose requests nobody would read is an error at its place, or said where the policy is best-effort; everything else is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkHost, loadApprovalPolicy, loadCatalogue, loadNetworkPolicy, loadSandboxPolicy, NemoError, unenforced } from '../index.ts';

const sandbox = (more = ''): ReturnType<typeof loadSandboxPolicy> =>
  loadSandboxPolicy(`apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: t }\nspec:\n  isolation: { network: restricted }\n  permissions: { allowedAPIs: [crm.read, crm.hold], deniedAPIs: [crm.drop] }\n${more}`, 'sandbox.yaml');
const catalogueOf = (name: string, http: string) => loadCatalogue(`actions:\n  - name: ${name}\n    match:\n      - tool: x\n      - http: ${http}\n`, 'actions.yaml');
const networkOf = (rules: string, inspection = '{ scanForPII: false }') => loadNetworkPolicy(`networkPolicy:\n  name: t\n  egress: { ${rules} }\n  inspection: ${inspection}\n`, 'network.yaml');
const approvals = loadApprovalPolicy('triggers: [{ action: crm.hold, threshold: always }]\n', 'approvals.yaml');
const drop = '{ host: db.acme.example, method: DELETE }';

const passthrough = 'allow: [{ domain: db.acme.example, tls: passthrough }]';
/** what, rules, inspection, the action, its request, whether it is an error. */
const cases: readonly (readonly [string, string, string | undefined, string, string, RegExp | undefined])[] = [
  ['TLS that is passed on', passthrough, undefined, 'crm.drop', drop, /TLS to db\.acme\.example:443 is passed on unread \(egress\.allow\[0\]\)/],
  ['TLS that is not opened anywhere', 'allow: [{ domain: db.acme.example }]', '{ tlsDecrypt: false, scanForPII: false }', 'crm.drop', drop, /passed on unread/],
  ['a held action', passthrough, undefined, 'crm.hold', drop, /crm\.hold/],
  ['an action that nobody allowed', passthrough, undefined, 'crm.other', drop, /crm\.other/],
  ['raw TCP alone', 'allow: [{ domain: db.acme.example, protocol: tcp, ports: [9000] }]', undefined, 'crm.drop', '{ host: db.acme.example, path: /x }', /db\.acme\.example:9000 is raw TCP/],
  ['an escalate rule', 'escalate: [{ domain: db.acme.example, tls: passthrough }]', undefined, 'crm.drop', drop, /egress\.escalate\[0\]/],
  ['a wildcard rule', 'allow: [{ domain: "*.acme.example", tls: passthrough }]', undefined, 'crm.drop', drop, /passed on/],
  ['a wildcard request', passthrough, undefined, 'crm.drop', '{ host: "*.acme.example", path: /x }', /passed on/],
  ['one port of several', 'allow: [{ domain: db.acme.example, ports: [443] }, { domain: db.acme.example, ports: [8443], tls: passthrough }]', undefined, 'crm.drop', drop, /8443/],
  ['an allowed action', passthrough, undefined, 'crm.read', drop, undefined],
  ['a host alone', passthrough, undefined, 'crm.drop', '{ host: db.acme.example }', undefined],
  ['another host', passthrough, undefined, 'crm.drop', '{ host: other.example, method: DELETE }', undefined],
  ['TLS that a rule opens', 'allow: [{ domain: db.acme.example, tls: intercept }]', '{ tlsDecrypt: false, scanForPII: false }', 'crm.drop', drop, undefined],
  ['a more specific rule that reads', 'allow: [{ domain: db.acme.example }, { domain: "*.acme.example", tls: passthrough }]', undefined, 'crm.drop', drop, undefined],
  ['a denial that is looked for', 'allow: [{ domain: db.acme.example, tls: passthrough }], deny: [{ domain: db.acme.example, methods: [PUT] }]', undefined, 'crm.drop', drop, undefined],
  ['a port for another protocol beside', 'allow: [{ domain: db.acme.example }, { domain: db.acme.example, protocol: tcp, ports: [22] }, { domain: db.acme.example, protocol: smtp }]', undefined, 'crm.drop', drop, undefined],
  ['a host that speaks a database only', 'allow: [{ domain: db.acme.example, protocol: postgres }]', undefined, 'crm.drop', drop, undefined],
];
for (const [what, rules, inspection, action, http, expected] of cases) {
  test(`${what}: ${expected === undefined ? 'nothing to say' : 'refused at its place'}`, () => {
    const others = { network: networkOf(rules, inspection), catalogue: catalogueOf(action, http), approvals };
    if (expected === undefined) return checkHost(sandbox(), { tier: 'B' }, others);
    assert.throws(() => checkHost(sandbox(), { tier: 'B' }, others), (error: unknown) => {
      assert.ok(error instanceof NemoError && error.code === 'NEMO_E_POLICY_NEEDS', String(error));
      assert.match(error.message, expected);
      assert.deepEqual(error.where, { file: 'actions.yaml', line: 5, column: 9 });
      return true;
    });
    const loose = sandbox('  enforcement: best-effort\n');
    checkHost(loose, { tier: 'B' }, others);
    assert.match(unenforced(loose, { tier: 'B' }, others).join('\n'), expected);
  });
}
