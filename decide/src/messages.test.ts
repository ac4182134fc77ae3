/** Rules on headers, on what application protocols say, on programs, and rules that only watch. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ActionRequest, AppMessage, HeaderValues } from '@nemoclaw/contract';
import { decide } from './decide.ts';
import { headersNamed, needsBody, needsMessage, termsOf } from './needs.ts';
import type { CompiledPolicy } from './policy.ts';
import { ask, connectRequest, httpRequest, policyOf } from './sample.test.ts';

interface Inside { readonly headers?: HeaderValues; readonly message?: AppMessage; readonly program?: string }
function request(policy: CompiledPolicy, text: string, inside: Inside): ActionRequest & { readonly resource: { readonly kind: 'http' } } {
  const made = httpRequest(policy, text);
  if (made.resource.kind !== 'http') throw new Error(text);
  return { ...made, resource: { ...made.resource, ...inside } };
}
const at = (egress: string) => {
  const policy = policyOf({ egress });
  return (text: string, inside: Inside): string => ask(policy, request(policy, text, inside));
};
function said(host: string, port: number, message: AppMessage): ActionRequest {
  return { ...connectRequest(host, port), resource: { kind: 'host', host, port, message } };
}

test('headers: allow wants each with all its values, deny any of them, and what is not known allows nothing', () => {
  const http = at('    allow: [{ domain: a.org, headers: { x-tenant: [acme, "be*"], accept: "*" } }, { domain: b.org }]\n    deny: [{ domain: b.org, headers: { x-debug: "on*" } }]\n');
  const a = (headers: HeaderValues): string => http('GET https://a.org/', { headers });
  assert.equal(a({ 'x-tenant': ['acme'], accept: ['x/y'] }), 'allow egress.allow[0]');
  assert.equal(a({ 'x-tenant': ['acme', 'beta'], accept: ['x/y'] }), 'allow egress.allow[0]');
  for (const headers of [{}, { 'x-tenant': ['acme'] }, { 'x-tenant': ['acme', 'evil'], accept: ['x'] }, { 'x-tenant': ['ACME'], accept: ['x'] }, { 'x-tenant': ['acme, evil'], accept: ['x'] }, { 'x-tenant': [], accept: ['x'] }]) assert.equal(a(headers), 'deny egress.allow[0]', JSON.stringify(headers));
  assert.equal(http('GET https://a.org/', {}), 'deny egress.allow[0]', 'unknown headers allow nothing');
  const b = (headers: HeaderValues): string => http('GET https://b.org/', { headers });
  assert.equal(b({}), 'allow egress.allow[1]');
  assert.equal(b({ 'x-debug': ['off'] }), 'allow egress.allow[1]');
  for (const headers of [{ 'x-debug': ['on'] }, { 'x-debug': ['off', 'ON'] }, { 'x-debug': ['off , One'] }]) assert.equal(b(headers), 'deny egress.deny[0]', JSON.stringify(headers));
  assert.equal(http('GET https://b.org/', {}), 'deny egress.deny[0]', 'unknown headers may be the denied ones');
});

test('WebSocket and gRPC: a rule on methods does not mean them, their own rules mean nothing else', () => {
  const http = at('    allow: [{ domain: get.org, methods: [GET] }, { domain: all.org }, { domain: plain.org, protocol: http }, { domain: ws.org, protocol: websocket, paths: [/feed] }, { domain: rpc.org, protocol: grpc, paths: ["/acme.Greeter/*"] }]\n');
  const open: AppMessage = { protocol: 'websocket' };
  assert.equal(http('GET https://get.org/', {}), 'allow egress.allow[0]');
  assert.equal(http('GET https://get.org/', { message: open }), 'deny egress.allow[0]');
  assert.equal(http('GET https://all.org/', { message: open }), 'allow egress.allow[1]');
  assert.equal(http('GET https://plain.org/', { message: open }), 'deny egress.allow[2]');
  assert.equal(http('GET https://ws.org/feed', { message: open }), 'allow egress.allow[3]');
  assert.equal(http('GET https://ws.org/feed', {}), 'deny egress.allow[3]');
  assert.equal(http('GET https://ws.org/other', { message: open }), 'deny egress.allow[3]');
  assert.equal(http('POST https://rpc.org/acme.Greeter/Hello', { message: { protocol: 'grpc' } }), 'allow egress.allow[4]');
  assert.equal(http('POST https://rpc.org/acme.Greeter/Hello', {}), 'deny egress.allow[4]');
});

test('what goes through a WebSocket or a gRPC call may be what a rule on messages takes away', () => {
  const http = at('    allow: [{ domain: a.org }, { domain: b.org, graphql: { operations: [query] } }]\n    deny: [{ domain: a.org, paths: [/graphql], graphql: { operations: [mutation] } }, { domain: a.org, paths: [/mcp], mcp: { tools: [rm] } }]\n    escalate: [{ domain: a.org, paths: [/rpc], jsonRpc: { methods: [pay] } }]\n');
  for (const protocol of ['websocket', 'grpc'] as const) {
    assert.equal(http('GET https://a.org/graphql', { message: { protocol } }), 'deny egress.deny[0]', protocol);
    assert.equal(http('POST https://a.org/mcp', { message: { protocol } }), 'deny egress.deny[1]', protocol);
    assert.equal(http('POST https://a.org/rpc', { message: { protocol } }), 'escalate egress.escalate[0]', protocol);
    assert.equal(http('GET https://a.org/feed', { message: { protocol } }), 'allow egress.allow[0]', protocol);
    assert.equal(http('GET https://b.org/graphql', { message: { protocol } }), 'deny egress.allow[1]', protocol);
  }
});

test('GraphQL: operations, names and every top-level field', () => {
  const http = at('    allow: [{ domain: a.org, graphql: { operations: [query], fields: [viewer, "repo*"] } }, { domain: b.org, methods: [POST] }]\n    deny: [{ domain: b.org, graphql: { fields: [deleteAll, "admin*"] } }]\n    escalate: [{ domain: b.org, graphql: { operations: [mutation] } }]\n');
  const q = (host: string, operation: 'query' | 'mutation', ...fields: string[]): string => http(`POST https://${host}/graphql`, { message: { protocol: 'graphql', operation, name: '', fields } });
  assert.equal(q('a.org', 'query', '__typename', 'viewer'), 'allow egress.allow[0]', 'a name of a type');
  assert.equal(q('a.org', 'query', 'viewer', 'repository'), 'allow egress.allow[0]');
  assert.equal(q('a.org', 'query', 'viewer', 'secrets'), 'deny egress.allow[0]');
  assert.equal(q('a.org', 'query'), 'deny egress.allow[0]', 'an operation without a known field');
  assert.equal(q('a.org', 'mutation', 'viewer'), 'deny egress.allow[0]');
  assert.equal(http('POST https://a.org/graphql', { message: { protocol: 'none' } }), 'deny egress.allow[0]');
  assert.equal(http('POST https://a.org/graphql', {}), 'deny egress.allow[0]');
  assert.equal(q('b.org', 'query', 'viewer'), 'allow egress.allow[1]');
  assert.equal(q('b.org', 'query', 'viewer', 'adminReset'), 'deny egress.deny[0]');
  assert.equal(q('b.org', 'mutation', 'addStar'), 'escalate egress.escalate[0]');
  assert.equal(http('POST https://b.org/x', { message: { protocol: 'none' } }), 'allow egress.allow[1]', 'what was looked at and is no GraphQL');
  assert.equal(http('POST https://b.org/x', {}), 'deny egress.deny[0]', 'what nobody looked at may be it');
});

const call = (tool: string, args: Readonly<Record<string, unknown>> = {}): Inside => ({ message: { protocol: 'mcp', method: 'tools/call', tool, arguments: args } });
const other = (method: string): Inside => ({ message: { protocol: 'mcp', method, tool: '', arguments: {} } });

test('MCP: tools and their arguments, with what a session needs besides', () => {
  const http = at('    allow:\n      - { domain: a.org, mcp: { tools: [search, "crm_*"], arguments: { "page.size": { max: 100 }, to: ["*@company.com", none] } } }\n      - { domain: m.org, mcp: { methods: ["tools/*", initialize], tools: [search] } }\n      - { domain: j.org, jsonRpc: { methods: ["eth_*"] } }\n');
  const a = (inside: Inside): string => http('POST https://a.org/mcp', inside).split(' ')[0] ?? '';
  const good = { page: { size: 10 }, to: 'a@company.com', free: 'anything' };
  assert.equal(a(call('search', good)), 'allow');
  assert.equal(a(call('crm_read', { ...good, to: ['a@company.com', 'none'] })), 'allow');
  for (const [why, inside] of Object.entries({
    'another tool': call('drop', good), 'too large': call('search', { ...good, page: { size: 101 } }), 'a number as text': call('search', { ...good, page: { size: '10' } }), 'an argument missing': call('search', { page: { size: 1 } }),
    'one of a list': call('search', { ...good, to: ['a@company.com', 'b@evil.com'] }), 'an empty list': call('search', { ...good, to: [] }), 'another spelling beside it': call('search', { ...good, TO: 'b@evil.com' }), 'not a number': call('search', { ...good, page: { size: NaN } }),
    'inherited': call('search', Object.create(good) as Record<string, unknown>), 'another method': other('resources/read'),
  })) assert.equal(a(inside), 'deny', why);
  for (const method of ['initialize', 'ping', 'notifications/initialized', 'tools/list', 'response', '']) assert.equal(a(other(method)), 'allow', method);
  assert.equal(http('POST https://m.org/', other('tools/list')), 'allow egress.allow[1]');
  assert.equal(http('POST https://m.org/', call('other')), 'deny egress.allow[1]');
  assert.equal(http('POST https://m.org/', other('ping')), 'deny egress.allow[1]', 'methods that are named are all');
  assert.equal(http('POST https://j.org/', { message: { protocol: 'json-rpc', method: 'eth_call' } }), 'allow egress.allow[2]');
  assert.equal(http('POST https://j.org/', { message: { protocol: 'json-rpc', method: 'admin_stop' } }), 'deny egress.allow[2]');
  assert.equal(http('POST https://j.org/', { message: { protocol: 'none' } }), 'deny egress.allow[2]');
});

test('MCP: a denial of arguments sees every spelling, and what cannot be compared', () => {
  const http = at('    allow: [{ domain: a.org }]\n    deny: [{ domain: a.org, mcp: { tools: [pay], arguments: { amount: { min: 1000 }, to: "*@evil.com" } } }]\n');
  const a = (args: Readonly<Record<string, unknown>>): string => http('POST https://a.org/', call('pay', args));
  for (const args of [{ amount: 5 }, { to: 'a@b.com' }, {}]) assert.equal(a(args), 'allow egress.allow[0]', JSON.stringify(args));
  for (const args of [{ amount: 1000 }, { amount: '1e6' }, { AMOUNT: 2000 }, { amount: [1, 5000] }, { amount: { value: 1 } }, { to: 'X@EVIL.com' }, { to: [['y@evil.com']] }]) assert.equal(a(args), 'deny egress.deny[0]', JSON.stringify(args));
  assert.equal(http('POST https://a.org/', call('look', { amount: 5000 })), 'allow egress.allow[0]');
});

test('SMTP, Postgres and Redis: a door of their own, every recipient, encryption before the first', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: mail.org, smtp: { recipients: ["*@company.com"], starttls: required } }, { domain: db.org, protocol: postgres }, { domain: cache.org, protocol: redis }, { domain: raw.org, protocol: tcp, ports: [22, 443] }]\n    deny: [{ domain: mail.org, smtp: { recipients: ["ceo@*"] } }]\n' });
  const { network } = policy;
  const raw = policyOf({ egress: '    allow: [{ domain: a.org, ports: [6379, 8080] }]\n    deny: [{ domain: a.org, ports: [6379], redis: { commands: [flushall] } }]\n' });
  assert.deepEqual([raw.network.handlingFor('a.org', 6379), raw.network.handlingFor('a.org', 8080)], ['redis', 'raw'], 'who denies a command on a port speaks it there');
  assert.deepEqual(['get', 'flushall', ''].map((command) => ask(raw, said('a.org', 6379, { protocol: 'redis', command }))), ['allow egress.allow[0]', 'deny egress.deny[0]', 'allow egress.allow[0]']);
  assert.deepEqual([network.handlingFor('mail.org', 587), network.handlingFor('db.org', 5432), network.handlingFor('cache.org', 6379), network.handlingFor('raw.org', 443)], ['smtp', 'postgres', 'redis', 'unread']);
  assert.ok(!network.interceptNames.includes('raw.org') && network.interceptNames.includes('mail.org'));
  const mail = (tls: boolean, ...recipients: string[]): string => ask(policy, said('mail.org', 587, { protocol: 'smtp', recipients, tls }));
  assert.equal(ask(policy, connectRequest('mail.org', 587)), 'allow egress.allow[0]');
  assert.equal(mail(false), 'allow egress.allow[0]');
  assert.equal(mail(true, 'a@company.com', 'B@Company.COM'), 'allow egress.allow[0]');
  assert.equal(mail(false, 'a@company.com'), 'deny egress.allow[0]', 'not encrypted');
  assert.equal(mail(true, 'a@company.com', 'b@evil.com'), 'deny egress.allow[0]');
  assert.equal(mail(true, 'a@company.com', 'CEO@company.com'), 'deny egress.deny[0]');
  assert.equal(ask(policy, httpRequest(policy, 'GET http://mail.org:587/')), 'deny egress.allow[0]', 'HTTP is not SMTP');
  assert.equal(ask(policy, said('db.org', 5432, { protocol: 'postgres', user: 'ann', database: 'crm' })), 'allow egress.allow[1]');
  assert.equal(ask(policy, said('db.org', 5432, { protocol: 'redis', command: 'GET' })), 'deny egress.allow[1]');
});

test('programs: where they are seen, an unknown one is none that was allowed', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: a.org, binaries: [/usr/bin/git, /opt/agent/**] }]\n    deny: [{ domain: a.org, binaries: [/opt/agent/bad] }]\n' });
  const by = (program?: string): string => ask(policy, { ...connectRequest('a.org', 443), resource: { kind: 'host', host: 'a.org', port: 443, ...(program === undefined ? {} : { program }) } });
  assert.equal(by('/usr/bin/git'), 'allow egress.allow[0]');
  assert.equal(by('/opt/agent/lib/x'), 'allow egress.allow[0]');
  assert.equal(by('/usr/bin/curl'), 'deny egress.allow[0]');
  assert.equal(by('/opt/agent/bad'), 'deny egress.deny[0]');
  assert.equal(by(''), 'deny egress.deny[0]');
  assert.equal(policy.network.isNameAllowed('a.org'), true);
});

test('rules that only watch let through what they would refuse, and say so', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: a.org, methods: [GET], mode: monitor, rate: 5/s }, { domain: "*.wide.org" }]\n    deny: [{ domain: x.wide.org, mode: monitor }, { domain: a.org, paths: [/no] }]\n    escalate: [{ domain: y.wide.org, methods: [PUT], mode: monitor }]\n' });
  const on = (text: string) => {
    const decision = decide(policy, httpRequest(policy, text));
    return `${decision.verdict} ${decision.rules[0]?.id ?? ''}${decision.monitored === undefined ? '' : ` would ${decision.monitored.verdict} ${decision.monitored.rules[0]?.id ?? ''}`}`;
  };
  assert.equal(on('GET https://a.org/'), 'allow egress.allow[0]');
  assert.equal(on('PUT https://a.org/'), 'allow egress.allow[0] would deny egress.allow[0]');
  assert.equal(on('PUT https://a.org/no'), 'deny egress.deny[1]', 'a rule that is enforced is enforced');
  assert.equal(on('PUT https://a.org:8443/'), 'deny egress.allow[0]', 'host and port hold in any mode');
  assert.equal(on('GET https://x.wide.org/'), 'allow egress.allow[1] would deny egress.deny[0]');
  assert.equal(on('PUT https://y.wide.org/'), 'allow egress.escalate[0] would escalate egress.escalate[0]');
  assert.equal(on('GET https://y.wide.org/'), 'allow egress.allow[1]', 'it closes nothing');
  assert.equal(on('GET https://z.org/'), 'deny egress.default');
  const get = httpRequest(policy, 'GET https://a.org/').resource;
  assert.ok(get.kind === 'http');
  assert.deepEqual(termsOf(policy, get), { rule: { id: 'egress.allow[0]', file: 'network.yaml', line: 4 }, rate: { count: 5, windowMs: 1000 }, monitor: true });
});

test('what has to be read first: only what a rule on this host, port, path and method speaks of', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: a.org, paths: [/mcp], mcp: { tools: [x] } }, { domain: a.org, paths: [/v1/*] }, { domain: "*.b.org", headers: { x-a: "1" } }, { domain: c.b.org }]\n    deny: [{ domain: c.b.org, headers: { x-b: "1" }, graphql: { fields: [x] } }]\n' });
  const of = (text: string, inside: Inside = {}) => request(policy, text, inside).resource;
  const http = (text: string, inside: Inside = {}) => { const resource = of(text, inside); assert.ok('method' in resource); return resource as Extract<ActionRequest['resource'], { kind: 'http' }>; };
  assert.deepEqual(needsMessage(policy, http('POST https://a.org/mcp')), ['mcp']);
  assert.ok(needsBody(policy, http('POST https://a.org/mcp')) && !needsBody(policy, http('POST https://a.org/v1/x')));
  assert.deepEqual(needsMessage(policy, http('POST https://a.org/v1/x')), []);
  assert.deepEqual(needsMessage(policy, http('POST https://a.org/mcp', call('x'))), []);
  assert.deepEqual(needsMessage(policy, http('POST https://c.b.org/')), ['graphql']);
  assert.deepEqual(headersNamed(policy, 'a.org'), []);
  assert.deepEqual(headersNamed(policy, 'x.b.org'), ['x-a']);
  assert.deepEqual(headersNamed(policy, 'c.b.org'), ['x-b'], 'a domain with an allow rule is closed');
});

test('databases: by user, database and command; what only opens a connection comes with whatever is allowed', () => {
  const policy = policyOf({ egress: '    allow: [{ domain: db.org, postgres: { users: [app, "ro_*"], databases: [crm] } }, { domain: cache.org, redis: { commands: [get, "h*", "config get", client] } }]\n    deny: [{ domain: cache.org, redis: { commands: [hdel, config] } }]\n' });
  const db = (user: string, database: string): string => ask(policy, said('db.org', 5432, { protocol: 'postgres', user, database }));
  assert.equal(db('app', 'crm'), 'allow egress.allow[0]');
  assert.equal(db('ro_x', 'crm'), 'allow egress.allow[0]');
  assert.equal(db('app', 'payroll'), 'deny egress.allow[0]');
  assert.equal(db('root', 'crm'), 'deny egress.allow[0]');
  assert.equal(db('', ''), 'allow egress.allow[0]', 'the end of a running command');
  const cache = (command: string): string => ask(policy, said('cache.org', 6379, { protocol: 'redis', command }));
  for (const command of ['GET', 'HGETALL', 'CLIENT LIST', '']) assert.equal(cache(command), 'allow egress.allow[1]', command);
  for (const command of ['SET', 'EVAL', 'GETDEL', 'GE?T']) assert.equal(cache(command), 'deny egress.allow[1]', command);
  for (const command of ['HDEL', 'CONFIG GET']) assert.equal(cache(command), 'deny egress.deny[0]', command);
});
