/** OpenShell's own files load unchanged and mean the same or stricter; what cannot be honoured is an error at its place. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkHost, foreignNotes, loadNetworkPolicy, loadSandboxPolicy, NemoError, unenforced, whereOf } from '../index.ts';

const example = (name: string): string => readFileSync(new URL(`../../vectors/policy/openshell/${name}.yaml`, import.meta.url), 'utf8');

test('a coding agent’s file: sandbox, paths and network, with what is stricter said', () => {
  const text = example('coding-agent');
  const policy = loadSandboxPolicy(text, 'theirs.yaml');
  assert.deepEqual(policy.spec.isolation, { network: 'restricted', filesystem: 'workspace', syscalls: 'standard' });
  assert.deepEqual(policy.spec.filesystem.readOnly, ['/usr', '/lib', '/etc', '/proc', '/app', '/var/log']);
  assert.deepEqual(policy.spec.filesystem.readWrite, ['/workspace', '/tmp']);
  assert.deepEqual(whereOf(policy, ['spec', 'filesystem', 'readOnly', 4]), { file: 'theirs.yaml', line: 12, column: 7 });
  assert.match(foreignNotes(policy).map((note) => note.text).join(), /\/sandbox is \/workspace here/);
  checkHost(policy, { tier: 'B' });

  const network = loadNetworkPolicy(text, 'theirs.yaml');
  const { allow, deny } = network.networkPolicy.egress;
  assert.deepEqual(allow.map((rule) => [rule.domain, rule.methods, rule.paths, rule.query]), [
    ['api.anthropic.com', undefined, undefined, undefined],
    ['api.github.com', ['GET', 'HEAD', 'OPTIONS'], undefined, undefined],
    ['github.com', ['GET'], ['/*/**/info/refs*'], { service: ['git-*'] }],
    ['github.com', ['POST'], ['/*/**/git-upload-pack'], undefined],
    ['github.com', ['POST'], ['/our-org/fork/git-receive-pack'], undefined],
    ['*.npmjs.org', ['GET', 'HEAD', 'OPTIONS'], undefined, undefined],
  ]);
  assert.deepEqual(deny.map((rule) => [rule.domain, rule.methods, rule.paths]), [['github.com', undefined, ['/secret-org/**']]]);
  assert.match(foreignNotes(network).map((note) => note.text).join(), /npmjs.org.*only recorded/);
  // Which program connects is not seen: refused at the place of the names, unless best-effort.
  assert.throws(() => checkHost(policy, { tier: 'B' }, { network }), (e: unknown) => e instanceof NemoError && e.code === 'NEMO_E_POLICY_NEEDS' && e.where?.line === 31 && /binaries/.test(e.message));
  assert.match(unenforced(policy, { tier: 'B' }, { network }).join('\n'), /binaries/);
});

test('a file without network and with a read-only working directory', () => {
  const policy = loadSandboxPolicy(example('locked-down'), 't.yaml');
  assert.deepEqual(policy.spec.isolation, { network: 'none', filesystem: 'read-only', syscalls: 'standard' });
  assert.deepEqual(policy.spec.filesystem.readWrite, ['/tmp', '/workspace/out']);
  assert.equal(policy.spec.process.user, 1500);
  assert.deepEqual(loadNetworkPolicy(example('locked-down'), 't.yaml').networkPolicy.egress.allow, []);
});

test('raw TCP to a named address, and a path of an endpoint joined with its denials', () => {
  const { allow, deny } = loadNetworkPolicy(example('database'), 't.yaml').networkPolicy.egress;
  assert.deepEqual(allow[0], { domain: 'db.internal.example', ports: [5432], addresses: ['10.1.2.3'], protocol: 'tcp' });
  assert.deepEqual(allow[1]?.paths, ['/v2/*/**']);
  assert.deepEqual(deny.map((rule) => [rule.methods, rule.paths]), [[['DELETE'], ['/**']], [undefined, ['/v2/admin/**']]]);
});

