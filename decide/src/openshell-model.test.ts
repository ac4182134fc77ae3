/**
 * OpenShell's network files of every protocol, generated, against a small model of what OpenShell itself lets pass, written from its documentation and
 * not from our reader: whatever we allow, the model allows.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NemoError, type ActionRequest, type AppMessage } from '@nemoclaw/contract';
import { decide } from './decide.ts';
import { needsMessage } from './needs.ts';
import type { CompiledPolicy } from './policy.ts';
import { connectRequest, httpRequest, policyOf } from './sample.test.ts';

type Matcher = string | { readonly any: readonly string[] };
interface Rule {
  readonly method?: string;
  readonly path?: string;
  readonly query?: Readonly<Record<string, Matcher>>;
  readonly operation_type?: string;
  readonly operation_name?: string;
  readonly fields?: readonly string[];
  readonly tool?: Matcher;
}
interface Endpoint {
  readonly host: string;
  readonly port?: number;
  readonly ports?: readonly number[];
  readonly path?: string;
  readonly protocol?: string;
  readonly tls?: string;
  readonly enforcement?: string;
  readonly access?: string;
  readonly rules?: readonly { readonly allow: Rule }[];
  readonly deny_rules?: readonly Rule[];
  readonly mcp?: { readonly strict_tool_names?: boolean; readonly allow_all_known_mcp_methods?: boolean };
}
interface Policy {
  readonly endpoints: readonly Endpoint[];
  readonly binaries: readonly { readonly path: string }[];
}
type Content = { readonly is: 'nothing' | 'websocket' } | { readonly is: 'graphql'; readonly operation: 'query' | 'mutation' | 'subscription'; readonly name: string; readonly fields: readonly string[] } | { readonly is: 'rpc'; readonly method: string; readonly tool: string };
interface Asked {
  readonly host: string;
  readonly port: number;
  readonly program: string;
  readonly method: string;
  readonly path: string;
  readonly query: readonly (readonly [string, string])[];
  readonly content: Content;
}

// ---- their meaning

/** `*` and `**` are any run of characters, a slash too. */
const glob = (pattern: string, text: string): boolean => new RegExp(`^${pattern.replaceAll(/[.+^$()|\\{}]/g, '\\$&').replaceAll(/\*+/g, '.*').replaceAll('?', '.')}$`, 's').test(text);
const any = (matcher: Matcher | undefined, text: string): boolean => matcher === undefined || (typeof matcher === 'string' ? [matcher] : matcher.any).some((one) => glob(one, text));
const hostFits = (pattern: string, host: string): boolean => new RegExp(`^${pattern.replaceAll('.', '\\.').replace('**', '.+').replace(/^\*/, '[^.]+')}$`).test(host);
const programFits = ({ binaries }: Policy, program: string): boolean => binaries.length === 0 || binaries.some(({ path }) => (path.endsWith('/**') ? program.startsWith(path.slice(0, -2)) : program === path));
const knownMcp = /^(initialize|ping|notifications\/.*|tools\/.*|resources\/.*|prompts\/.*|completion\/complete|logging\/setLevel|tasks\/.*)$/;
const presets: Readonly<Record<string, readonly string[]>> = { 'read-only': ['GET', 'HEAD', 'OPTIONS'], 'read-write': ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH'] };

function queryFits(rule: Rule, { query }: Asked): boolean {
  return Object.entries(rule.query ?? {}).every(([name, matcher]) => query.some(([n]) => n === name) && query.every(([n, value]) => n !== name || any(matcher, value)));
}
const requestFits = (rule: Rule, asked: Asked): boolean => (rule.method === '*' || rule.method === asked.method) && (rule.path === undefined || glob(rule.path, asked.path)) && queryFits(rule, asked);

/** Whether one rule is about what is asked. */
function ruleFits({ protocol, mcp }: Endpoint, rule: Rule, asked: Asked, denies: boolean): boolean {
  const { content } = asked;
  if (protocol === 'rest') return requestFits(rule, asked);
  if (protocol === 'graphql') {
    if (content.is !== 'graphql' || (rule.operation_type !== '*' && rule.operation_type !== content.operation) || !any(rule.operation_name, content.name)) return false;
    const named = (field: string): boolean => any({ any: rule.fields ?? [] }, field);
    return rule.fields === undefined || rule.fields.length === 0 || (denies ? content.fields.some(named) : content.fields.every(named));
  }
  if (content.is !== 'rpc') return false;
  if (protocol === 'json-rpc') return rule.method === '*' || rule.method === content.method;
  if (protocol !== 'mcp') return false;
  if (!denies && content.tool !== '' && mcp?.strict_tool_names !== false && !/^[A-Za-z0-9_.-]{1,128}$/.test(content.tool)) return false;
  const method = rule.tool === undefined ? (rule.method === undefined ? knownMcp.test(content.method) : glob(rule.method, content.method)) : content.method === 'tools/call';
  return method && (content.method !== 'tools/call' || any(rule.tool, content.tool));
}

function presetFits({ protocol, access = '' }: Endpoint, asked: Asked): boolean {
  if (protocol === 'graphql') return asked.content.is === 'graphql' && (access === 'full' || asked.content.operation === 'query' || (access === 'read-write' && asked.content.operation === 'mutation'));
  return access === 'full' || presets[access]?.includes(asked.method) === true;
}

/** Opened by a GET, spoken through by WEBSOCKET_TEXT. */
function websocketPasses(endpoint: Endpoint, asked: Asked): boolean {
  if (asked.content.is !== 'websocket') return presetFits(endpoint, asked) || endpoint.rules?.some(({ allow }) => requestFits(allow, asked)) === true;
  const may = (method: string): boolean => {
    const step = { ...asked, method };
    if (endpoint.deny_rules?.some((rule) => requestFits(rule, step)) === true) return false;
    return endpoint.access === 'full' || endpoint.access === 'read-write' || endpoint.rules?.some(({ allow }) => requestFits(allow, step)) === true;
  };
  return may('GET') && may('WEBSOCKET_TEXT');
}

/** Whether OpenShell lets it pass: some endpoint of the host, port, path and program does. Violations of what is not `enforce` are forwarded. */
function theirs(policies: Readonly<Record<string, Policy>>, asked: Asked): boolean {
  return Object.values(policies).some((policy) =>
    policy.endpoints.some((endpoint) => {
      if (!reaches(policy, endpoint, asked)) return false;
      if (isOpaque(endpoint)) return true;
      if (endpoint.path !== undefined && !glob(endpoint.path, asked.path)) return false;
      if (endpoint.enforcement !== 'enforce') return true;
      if (endpoint.protocol === 'websocket') return websocketPasses(endpoint, asked);
      if (endpoint.deny_rules?.some((rule) => ruleFits(endpoint, rule, asked, true)) === true) return false;
      if (endpoint.access !== undefined) return presetFits(endpoint, asked);
      if (endpoint.rules === undefined) return endpoint.mcp?.allow_all_known_mcp_methods === true && ruleFits(endpoint, {}, asked, false);
      return endpoint.rules.some(({ allow }) => ruleFits(endpoint, allow, asked, false));
    }),
  );
}
const reaches = (policy: Policy, endpoint: Endpoint, { host, port, program }: Pick<Asked, 'host' | 'port' | 'program'>): boolean => hostFits(endpoint.host, host) && (endpoint.ports ?? [endpoint.port]).includes(port) && programFits(policy, program);
const isOpaque = ({ protocol, tls }: Endpoint): boolean => protocol === undefined || protocol === 'tcp' || tls === 'skip';

// ---- ours

/** What the proxy reads of a request where rules want it read. */
function messagesOf(policy: CompiledPolicy, request: ActionRequest, content: Content): readonly (AppMessage | undefined)[] {
  if (content.is === 'websocket') return [{ protocol: 'websocket' }];
  assert.ok(request.resource.kind === 'http');
  const wanted = needsMessage(policy, request.resource);
  if (wanted.length === 0) return [undefined];
  const read = wanted.flatMap((protocol): AppMessage[] => {
    if (protocol === 'graphql' && content.is === 'graphql') return [{ protocol, operation: content.operation, name: content.name, fields: content.fields }];
    if (protocol === 'mcp' && content.is === 'rpc') return [{ protocol, method: content.method, tool: content.tool, arguments: {} }];
    return protocol === 'json-rpc' && content.is === 'rpc' ? [{ protocol, method: content.method }] : [];
  });
  return read.length === 0 ? [{ protocol: 'none' }] : read;
}

function ours(policy: CompiledPolicy, asked: Asked): boolean {
  const query = asked.query.length === 0 ? '' : `?${asked.query.map((pair) => pair.join('=')).join('&')}`;
  const bare = httpRequest(policy, `${asked.method} https://${asked.host}:${asked.port}${asked.path}${query}`);
  assert.ok(bare.resource.kind === 'http');
  const request = { ...bare, resource: { ...bare.resource, program: asked.program } };
  return messagesOf(policy, request, asked.content).every((message) => decide(policy, message === undefined ? request : { ...request, resource: { ...request.resource, message } }).verdict === 'allow');
}

// ---- generated files and requests

const path = fc.constantFrom('/a', '/a/**', '/a/*/c', '/*', '/**', '/b*', '**/c', '/a/b');
const query = fc.option(fc.dictionary(fc.constantFrom('state', 'q'), fc.oneof(fc.constantFrom('open', 'o*', '*'), fc.record({ any: fc.constantFrom(['open'], ['x', 'o*']) })), { maxKeys: 2 }), { nil: undefined });
const matcher = fc.oneof(fc.constantFrom('search', 'crm_*', '*', 'shell'), fc.record({ any: fc.constantFrom(['search'], ['crm_*', 'shell']) }));
const option = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });
const ruleOf = (protocol: string, denies: boolean): fc.Arbitrary<Rule> => {
  const paths = denies ? fc.oneof(path, fc.constantFrom('/a/?', '/[ab]', '/a/[bc]/**')) : path;
  if (protocol === 'rest') return fc.record({ method: fc.constantFrom('GET', 'POST', 'DELETE', '*'), path: denies ? option(paths) : paths, query }) as fc.Arbitrary<Rule>;
  if (protocol === 'websocket') return fc.record({ method: fc.constantFrom('GET', 'WEBSOCKET_TEXT', '*'), path: fc.constantFrom('/a', '/**') });
  if (protocol === 'graphql') return fc.record({ operation_type: fc.constantFrom('query', 'mutation', '*'), operation_name: option(fc.constantFrom('Get*', 'Issue')), fields: option(fc.subarray(['viewer', 'repo*', 'secrets'])) }) as fc.Arbitrary<Rule>;
  if (protocol === 'mcp') return fc.oneof(fc.record({ method: fc.constant('tools/call'), tool: option(matcher) }), fc.record({ method: option(fc.constantFrom('initialize', 'tools/list', 'tools/*')) })) as fc.Arbitrary<Rule>;
  return fc.record({ method: fc.constantFrom('eth_call', 'eth_send', '*') });
};
const protocols = ['rest', 'rest', 'websocket', 'graphql', 'graphql', 'mcp', 'mcp', 'mcp', 'json-rpc', 'tcp', ''] as const;
const endpoint: fc.Arbitrary<Endpoint> = fc.constantFrom(...protocols).chain((protocol) => {
  const ruled = protocol !== 'tcp' && protocol !== '';
  const presetted = protocol === 'rest' || protocol === 'graphql' || protocol === 'websocket';
  return fc
    .record({
      where: fc.constantFrom({ port: 443 }, { port: 8443 }, { ports: [443, 8443] }),
      host: fc.constantFrom('x.example.com', 'X.example.com', '*.example.com', '**.example.com', 'api.x.example.com'),
      path: ruled ? option(fc.constantFrom('/a', '/a/**', '/b/**', '**')) : fc.constant(undefined),
      tls: protocol === '' ? option(fc.constantFrom('skip', 'terminate')) : option(fc.constantFrom('terminate')),
      enforcement: fc.oneof({ weight: 6, arbitrary: fc.constant<string | undefined>('enforce') }, { weight: 1, arbitrary: fc.constantFrom('audit', undefined) }),
      access: presetted ? option(fc.constantFrom('read-only', 'read-write', 'full')) : fc.constant(undefined),
      rules: fc.array(ruleOf(protocol, false).map((allow) => ({ allow })), { minLength: 1, maxLength: 3 }),
      deny_rules: option(fc.array(ruleOf(protocol, true), { minLength: 1, maxLength: 2 })),
      mcp: protocol === 'mcp' ? option(fc.record({ strict_tool_names: fc.boolean(), allow_all_known_mcp_methods: fc.boolean() })) : fc.constant(undefined),
      bare: fc.boolean(),
    })
    .map(({ where, rules, deny_rules: denials, access, bare, ...rest }) => {
      const all = protocol === 'mcp' && bare && rest.mcp?.allow_all_known_mcp_methods === true;
      return strip({ ...rest, ...where, protocol: protocol === '' ? undefined : protocol, access, rules: ruled && access === undefined && !all ? rules : undefined, deny_rules: ruled ? denials : undefined }) as Endpoint;
    });
});
function strip(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
const policy: fc.Arbitrary<Policy> = fc.record({ endpoints: fc.array(endpoint, { minLength: 1, maxLength: 2 }), binaries: fc.subarray([{ path: '/usr/bin/gh' }, { path: '/opt/tools/**' }]) });
const content: fc.Arbitrary<Content> = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Content>({ is: 'nothing' }) },
  fc.constant<Content>({ is: 'websocket' }),
  { weight: 2, arbitrary: fc.record({ is: fc.constant('graphql' as const), operation: fc.constantFrom('query' as const, 'mutation' as const, 'subscription' as const), name: fc.constantFrom('', 'GetX', 'Issue'), fields: fc.subarray(['viewer', 'repository', 'secrets'], { minLength: 1 }) }) },
  { weight: 6, arbitrary: fc.constantFrom(...['initialize', 'tools/list', 'resources/read', 'evil/do', 'eth_call', 'eth_send'].map((method) => ({ is: 'rpc' as const, method, tool: '' })), ...['search', 'crm_read', 'crm_x y', 'shell'].map((tool) => ({ is: 'rpc' as const, method: 'tools/call', tool }))) },
);
const asked: fc.Arbitrary<Asked> = fc
  .record({
    host: fc.constantFrom('x.example.com', 'x.example.com', 'api.x.example.com', 'a.b.example.com', 'example.com'),
    port: fc.constantFrom(443, 8443, 80),
    program: fc.constantFrom('/usr/bin/gh', '/opt/tools/bin/x', '/usr/bin/curl', ''),
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE'),
    path: fc.constantFrom('/a', '/a/b', '/a/x/c', '/b', '/bc', '/b/c', '/'),
    query: fc.constantFrom<readonly (readonly [string, string])[]>([], [], [['state', 'open']], [['state', 'x']], [['q', 'open']], [['state', 'open'], ['q', 'x']], [['state', 'open'], ['state', 'x']]),
    content,
  })
  .map((one) => ({ ...one, method: one.content.is === 'websocket' ? 'GET' : one.content.is === 'nothing' ? one.method : 'POST' }));

