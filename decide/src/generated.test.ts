/** Generators of policies and requests for the property tests; small pools, so that rules and requests meet. */
import fc from 'fast-check';
import { approvalPolicySchema, catalogueSchema, emptyHistory, networkPolicySchema, sandboxPolicySchema, unlabelled, type ActionRequest, type AppMessage, type FileOp, type HeaderValues } from '@nemoclaw/contract';
import { compilePolicy } from './compile.ts';
import { resolveHttp, resolveTool, type CompiledPolicy } from './policy.ts';

const exact = ['a.test', 'b.a.test', 'c.b.a.test', 'x.org', '10.0.0.1', 'deep.x.org'];
const wild = ['*.a.test', '?.a.test', '*.b.a.test', '*.x.org', '?.x.org'];
const methods = ['GET', 'POST', 'DELETE'];
const paths = ['/v1/*', '/v1/**', '/admin', '/v1/a*b/c', '/**/secret', '/'];
const maybe = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: arb });
const some = <T>(pool: readonly T[]): fc.Arbitrary<T[]> => fc.uniqueArray(fc.constantFrom(...pool), { minLength: 1, maxLength: 2 });
const query = fc.record({ q: fc.constantFrom('1', 'a*', '*') });
const programs = ['/usr/bin/curl', '/opt/**'];
const inside = fc.constantFrom<Readonly<Record<string, unknown>>>(
  { headers: { 'x-tenant': 'acme' } }, { headers: { 'x-tenant': ['acme', 'b*'], accept: '*' } }, { protocol: 'http' }, { protocol: 'websocket' }, { protocol: 'grpc' }, { protocol: 'tcp', ports: [8443] },
  { graphql: { operations: ['query'], fields: ['viewer', 'repo*'] } }, { graphql: { names: ['Get*'] } }, { mcp: { tools: ['search', 'crm_*'], arguments: { amount: { max: 100 } } } }, { mcp: { methods: ['tools/*', 'initialize'] } },
  { jsonRpc: { methods: ['eth_*'] } }, { smtp: { recipients: ['*@acme.example'], starttls: 'required' } }, { protocol: 'smtp' },
);
/** A condition inside a request in half of the rules; HTTP words only where the protocol has them. */
const withInside = <T extends Record<string, unknown>>(given: fc.Arbitrary<T>): fc.Arbitrary<Record<string, unknown>> =>
  fc.tuple(given, fc.oneof(fc.constant<Readonly<Record<string, unknown>>>({}), inside), fc.constantFrom(undefined, undefined, undefined, 'monitor')).map(([rule, more, mode]) => {
    const { methods, paths, query, ...bare } = rule;
    const own = more['protocol'] === 'tcp' || more['protocol'] === 'smtp' || more['smtp'] !== undefined;
    // two protocols of their own on one port are refused by the loader, and so is an action of what is passed on unread
    return { ...bare, ...(more['protocol'] === 'tcp' ? { as: undefined } : {}), ...(own ? {} : { methods, paths, query }), ...more, ...(more['smtp'] === undefined && more['protocol'] !== 'smtp' ? {} : { ports: [25] }), mode };
  });
const conditions = { binaries: maybe(some(programs)), methods: maybe(some(methods)), ports: maybe(some([80, 443, 8443])), paths: maybe(some(paths)), query: maybe(query) };
const rule = (domains: readonly string[], as: boolean) =>
  withInside(fc.record({ domain: fc.constantFrom(...domains), ...conditions, ...(as ? { as: maybe(fc.constantFrom('crm.read', 'admin.reset')) } : {}) })).map((r) => Object.fromEntries(Object.entries(r).filter(([, v]) => v !== undefined)));

const names = ['crm.read', 'crm.update', 'admin.reset', 'admin.user.drop', 'pay.send', 'mail.send', 'other'];
const patterns = ['crm.read', 'crm.*', 'admin.*', 'admin.user.*', 'pay.send', 'mail.*', 'mail.send', 'fs.write'];
const thresholds = ['always', 'external-only', 'above-100-usd', 'above-0.50-usd'];
const folders = ['/workspace', '/workspace/keys', '/workspace/prod', '/workspace/prod/db', '/data', '/usr/bin', '/tmp/x'];
const pattern = fc.tuple(fc.constantFrom(...folders), fc.boolean()).map(([p, sub]) => (sub ? `${p}/**` : p));
const list = (max = 2) => fc.array(pattern, { maxLength: max });

