/** The published example policies load unedited; wrong files are refused at the exact place, with what to do. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadApprovalPolicy, loadBlueprint, loadCatalogue, loadInference, loadNetworkPolicy, loadSandboxPolicy, NemoError, whereOf, type ErrorCode } from '../index.ts';

const example = (name: string): string => readFileSync(new URL(`../../vectors/policy/${name}`, import.meta.url), 'utf8');

test('the published SandboxPolicy loads unedited', () => {
  const policy = loadSandboxPolicy(example('openshell-policy.yaml'), 'openshell-policy.yaml');
  assert.equal(policy.spec.resources.maxMemory, 4 * 2 ** 30);
  assert.deepEqual(policy.spec.permissions.deniedAPIs, ['admin.*', 'billing.*', 'user.delete']);
  assert.deepEqual(whereOf(policy, ['spec', 'permissions', 'deniedAPIs', 2]), { file: 'openshell-policy.yaml', line: 24, column: 9 });
});

test('the published network policy loads unedited', () => {
  const { networkPolicy } = loadNetworkPolicy(example('network-policy.yaml'), 'network.yaml');
  assert.deepEqual(networkPolicy.egress.allow.map((r) => r.domain), ['*.salesforce.com', 'api.hubspot.com', 'smtp.company.com']);
  assert.deepEqual(networkPolicy.ingress.allow, [{ source: 'webhook.salesforce.com', path: '/api/v1/events' }]);
});

test('the published approval policy loads unedited, as the TypeScript literal that it is, and as JSON and YAML', () => {
  const channels = new Set(['slack', 'teams', 'pagerduty']);
  const policy = loadApprovalPolicy(example('approval-policy.ts.txt'), 'approvals.ts', { channels });
  assert.deepEqual(policy.triggers.map((t) => t.threshold), [{ kind: 'always' }, { kind: 'always' }, { kind: 'external-only' }, { kind: 'above', usd: 100 }]);
  assert.equal(policy.timeout, 900_000);
  assert.deepEqual(whereOf(policy, ['triggers', 3]), { file: 'approvals.ts', line: 7, column: 5 });
  const json = '{"triggers": [{"action": "data.delete", "threshold": "always"}], "channels": ["terminal"], "timeout": "15m", "defaultAction": "deny"}';
  assert.equal(loadApprovalPolicy(json, 'approvals.json').triggers.length, 1);
});

test('the published privacy router rules load unedited beside providers', () => {
  const providers = 'providers: [{ name: local, kind: vllm, endpoint: "http://127.0.0.1:8000/v1", model: m, location: local }]\ndefault: local\n';
  const inference = loadInference(providers + example('privacy-router.yaml'), 'inference.yaml');
  assert.equal(inference.privacyRouter?.residencyRules.length, 2);
  assert.equal(inference.privacyRouter?.fallback, 'local-only');
});

const sandbox = 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: { name: a }\nspec:\n  isolation: {}\n';
const network = 'networkPolicy:\n  name: a\n  egress:\n';
const blueprint = 'apiVersion: nemoclaw.dev/v1\nkind: Blueprint\nname: a\nversion: 1.0.0\ndescription: d\nrole: r\nagent: { kind: pi }\nfiles: { sandbox: s.yaml }\n';

type Loader = (text: string, file: string) => unknown;
/** what, loader, text, code, line, column, words of the message or fix */
const wrong: readonly (readonly [string, Loader, string, ErrorCode, number, number, RegExp])[] = [
  ['an empty file', loadSandboxPolicy, '', 'NEMO_E_POLICY_TYPE', 1, 1, /empty/],
  ['broken syntax', loadSandboxPolicy, 'spec:\n  a: [1\n', 'NEMO_E_POLICY_YAML', 3, 1, /YAML/],
  ['a field twice', loadSandboxPolicy, `${sandbox}kind: SandboxPolicy\n`, 'NEMO_E_POLICY_YAML', 6, 1, /unique/],
  ['two documents', loadSandboxPolicy, `${sandbox}---\na: 1\n`, 'NEMO_E_POLICY_YAML', 6, 1, /document/],
  ['an anchor and an alias', loadNetworkPolicy, `${network}    allow: [&a { domain: x.org }, *a]\n`, 'NEMO_E_POLICY_YAML', 4, 35, /alias/i],
  ['a tag', loadSandboxPolicy, `${sandbox}  mode: !js enforce\n`, 'NEMO_E_POLICY_YAML', 6, 9, /tag/i],
  ['a prototype', loadSandboxPolicy, `${sandbox}  __proto__: { mode: monitor }\n`, 'NEMO_E_POLICY_YAML', 6, 3, /field name/],
  ['a number as name of a field', loadSandboxPolicy, `${sandbox}  1: x\n`, 'NEMO_E_POLICY_UNKNOWN_FIELD', 6, 3, /`1`/],
  ['an unknown field', loadSandboxPolicy, `${sandbox}  permisions: {}\n`, 'NEMO_E_POLICY_UNKNOWN_FIELD', 6, 3, /Did you mean `permissions`\?/],
  ['an unknown field inside a default', loadSandboxPolicy, `${sandbox}  resources: { maxMemroy: 1Gi }\n`, 'NEMO_E_POLICY_UNKNOWN_FIELD', 6, 16, /Did you mean `maxMemory`\?/],
  ['an unknown field in a list', loadNetworkPolicy, `${network}    allow:\n      - domain: x.org\n        method: [GET]\n`, 'NEMO_E_POLICY_UNKNOWN_FIELD', 6, 9, /Did you mean `methods`\?/],
  ['a missing field', loadSandboxPolicy, 'apiVersion: openshell.nvidia.com/v1\nkind: SandboxPolicy\nmetadata: {}\nspec: { isolation: {} }\n', 'NEMO_E_POLICY_TYPE', 3, 1, /`metadata.name` is missing/],
  ['a wrong word', loadSandboxPolicy, sandbox.replace('{}', '{ filesystem: readonly }'), 'NEMO_E_POLICY_TYPE', 5, 28, /Did you mean `read-only`\?/],
  ['a wrong type', loadSandboxPolicy, `${sandbox}  resources: { maxCPU: two }\n`, 'NEMO_E_POLICY_TYPE', 6, 24, /must be a number, not text/],
  ['a size that is none', loadSandboxPolicy, `${sandbox}  resources: { maxMemory: 4 GB }\n`, 'NEMO_E_POLICY_TYPE', 6, 27, /512Mi/],
  ['a list for a size', loadSandboxPolicy, `${sandbox}  resources: { maxMemory: [4Gi] }\n`, 'NEMO_E_POLICY_TYPE', 6, 16, /cannot be a list[^]*docs\/policy.md/],
  ['another version of the format', loadSandboxPolicy, sandbox.replace('/v1', '/v2'), 'NEMO_E_POLICY_TYPE', 1, 13, /v1/],
  ['a wildcard in a path', loadSandboxPolicy, `${sandbox}  filesystem: { deny: ["/workspace/*.key"] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 24, /kernel decides on files/],
  ['the whole file system', loadSandboxPolicy, `${sandbox}  filesystem: { readWrite: [/**] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 29, /too wide/],
  ['a path with dots', loadSandboxPolicy, `${sandbox}  filesystem: { readOnly: [/usr/../etc] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 28, /plain path/],
  ['a relative path', loadSandboxPolicy, `${sandbox}  filesystem: { readOnly: [keys/**] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 28, /absolute/],
  ['all actions allowed', loadSandboxPolicy, `${sandbox}  permissions: { allowedAPIs: ["*"] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 32, /too wide/],
  ['a wildcard inside an action', loadSandboxPolicy, `${sandbox}  permissions: { deniedAPIs: [adm*n.x] }\n`, 'NEMO_E_POLICY_PATTERN', 6, 31, /only at the end/],
  ['a sink that is not there', loadSandboxPolicy, `${sandbox}  auditLog: { destination: siem://nowhere }\n`, 'NEMO_E_POLICY_SINK', 6, 28, /siem:\/\/security-events/],
  ['two profiles', loadSandboxPolicy, `${sandbox}  syscalls: { profile: standard }\n`, 'NEMO_E_POLICY_TYPE', 6, 24, /isolation.syscalls says minimal/],
  ['everything allowed', loadNetworkPolicy, `${network}    allow:\n      - domain: "*"\n`, 'NEMO_E_POLICY_PATTERN', 5, 17, /every host/],
  ['a top-level domain allowed', loadNetworkPolicy, `${network}    allow:\n      - domain: "*.com"\n`, 'NEMO_E_POLICY_PATTERN', 5, 17, /too wide/],
  ['a shared suffix allowed', loadNetworkPolicy, `${network}    allow: [{ domain: "*.github.io" }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 23, /too wide/],
  ['an unquoted star', loadNetworkPolicy, `${network}    deny:\n      - domain: *\n`, 'NEMO_E_POLICY_YAML', 5, 17, /quotes/],
  ['a star in the middle', loadNetworkPolicy, `${network}    deny: [{ domain: "a.*.org" }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 22, /first label/],
  ['a domain with a port', loadNetworkPolicy, `${network}    deny: [{ domain: "x.org:443" }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 22, /own fields/],
  ['a domain in capitals', loadNetworkPolicy, `${network}    allow: [{ domain: X.org }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 23, /x\.org/],
  ['a domain in Unicode', loadNetworkPolicy, `${network}    allow: [{ domain: bücher.example }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 23, /xn--bcher-kva\.example/],
  ['an address as a number', loadNetworkPolicy, `${network}    allow: [{ domain: "2130706433" }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 23, /usual spelling/],
  ['an address with a zone', loadNetworkPolicy, `${network}    allow: [{ domain: "fe80::1%eth0" }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 23, /zone/],
  ['a method in small letters', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, methods: [get] }]\n`, 'NEMO_E_POLICY_TYPE', 4, 40, /Write GET/],
  ['a port that is none', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, ports: [70000] }]\n`, 'NEMO_E_POLICY_TYPE', 4, 38, /ports[^]*Give a number of at most 65535/],
  ['a path with a query', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, paths: ["/a?b"] }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 38, /path pattern/],
  ['methods behind closed TLS', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, methods: [GET], tls: passthrough }]\n`, 'NEMO_E_POLICY_TYPE', 4, 30, /TLS is not opened/],
  ['TLS passed on unread where everything is searched', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, tls: passthrough }]\n`, 'NEMO_E_POLICY_TYPE', 4, 35, /uninspected: allow/],
  ['uninspected by itself', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, uninspected: allow }]\n`, 'NEMO_E_POLICY_TYPE', 4, 43, /only beside/],
  ['a version of HTTP behind closed TLS', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, tls: passthrough, uninspected: allow, upstream: http1 }]\n`, 'NEMO_E_POLICY_TYPE', 4, 78, /TLS is not opened/],
  ['a trust anchor where the client verifies', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, tls: passthrough, uninspected: allow, ca: a.pem }]\n`, 'NEMO_E_POLICY_TYPE', 4, 72, /client itself verifies/],
  ['an action of what is passed on unread', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, protocol: tcp, ports: [22], as: crm.read }]\n`, 'NEMO_E_POLICY_TYPE', 4, 62, /passed on unread/],
  ['a longest body of a WebSocket', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, protocol: websocket, maxBody: 1Mi }]\n`, 'NEMO_E_POLICY_TYPE', 4, 60, /has none/],
  ['STARTTLS in a denial', loadNetworkPolicy, `${network}    deny: [{ domain: x.org, smtp: { starttls: required } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 29, /rule that denies/],
  ['labels of answers that are not read', loadNetworkPolicy, 'networkPolicy:\n  name: x\n  inspection:\n    responses: false\n  labels: [{ domain: a.org, level: restricted }]\n', 'NEMO_E_POLICY_TYPE', 5, 3, /answers are not read/],
  ['a label that says nothing', loadNetworkPolicy, 'networkPolicy:\n  name: x\n  labels: [{ domain: a.org, level: public }]\n', 'NEMO_E_POLICY_TYPE', 3, 36, /confidential/],
  ['actions of a search that is off', loadNetworkPolicy, 'networkPolicy:\n  name: x\n  inspection:\n    scanForPII: false\n    actions: { email: block }\n', 'NEMO_E_POLICY_TYPE', 5, 5, /`scanForPII` is false/],
  ['headers behind closed TLS', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, tls: passthrough, uninspected: allow, headers: { x-a: "1" } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 68, /TLS is not opened/],
  ['a protocol behind closed TLS', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, tls: passthrough, uninspected: allow, protocol: grpc }]\n`, 'NEMO_E_POLICY_TYPE', 4, 78, /cannot be seen/],
  ['GraphQL words about SMTP', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, protocol: smtp, graphql: { fields: [a] } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 46, /says nothing about/],
  ['words of two protocols', loadNetworkPolicy, `${network}    deny: [{ domain: x.org, mcp: { tools: [a] }, jsonRpc: { methods: [b] } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 50, /protocol: json-rpc/],
  ['methods of a mail server', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, methods: [GET], smtp: {} }]\n`, 'NEMO_E_POLICY_TYPE', 4, 30, /HTTP only/],
  ['TCP on no port', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, protocol: tcp }]\n`, 'NEMO_E_POLICY_TYPE', 4, 40, /needs a port/],
  ['a Redis command with a word that no rule can name', loadNetworkPolicy, `${network}    deny: [{ domain: x.org, redis: { commands: [config get, sentinel failover, set foo] } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 80, /no second word/],
  ['two protocols at one place', loadNetworkPolicy, `${network}    allow:\n      - { domain: x.org, protocol: smtp, ports: [2525] }\n      - { domain: x.org, protocol: redis, ports: [2525] }\n`, 'NEMO_E_POLICY_TYPE', 6, 36, /smtp is spoken at x\.org:2525/],
  ['a header in capitals', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, headers: { X-Tenant: acme } }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 51, /x-tenant/],
  ['a header that the proxy writes', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, headers: { host: acme } }]\n`, 'NEMO_E_POLICY_PATTERN', 4, 47, /written by the proxy/],
  ['a rate that is none', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, rate: 600 per minute }]\n`, 'NEMO_E_POLICY_TYPE', 4, 36, /600\/m/],
  ['an empty range', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, mcp: { arguments: { amount: { min: 5, max: 1 } } } }]\n`, 'NEMO_E_POLICY_TYPE', 4, 50, /amount/],
  ['a block of addresses that is none', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, addresses: [10.0.0.0/33] }]\n`, 'NEMO_E_POLICY_TYPE', 4, 42, /IP address/],
  ['an incoming call without a path', loadNetworkPolicy, 'networkPolicy:\n  name: n\n  ingress:\n    allow: [{ source: hooks.x.org }]\n', 'NEMO_E_POLICY_TYPE', 4, 13, /path/],
  ['an incoming call to nowhere', loadNetworkPolicy, 'networkPolicy:\n  name: n\n  ingress:\n    allow: [{ source: hooks.x.org, path: /h, auth: { addresses: [192.0.2.0/24] } }]\n', 'NEMO_E_POLICY_TYPE', 4, 46, /port/],
  ['two proofs in one', loadNetworkPolicy, 'networkPolicy:\n  name: n\n  ingress:\n    allow: [{ source: h.org, path: /h, port: 80, auth: { addresses: [192.0.2.1], jwt: { issuer: a, audience: b, keys: k.json } } }]\n', 'NEMO_E_POLICY_TYPE', 4, 50, /several proofs/],
  ['a class that nobody looks for', loadNetworkPolicy, 'networkPolicy:\n  name: n\n  inspection: { actions: { emial: log } }\n', 'NEMO_E_POLICY_UNKNOWN_FIELD', 3, 28, /Known here: secret, email/],
  ['an address that is none', loadNetworkPolicy, `${network}    allow: [{ domain: x.org, addresses: [localhost] }]\n`, 'NEMO_E_POLICY_TYPE', 4, 42, /IP address/],
  ['a threshold that is none', loadApprovalPolicy, 'triggers:\n  - { action: pay, threshold: above-100-eur }\n', 'NEMO_E_POLICY_TYPE', 2, 31, /above-100-usd/],
  ['silence that allows', loadApprovalPolicy, 'defaultAction: allow\n', 'NEMO_E_POLICY_TYPE', 1, 16, /deny/],
  ['a channel that is not there', loadApprovalPolicy, 'triggers: []\nchannels: [terminal, slack]\n', 'NEMO_E_POLICY_CHANNEL', 2, 22, /terminal/],
  ['a literal with code in it', loadApprovalPolicy, 'const x = { triggers: [], timeout: go() };\n', 'NEMO_E_POLICY_TYPE', 1, 36, /length of time/],
  ['an attribute that is code', loadCatalogue, 'actions:\n  - name: a.b\n    match: [{ tool: t }]\n    attributes: { x: "process.exit()" }\n', 'NEMO_E_POLICY_TYPE', 4, 22, /expression/],
  ['an action twice', loadCatalogue, 'actions:\n  - { name: a.b, match: [{ tool: t }] }\n  - { name: a.b, match: [{ tool: u }] }\n', 'NEMO_E_POLICY_TYPE', 3, 13, /twice/],
  ['a match of two kinds', loadCatalogue, 'actions:\n  - name: a.b\n    match:\n      - { tool: t, http: { host: x.org } }\n', 'NEMO_E_POLICY_TYPE', 4, 9, /one of tool, http or syscall/],
  ['a request that is local', loadCatalogue, 'actions:\n  - name: fs.read\n    local: fs\n    match: [{ http: { host: x.org } }]\n', 'NEMO_E_POLICY_TYPE', 4, 13, /only tools/],
  ['a local name without saying so', loadCatalogue, 'actions:\n  - { name: process.exec, match: [{ tool: bash }] }\n', 'NEMO_E_POLICY_TYPE', 2, 13, /local: process/],
  ['a default provider that is not there', loadInference, 'providers:\n  - { name: a, kind: demo, endpoint: "http://127.0.0.1/v1", model: m, location: local }\ndefault: b\n', 'NEMO_E_POLICY_TYPE', 3, 10, /No provider/],
  ['a file outside the blueprint', loadBlueprint, blueprint.replace('s.yaml', '../s.yaml'), 'NEMO_E_POLICY_TYPE', 8, 19, /inside the blueprint/],
  ['a version that is none', loadBlueprint, blueprint.replace('1.0.0', '"1.0"'), 'NEMO_E_POLICY_TYPE', 4, 10, /1\.2\.3/],
  ['a number where text is meant', loadBlueprint, blueprint.replace('1.0.0', '1.0'), 'NEMO_E_POLICY_TYPE', 4, 10, /quotes/],
];

for (const [what, load, text, code, line, column, words] of wrong) {
  test(`${what} is refused with its place`, () => {
    assert.throws(
      () => load(text, 'dir/policy.yaml'),
      (error: unknown) => {
        assert.ok(error instanceof NemoError, String(error));
        const seen = { code: error.code, ...error.where, said: `${error.message} ${error.why ?? ''} ${error.fix}` };
        assert.deepEqual({ code: seen.code, file: seen.file, line: seen.line, column: seen.column }, { code, file: 'dir/policy.yaml', line, column }, seen.said);
        assert.match(seen.said, words);
        return true;
      },
    );
  });
}

test('several problems: the first by position, and how many more', () => {
  const text = `${network}    allow:\n      - domain: x.org\n        ports: [0]\n        methods: [get]\n      - domain: y.org\n        prots: [1]\n`;
  assert.throws(() => loadNetworkPolicy(text, 'n.yaml'), (error: unknown) => error instanceof NemoError && error.where?.line === 6 && /and 2 more problems/.test(error.message));
});

test('text nested too deeply is refused, not crashed on', () => {
  for (const text of ['['.repeat(50_000), `a: ${'{ b: '.repeat(100)}1${' }'.repeat(100)}`]) {
    assert.throws(() => loadSandboxPolicy(text, 's.yaml'), (error: unknown) => error instanceof NemoError && error.code === 'NEMO_E_POLICY_YAML');
  }
});

test('conditions that name nothing, or what cannot occur, are refused at their place', () => {
  const load = (rules: string) => () => loadNetworkPolicy(`networkPolicy:\n  name: t\n  egress:\n    ${rules}\n`, 'n.yaml');
  for (const [rules, words] of [
    ['deny: [{ domain: a.org, query: {} }]', /names nothing/],
    ['escalate: [{ domain: a.org, headers: {} }]', /names nothing/],
    ['allow: [{ domain: a.org, query: { a: "*" }, queryRequired: [b] }]', /not among those of `query`/],
    ['allow: [{ domain: a.org, queryRequired: [b] }]', /not among those of `query`/],
  ] as const) assert.throws(load(rules), (error: unknown) => error instanceof NemoError && error.where?.line === 4 && words.test(error.message), rules);
  assert.doesNotThrow(load('allow: [{ domain: a.org, query: {} }]'));
});