test('whatever a generated OpenShell file allows here, OpenShell allows, in every protocol', () => {
  const allowed = new Map<string, number>();
  let [loaded, opaque] = [0, 0];
  fc.assert(
    fc.property(fc.array(policy, { minLength: 1, maxLength: 2 }), fc.array(asked, { minLength: 20, maxLength: 30 }), (list, requests) => {
      const policies = Object.fromEntries(list.map((one, i) => [`p${i}`, one]));
      const text = JSON.stringify({ version: 1, network_policies: policies });
      let read: CompiledPolicy;
      try {
        read = policyOf({ network: text });
      } catch (error) {
        // what cannot mean the same is refused, and so starts nothing
        assert.ok(error instanceof NemoError && error.where !== undefined, String(error));
        return;
      }
      loaded += 1;
      const lower = Object.fromEntries(Object.entries(policies).map(([name, one]) => [name, { ...one, endpoints: one.endpoints.map((e) => ({ ...e, host: e.host.toLowerCase() })) }]));
      const endpoints = Object.values(lower).flatMap((one) => one.endpoints.map((e) => ({ policy: one, e })));
      for (const request of requests) {
        if (ours(read, request)) {
          const through = endpoints.find(({ policy: one, e }) => reaches(one, e, request))?.e;
          allowed.set(through?.protocol ?? 'none', (allowed.get(through?.protocol ?? 'none') ?? 0) + 1);
          assert.ok(theirs(lower, request), `${text}\n${JSON.stringify(request)}`);
        }
        // what is passed on unread is what they do not look into either
        const connection = connectRequest(request.host, request.port);
        assert.ok(connection.resource.kind === 'host');
        const handling = read.network.handlingFor(request.host, request.port);
        if (handling === 'inspect' || decide(read, { ...connection, resource: { ...connection.resource, program: request.program } }).verdict !== 'allow') continue;
        opaque += 1;
        assert.ok(endpoints.some(({ policy: one, e }) => reaches(one, e, request) && isOpaque(e)), `${text}\n${handling} ${JSON.stringify(request)}`);
      }
    }),
    { numRuns: Number(process.env['NEMOCLAW_OPENSHELL'] ?? '2000'), seed: 20_261_123 },
  );
  const counts = JSON.stringify({ loaded, opaque, ...Object.fromEntries(allowed) });
  assert.ok(loaded > 300 && opaque > 300, counts);
  for (const protocol of ['rest', 'websocket', 'graphql', 'mcp', 'json-rpc', 'tcp', 'none']) assert.ok((allowed.get(protocol) ?? 0) > 15, counts);
});