const sandbox = 'version: 1\nfilesystem_policy:\n  include_workdir: true\n  read_only: [/usr]\n';
const endpoint = (fields: string): string => `version: 1\nnetwork_policies:\n  a:\n    endpoints:\n      - { host: x.example.com, port: 443, ${fields} }\n`;
type Loader = (text: string, file: string) => unknown;
/** what, loader, text, line, column, words of the message */
const wrong: readonly (readonly [string, Loader, string, number, number, RegExp])[] = [
  ['another version', loadSandboxPolicy, 'version: 2\nlandlock: {}\n', 1, 10, /version/],
  ['an unknown field', loadSandboxPolicy, 'version: 1\nlandlok: {}\n', 2, 1, /Did you mean `landlock`/],
  ['a relative path', loadSandboxPolicy, 'version: 1\nfilesystem_policy: { read_only: [usr] }\n', 2, 34, /absolute/],
  ['dots', loadSandboxPolicy, 'version: 1\nfilesystem_policy: { read_only: [/usr/../etc] }\n', 2, 34, /\.\. part/],
  ['the whole file system', loadSandboxPolicy, 'version: 1\nfilesystem_policy: { include_workdir: true, read_write: [/] }\n', 2, 58, /whole file system/],
  ['a system directory made writable', loadSandboxPolicy, `${sandbox}  read_write: [/usr/local]\n`, 5, 16, /no sandbox may change/],
  ['no system directory', loadSandboxPolicy, 'version: 1\nfilesystem_policy: { include_workdir: true }\n', 2, 1, /shown \/usr/],
  ['no working directory', loadSandboxPolicy, 'version: 1\nfilesystem_policy: { read_only: [/usr] }\n', 2, 1, /working directory/],
  ['root', loadSandboxPolicy, `${sandbox}process: { run_as_user: root }\n`, 5, 12, /identity/],
  ['a group of its own', loadSandboxPolicy, `${sandbox}process: { run_as_user: "1500", run_as_group: "1600" }\n`, 5, 33, /group/],
  ['no port', loadNetworkPolicy, 'version: 1\nnetwork_policies:\n  a:\n    endpoints: [{ host: x.example.com }]\n', 4, 17, /port/],
  ['a wildcard inside a label', loadNetworkPolicy, endpoint('').replace('x.example', '"*-a.example').replace('.com', '.com"'), 5, 11, /part of a label/],
  ['a suffix that everybody shares', loadNetworkPolicy, endpoint('').replace('x.example.com', '"**.github.io"'), 5, 9, /too wide/],
  ['SQL', loadNetworkPolicy, endpoint('protocol: sql, access: full'), 5, 43, /statements/],
  ['persisted queries', loadNetworkPolicy, endpoint('protocol: graphql, access: full, persisted_queries: allow_registered'), 5, 76, /hash/],
  ['a registry of queries', loadNetworkPolicy, endpoint('protocol: graphql, access: full, graphql_persisted_queries: { a: { operation_type: query } }'), 5, 76, /hash/],
  ['methods of GraphQL', loadNetworkPolicy, endpoint('protocol: graphql, rules: [{ allow: { method: GET, path: /x } }]'), 5, 81, /says nothing here/],
  ['a preset about tools', loadNetworkPolicy, endpoint('protocol: mcp, access: full'), 5, 58, /nothing about MCP/],
  ['arguments of tools', loadNetworkPolicy, endpoint('protocol: mcp, rules: [{ allow: { method: tools/call, params: { arguments.x: "1" } } }]'), 5, 97, /only params\.name/],
  ['a tool of another method', loadNetworkPolicy, endpoint('protocol: mcp, rules: [{ allow: { method: initialize, tool: x } }]'), 5, 97, /names no tool/],
  ['all methods of MCP', loadNetworkPolicy, endpoint('protocol: mcp, rules: [{ allow: { method: "*" } }]'), 5, 77, /tools/],
  ['a pattern of JSON-RPC', loadNetworkPolicy, endpoint('protocol: json-rpc, rules: [{ allow: { method: "eth_*" } }]'), 5, 82, /named whole/],
  ['a WebSocket that is only listened to', loadNetworkPolicy, endpoint('protocol: websocket, rules: [{ allow: { method: GET, path: /a } }]'), 5, 74, /not spoken through/],
  ['operations in a WebSocket', loadNetworkPolicy, endpoint('protocol: websocket, rules: [{ allow: { operation_type: query } }]'), 5, 74, /inside a WebSocket/],
  ['requests beside GraphQL', loadNetworkPolicy, `${endpoint('protocol: graphql, path: /graphql, access: read-only')}      - { host: x.example.com, port: 443, protocol: rest, access: full }\n`, 5, 9, /Give both a path/],
  ['rules without protocol', loadNetworkPolicy, endpoint('access: read-only'), 5, 9, /no protocol/],
  ['rest without rules', loadNetworkPolicy, endpoint('protocol: rest'), 5, 9, /neither access nor rules/],
  ['access and rules', loadNetworkPolicy, endpoint('protocol: rest, access: full, rules: [{ allow: { method: GET, path: /a } }]'), 5, 59, /both/],
  ['an empty list of rules', loadNetworkPolicy, endpoint('protocol: rest, rules: []'), 5, 59, /rules/],
  ['closed TLS', loadNetworkPolicy, endpoint('protocol: rest, access: full, tls: skip'), 5, 73, /TLS is not opened/],
  ['a class in a path', loadNetworkPolicy, endpoint('protocol: rest, rules: [{ allow: { method: GET, path: "/v[12]/x" } }]'), 5, 91, /cannot be expressed/],
  ['two paths', loadNetworkPolicy, endpoint('path: /a/*, protocol: rest, rules: [{ allow: { method: GET, path: "/b/*" } }]'), 5, 103, /both match/],
  ['loopback as a range', loadNetworkPolicy, endpoint('allowed_ips: [127.0.0.0/8]'), 5, 57, /loopback/],
  ['credentials in bodies', loadNetworkPolicy, endpoint('protocol: rest, access: full, request_body_credential_rewrite: true'), 5, 73, /headers only/],
  ['middleware', loadNetworkPolicy, 'version: 1\nnetwork_middlewares:\n  redact: { middleware: openshell/regex, order: 10 }\n', 3, 3, /middleware/],
];
for (const [what, load, text, line, column, words] of wrong) {
  test(`${what} is refused at its place`, () => {
    assert.throws(() => load(text, 't.yaml'), (error: unknown) => {
      assert.ok(error instanceof NemoError, String(error));
      assert.match(`${error.message} ${error.fix}`, words);
      assert.deepEqual([error.where?.line, error.where?.column], [line, column], error.message);
      return true;
    });
  });
}