export const policies: fc.Arbitrary<CompiledPolicy> = fc
  .record({
    network: fc.record({
      allow: fc.array(rule([...exact, ...wild], true), { maxLength: 6 }),
      escalate: fc.array(rule([...exact, ...wild, '*'], false), { maxLength: 3 }),
      // STARTTLS is refused in a denial
      deny: fc.array(rule([...exact, ...wild, '*', '*.test', '?.test'], false).map((r) => (r['smtp'] === undefined ? r : { ...r, smtp: { recipients: ['*@acme.example'] } })), { maxLength: 4 }),
    }),
    none: fc.integer({ min: 0, max: 15 }).map((n) => n === 0),
    open: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    workspace: fc.boolean(),
    allowed: fc.array(fc.constantFrom(...patterns), { maxLength: 5 }),
    denied: fc.array(fc.constantFrom(...patterns, '*'), { maxLength: 2 }),
    triggers: fc.array(fc.record({ action: fc.constantFrom(...patterns), threshold: fc.constantFrom(...thresholds) }), { maxLength: 4 }),
    domains: fc.constantFrom([], ['acme.example'], ['acme.example', 'acme.test']),
    files: fc.record({ readOnly: list(), readWrite: list(), deny: list(), escalate: fc.array(fc.record({ path: pattern, on: some<FileOp>(['delete', 'rename', 'write']) }), { maxLength: 2 }) }),
    exec: fc.record({ allow: list(1), escalate: list(1) }),
    calls: some(['kill', 'connect']),
    role: fc.constantFrom('', 'support'),
  })
  .map((g) =>
    compilePolicy(
      {
        sandboxPolicy: sandboxPolicySchema.parse({
          apiVersion: 'openshell.nvidia.com/v1',
          kind: 'SandboxPolicy',
          metadata: { name: 'generated' },
          spec: {
            isolation: { network: g.none ? 'none' : g.open ? 'open' : 'restricted', filesystem: g.workspace ? 'workspace' : 'read-only' },
            permissions: { allowedAPIs: g.allowed, deniedAPIs: g.denied },
            filesystem: g.files,
            process: { exec: g.exec },
            syscalls: { escalate: g.calls },
          },
        }),
        network: networkPolicySchema.parse({ networkPolicy: { name: 'generated', egress: g.network } }),
        approvals: approvalPolicySchema.parse({ triggers: g.triggers }),
        catalogue: catalogueSchema.parse({
          organization: { domains: g.domains },
          actions: [
            { name: 'crm.read', match: [{ tool: 'crm_read' }, { http: { host: 'a.test', method: 'GET', path: '/v1/{id}' } }] },
            { name: 'crm.update', match: [{ tool: 'crm_*' }, { http: { host: '*.a.test', method: 'POST' } }] },
            { name: 'pay.send', match: [{ tool: 'pay' }, { http: { host: 'x.org', path: '/v1/**' } }], attributes: { amountUsd: '$.amount / 100' } },
            { name: 'mail.send', match: [{ tool: 'mail' }], attributes: { recipient: '$.to', recipientCc: '$.cc' } },
            { name: 'fs.write', local: 'fs', match: [{ tool: 'write' }] },
          ],
        }),
        role: g.role,
      },
      1,
    ),
  );

const text = fc.constantFrom('a@acme.example', 'b@evil.example', 'A <a@acme.example>', 'a@acme.example, b@acme.test', 'not an address', '');
const amount = fc.oneof(fc.integer({ min: -10, max: 30_000 }), fc.double(), fc.constantFrom(10_000, 10_000.4, 50, '100', null));
const values = fc.oneof(text, amount, fc.array(text, { maxLength: 2 }), fc.boolean());
const params = fc.dictionary(fc.constantFrom('to', 'cc', 'amount', 'amountUsd', 'recipient', 'id'), values, { maxKeys: 4 }).map((o) => new Map<string, unknown>(Object.entries(o)));
const hosts = [...exact, ...exact, 'z.a.test', 'unknown.example', 'A.TEST', 'a.test.', '.a.test', 'a..test', 'x y.a.test', ''];
const urlPaths = ['/', '/v1/x', '/v1/a/b', '/v1', '/v1/', '/admin', '/ADMIN/', '//admin', '/admin;x=1', '/v1/a1b/c', '/x/y/secret', '/secret'];
const filePaths = [...folders, '/workspace/keys/k', '/workspace/prod/db/x', '/workspace/free', '/etc/passwd', '/root', '/tmp/y', '/', '/workspace/../etc', 'rel'];

const messages = fc.constantFrom<AppMessage>(
  { protocol: 'none' }, { protocol: 'websocket' }, { protocol: 'grpc' }, { protocol: 'graphql', operation: 'query', name: 'GetIt', fields: ['viewer'] }, { protocol: 'graphql', operation: 'mutation', name: '', fields: ['viewer', 'drop'] },
  { protocol: 'mcp', method: 'initialize', tool: '', arguments: {} }, { protocol: 'mcp', method: 'tools/call', tool: 'search', arguments: { amount: 5 } }, { protocol: 'mcp', method: 'tools/call', tool: 'crm_x', arguments: { amount: '500' } },
  { protocol: 'mcp', method: '', tool: '', arguments: {} }, { protocol: 'json-rpc', method: 'eth_call' }, { protocol: 'smtp', recipients: ['a@ACME.example'], tls: true }, { protocol: 'smtp', recipients: ['a@acme.example', 'b@evil.example'], tls: true }, { protocol: 'redis', command: '' },
);
const given = fc.record({
  headers: fc.constantFrom<HeaderValues | undefined>(undefined, {}, { 'x-tenant': ['acme'], accept: ['a/b'] }, { 'x-tenant': ['acme', 'evil'] }, { 'x-tenant': ['x, acme'] }),
  message: fc.option(messages, { nil: undefined }),
  program: fc.constantFrom(undefined, undefined, '', '/usr/bin/curl', '/opt/a/b', '/usr/bin/curly'),
});
interface Known { readonly headers?: HeaderValues; readonly message?: AppMessage; readonly program?: string }
const known = <T extends object>(o: T): T => Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;

/** Requests as callers make them: tools and HTTP resolved by the catalogue first. */
export const requests: fc.Arbitrary<(policy: CompiledPolicy) => ActionRequest> = fc
  .record({
    kind: fc.constantFrom('tool', 'http', 'http', 'http', 'connect', 'connect', 'dns', 'file', 'call', 'none'),
    role: fc.constantFrom('', 'support', 'support', 'other'),
    tool: fc.constantFrom('crm_read', 'crm_x', 'pay', 'mail', 'write', 'unknown'),
    action: fc.constantFrom(...names),
    host: fc.constantFrom(...hosts),
    port: fc.constantFrom(80, 443, 8443, 25),
    method: fc.constantFrom(...methods),
    path: fc.constantFrom(...urlPaths),
    query: fc.array(fc.tuple(fc.constantFrom('q', 'r'), fc.constantFrom('1', 'abc', '')), { maxLength: 2 }),
    params,
    file: fc.constantFrom(...filePaths),
    toFile: fc.option(fc.constantFrom(...filePaths), { nil: undefined }),
    op: fc.constantFrom<FileOp>('read', 'write', 'create', 'delete', 'rename', 'exec', 'connect'),
    call: fc.constantFrom('kill', 'connect', 'ptrace'),
    given,
  })
  .map((g) => (policy: CompiledPolicy): ActionRequest => {
    const base = { sandbox: 'sb-1', role: g.role, task: 't', labels: unlabelled, provenance: new Map(), history: emptyHistory, action: '', params: g.params };
    if (g.kind === 'tool') return { ...base, source: 'model', ...resolveTool(policy, g.tool, g.params), resource: { kind: 'tool', name: g.tool } };
    if (g.kind === 'http') {
      const resource = { kind: 'http' as const, host: g.host, port: g.port, method: g.method, path: g.path, query: g.query, tls: true, ...(known(g.given) as Known) };
      const resolved = resolveHttp(policy, resource, g.params);
      return { ...base, source: 'http', ...(resolved ?? {}), resource };
    }
    if (g.kind === 'connect' || g.kind === 'dns') return { ...base, source: g.kind, resource: { kind: 'host', host: g.host, port: g.port, ...(known(g.kind === 'dns' ? { program: g.given.program } : { message: g.given.message, program: g.given.program }) as Omit<Known, 'headers'>) } };
    if (g.kind === 'file') return { ...base, source: 'syscall', resource: { kind: 'file', path: g.file, op: g.op, ...(g.toFile === undefined ? {} : { toPath: g.toFile }) } };
    if (g.kind === 'call') return { ...base, source: 'syscall', resource: { kind: 'call', name: g.call, args: '' } };
    return { ...base, source: 'hook', action: g.action, resource: { kind: 'none' } };
  });
