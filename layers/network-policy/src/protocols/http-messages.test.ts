/** GraphQL, MCP and JSON-RPC through a whole egress by a real policy: what is decided, how denials are told, what servers may ask back. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, test } from 'node:test';
import { loadApprovalPolicy, loadCatalogue, loadNetworkPolicy, loadSandboxPolicy } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from '../judge/judge.ts';
import { openDesk, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';

const network = (port: number): string => `networkPolicy:
  name: t
  egress:
    allow:
      - { domain: graph.test, ports: [${port}], graphql: { operations: [query], fields: [viewer, "repo*"] } }
      - { domain: open.test, ports: [${port}] }
      - { domain: mcp.test, ports: [${port}], mcp: { tools: [search, "crm_*", pay], arguments: { limit: { max: 10 } } } }
      - { domain: free.test, ports: [${port}], protocol: mcp }
      - { domain: rpc.test, ports: [${port}], jsonRpc: { methods: ["eth_get*"] } }
      - { domain: few.test, ports: [${port}], jsonRpc: { methods: [read] } }
      - { domain: few.test, ports: [${port}], jsonRpc: { methods: [send] }, rate: 2/h, maxBody: 2Ki }
      - { domain: chain.test, ports: [${port}] }
    deny:
      - { domain: open.test, paths: [/graphql], graphql: { operations: [mutation] } }
      - { domain: chain.test, jsonRpc: { methods: ["eth_send*"] } }
  inspection: { scanForPII: false }
`;
const sandbox = `apiVersion: openshell.nvidia.com/v1
kind: SandboxPolicy
metadata: { name: t }
spec:
  isolation: {}
  permissions: { allowedAPIs: [crm.read, crm.pay], deniedAPIs: [crm.delete] }
`;
const catalogue = `organization: { domains: [company.test] }
actions:
  - { name: crm.read, match: [{ tool: crm_read }] }
  - { name: crm.delete, match: [{ tool: crm_delete }] }
  - { name: crm.pay, match: [{ tool: pay }], attributes: { amountUsd: $.amount } }
`;
const approvals = 'triggers: [{ action: crm.pay, threshold: above-50-usd }]\n';

let server: Server;
let desk: Desk;
let port = 0;
let seen: string[] = [];
let answer: { readonly type: string; readonly parts: readonly string[]; readonly goesOn?: boolean } = { type: 'application/json', parts: ['{}'] };

/** Ways to name an operation that a server knows already. */
const unread = ['{"operationName":"Drop"}', '{"operationId":"1"}', '{"query_hash":"x"}', '{"mutation":"{ drop }"}', '{"__proto__":{"query":"mutation { drop }"}}', '{" query":"mutation { drop }"}'];

before(async () => {
  server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      seen.push(`${req.method} ${req.headers.host?.split(':')[0]} ${Buffer.concat(chunks).toString()}`);
      if (req.headers['accept-encoding'] !== undefined) seen.push('accept-encoding');
      res.writeHead(200, answer.type.split('|').flatMap((type) => ['content-type', type]));
      for (const part of answer.parts) res.write(part);
      if (answer.goesOn !== true) res.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
  const policy = compilePolicy({ sandboxPolicy: loadSandboxPolicy(sandbox, 's.yaml'), network: loadNetworkPolicy(network(port), 'n.yaml'), catalogue: loadCatalogue(catalogue, 'c.yaml'), approvals: loadApprovalPolicy(approvals, 'a.yaml'), role: '' }, 1);
  const hosts = ['graph.test', 'open.test', 'mcp.test', 'free.test', 'rpc.test', 'few.test', 'chain.test'];
  desk = await openDesk({ rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [port], intercepted: hosts, pins: hosts.map((host) => ({ host })) });
});
after(async () => {
  await desk.close();
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
});
beforeEach(() => {
  seen = [];
  answer = { type: 'application/json', parts: ['{}'] };
});

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly text: string;
  /** Of a JSON answer. */
  readonly json: Record<string, unknown>;
}

async function call(host: string, body: unknown, more: { readonly method?: string; readonly path?: string; readonly type?: string } = {}): Promise<Answer> {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const head = `${more.method ?? 'POST'} ${more.path ?? '/'} HTTP/1.1\r\nHost: ${host}:${port}\r\nAccept-Encoding: gzip\r\n${text === '' ? '' : `Content-Type: ${more.type ?? 'application/json'}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n`}Connection: close\r\n\r\n`;
  const all = await say(await desk.tcp(host, port), head + text, wholeAnswer);
  const split = all.indexOf('\r\n\r\n');
  const chunked = /transfer-encoding: chunked/i.test(all.slice(0, split));
  const raw = all.slice(split + 4);
  const content = chunked ? raw.replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, '').replace(/\r\n$/, '') : raw;
  let json: unknown = {};
  try {
    json = JSON.parse(content);
  } catch {
    json = {};
  }
  return { status: Number(all.slice(9, 12)), head: all.slice(0, split), text: content, json: json as Record<string, unknown> };
}
const tool = (name: string, args: unknown, id: unknown = 1): unknown => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });

test('GraphQL: allowed fields pass; a mutation, another field or an unreadable request is denied in words of GraphQL', async () => {
  assert.equal((await call('graph.test', { query: '{ viewer { login } x: repository { id } }' })).status, 200);
  assert.equal((await call('graph.test', undefined, { method: 'GET', path: `/?query=${encodeURIComponent('{ viewer { id } }')}` })).status, 200);
  assert.equal(seen.filter((line) => line !== 'accept-encoding').length, 2);
  seen = [];
  const denied = await call('graph.test', { query: 'mutation { viewer: deleteAll }' });
  assert.equal(denied.status, 403);
  const errors = denied.json['errors'] as { message: string; extensions: Record<string, unknown> }[];
  assert.equal(errors[0]?.extensions['rule'], 'egress.allow[0]');
  assert.match(String(errors[0]?.extensions['eventId']), /./);
  assert.match(denied.head, /x-nemoclaw-rule: egress\.allow\[0\]/);
  for (const body of [[{ query: '{ viewer { id } }' }, { query: '{ secrets }' }], { query: '{ ...F } fragment F on Query { viewer secrets }' }]) assert.equal((await call('graph.test', body)).status, 403);
  for (const body of [{ id: 'persisted' }, { query: '{ viewer' }, 'query=%7Bviewer%7D']) assert.equal((await call('graph.test', body)).json['rule'], 'proxy.message');
  assert.deepEqual(seen, []);
});

test('GraphQL: a rule that only denies mutations lets the rest of the host be, and nothing it cannot read', async () => {
  assert.equal((await call('open.test', { a: 1 }, { path: '/other' })).status, 200);
  assert.equal((await call('open.test', { query: '{ a }' }, { path: '/graphql' })).status, 200);
  assert.equal((await call('open.test', undefined, { method: 'GET', path: '/graphql' })).status, 200);
  seen = [];
  assert.equal((await call('open.test', { query: 'mutation { a }' }, { path: '/graphql' })).status, 403);
  for (const body of unread) assert.equal((await call('open.test', body, { path: '/graphql' })).json['rule'], 'proxy.message', body);
  for (const path of ['/graphql?operationName=Drop', '/graphql?%20query=mutation%7Bdrop%7D', '/graphql?a=1;query=mutation%7Bdrop%7D', '/graphql?query.=x']) assert.equal((await call('open.test', undefined, { method: 'GET', path })).json['rule'], 'proxy.message', path);
  assert.equal((await call('open.test', undefined, { method: 'GET', path: `/graphql?query=${encodeURIComponent('mutation { a }')}` })).status, 403);
  assert.equal((await call('open.test', 'query=mutation+%7Ba%7D', { path: '/graphql', type: 'application/x-www-form-urlencoded' })).json['rule'], 'proxy.message');
  assert.equal((await call('open.test', 'query=mutation+%7Ba%7D', { path: '/%67raphql', type: 'text/plain' })).json['rule'], 'proxy.message');
  assert.deepEqual(seen, []);
});

test('JSON-RPC by GET is decided by the same words, or refused; a URL that says otherwise than the body is', async () => {
  const url = (host: string, query: string, method = 'GET'): Promise<Answer> => call(host, undefined, { method, path: `/?${query}` });
  const params = encodeURIComponent('["0x1"]');
  assert.equal((await url('rpc.test', `jsonrpc=2.0&method=eth_getBalance&params=${params}&id=1`)).status, 200);
  assert.equal((await url('chain.test', `method=eth_getBalance&params=${Buffer.from('["0x1"]').toString('base64url')}`)).status, 200);
  assert.equal((await url('chain.test', 'page=2&sort=name')).status, 200, 'no message at all');
  assert.equal((await call('chain.test', { jsonrpc: '2.0', id: 1, method: 'eth_call' }, { path: '/?method=eth_call&key=a' })).status, 200);
  assert.equal(seen.filter((line) => line !== 'accept-encoding').length, 4);
  seen = [];
  const denied = await url('chain.test', `jsonrpc=2.0&method=eth_sendTransaction&params=${params}&id=7`);
  assert.equal(denied.status, 200);
  assert.deepEqual([denied.json['id'], (denied.json['error'] as { code: number; data: { rule: string } }).data.rule], [7, 'egress.deny[1]']);
  assert.equal((await url('rpc.test', 'method=eth_sendTransaction')).status, 403, 'a notification has no answer of its own');
  for (const query of ['Method=eth_sendTransaction', 'method=eth_call&method=eth_sendTransaction', 'method[]=eth_sendTransaction', 'a=1;method=eth_sendTransaction', 'method=eth_call;method=eth_sendTransaction', 'jsonrpc=2.0&id=1', `method=eth_call&params=x!`, 'method=eth_call&jsonrpc=3']) {
    assert.equal((await url('chain.test', query)).json['rule'], 'proxy.message', query);
  }
  for (const method of ['HEAD', 'PUT', 'DELETE', 'POST']) assert.equal((await url('chain.test', 'method=eth_sendTransaction', method)).status, 403, method);
  const body = { jsonrpc: '2.0', id: 1, method: 'eth_call' };
  for (const query of ['method=eth_sendTransaction', 'METHOD=eth_call', 'a;method=eth_sendTransaction']) assert.equal((await call('chain.test', body, { path: `/?${query}` })).json['rule'], 'proxy.message', query);
  assert.equal((await call('chain.test', [body, body], { path: '/?method=eth_call' })).json['rule'], 'proxy.message');
  assert.equal((await call('chain.test', { a: 1 }, { path: '/?method=eth_sendTransaction' })).status, 403);
  for (const [method, query] of [['GET', 'method=tools/call'], ['GET', 'jsonrpc=2.0'], ['DELETE', 'method=tools/call'], ['HEAD', 'method=tools/call']] as const) assert.equal((await url('mcp.test', query, method)).status, 403, `${method} ${query}`);
  assert.deepEqual(seen, []);
});

test('MCP: the session passes, tools are decided by name and arguments, and the model reads why not', async () => {
  for (const body of [{ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }, { jsonrpc: '2.0', method: 'notifications/initialized' }, { jsonrpc: '2.0', id: 2, method: 'tools/list' }, tool('search', { limit: 5 }), tool('crm_read', { limit: 5 })]) assert.equal((await call('mcp.test', body)).json['error'], undefined, JSON.stringify(body));
  assert.equal((await call('mcp.test', undefined, { method: 'GET' })).status, 200);
  assert.ok(!seen.includes('accept-encoding'));
  seen = [];
  for (const [name, args, rule] of [['shell', { limit: 1 }, 'egress.allow[2]'], ['search', { limit: 50 }, 'egress.allow[2]'], ['search', {}, 'egress.allow[2]'], ['crm_delete', { limit: 1 }, 'permissions.deniedAPIs[0]']] as const) {
    const denied = await call('mcp.test', tool(name, args, 'abc'));
    assert.equal(denied.status, 200);
    const result = denied.json['result'] as { isError: boolean; content: { text: string }[]; _meta: Record<string, Record<string, unknown>> };
    assert.equal(denied.json['id'], 'abc');
    assert.equal(result.isError, true);
    assert.match(result.content[0]?.text ?? '', /^Denied by policy/);
    assert.equal(result._meta['nemoclaw/denial']?.['rule'], rule, name);
  }
  const other = await call('mcp.test', { jsonrpc: '2.0', id: 9, method: 'resources/read', params: { uri: 'file:///etc/passwd' } });
  assert.equal((other.json['error'] as Record<string, unknown>)['code'], -32_001);
  assert.equal((await call('mcp.test', { jsonrpc: '2.0', method: 'notifications/x/../resources' })).status, 200);
  seen = [];
  const batch = await call('mcp.test', [tool('search', { limit: 1 }, 1), tool('shell', {}, 2)]);
  assert.deepEqual((batch.json as unknown as { id: number }[]).map(({ id }) => id), [1, 2]);
  assert.equal((await call('mcp.test', 'not json')).status, 403);
  assert.deepEqual(seen, []);
});

test('MCP: a call over a threshold waits for a person, is bound to its arguments, and not to the id of the message', async () => {
  const asked = desk.approver.asked.length;
  const held = call('mcp.test', tool('pay', { limit: 1, amount: 500 }, 1));
  await desk.approver.until(asked + 1);
  assert.deepEqual(seen, []);
  desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_1' });
  const waiting = await held;
  assert.match(JSON.stringify(waiting.json), /apr_1/);
  assert.equal((waiting.json['result'] as { isError: boolean }).isError, true);
  desk.approver.grants.add(desk.approver.asked.at(-1)?.key ?? '');
  assert.deepEqual((await call('mcp.test', tool('pay', { limit: 1, amount: 500 }, 2))).json, {});
  assert.equal(seen.length, 1);
  assert.equal((await call('mcp.test', tool('pay', { limit: 1, amount: 5 }, 3))).status, 200);
  assert.equal(desk.approver.asked.length, asked + 1);
});

const event = (data: unknown, more = ''): string => `${more}event: message\ndata: ${JSON.stringify(data)}\n\n`;

test('MCP: what a server asks of its client passes only where a rule allows the method', async () => {
  const sampling = { jsonrpc: '2.0', id: 7, method: 'sampling/createMessage', params: { messages: [] } };
  const result = { jsonrpc: '2.0', id: 1, result: { content: [] } };
  const progress = { jsonrpc: '2.0', method: 'notifications/progress', params: {} };
  const whole = `${event(progress)}${event(sampling, 'id: 5\n')}: comment\n\n${event(result)}`;
  answer = { type: 'text/event-stream', parts: [...whole].map((char) => char) };
  const filtered = await call('mcp.test', tool('search', { limit: 1 }));
  assert.doesNotMatch(filtered.text, /sampling\/createMessage","params|"method":"sampling/);
  assert.match(filtered.text, /notifications\/progress/);
  assert.match(filtered.text, /id: 5\nevent: message\ndata: \{"jsonrpc":"2\.0","method":"notifications\/message"/);
  assert.ok(filtered.text.endsWith(event(result)));
  const unfiltered = await call('free.test', tool('search', {}));
  assert.equal(unfiltered.text, whole);
  for (const tricky of [{ ...sampling, Method: 'x' }, [result, sampling], { id: 1, METHOD: 'sampling/createMessage' }]) {
    answer = { type: 'text/event-stream', parts: [`data: ${JSON.stringify(tricky).slice(0, 10)}\r`, `\ndata: ${JSON.stringify(tricky).slice(10)}\r\n\r\n`] };
    assert.doesNotMatch((await call('mcp.test', tool('search', { limit: 1 }))).text, /"(method|METHOD)":"sampling/, JSON.stringify(tricky));
    answer = { type: 'application/json', parts: [JSON.stringify(tricky)] };
    const told = await call('mcp.test', tool('search', { limit: 1 }));
    assert.doesNotMatch(told.text, /"(method|METHOD)":"sampling/, JSON.stringify(tricky));
    assert.match(told.text, /"rule":"proxy\.mcp-answer"/, JSON.stringify(tricky));
  }
  for (const [part, hint] of [[JSON.stringify(sampling), /allow the method/], ['<html>', /has to answer in JSON/], ['{"id":1,"id":2}', /has to answer in JSON/]] as const) {
    answer = { type: 'application/json', parts: [part] };
    const { status, text } = await call('mcp.test', tool('search', { limit: 1 }));
    assert.equal(status, 200, 'in words of MCP');
    assert.match(text, /"rule":"proxy\.mcp-answer"/);
    assert.match(text, hint);
  }
});

test('MCP: an answer that says it is two things is not delivered', async () => {
  const sampling = JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'sampling/createMessage', params: { messages: [] } });
  answer = { type: 'text/event-stream|application/json', parts: [`${sampling}\n\n`] };
  assert.doesNotMatch((await call('mcp.test', tool('search', { limit: 1 }))).text, /sampling/);
  answer = { type: 'application/json', parts: ['{}'] };
});

test('MCP: what is held of an answer counts among all that the sandbox has held, until it is over', async () => {
  const body = JSON.stringify(tool('search', { limit: 1 }));
  const until = async (bytes: number): Promise<void> => {
    while (desk.egress.stats().buffered !== bytes) await new Promise((next) => setTimeout(next, 5));
  };
  for (const [type, part] of [['text/event-stream', `data: ${'x'.repeat(994)}`], ['application/json', 'x'.repeat(1000)]] as const) {
    answer = { type, parts: [part], goesOn: true };
    const socket = await desk.tcp('mcp.test', port);
    socket.write(`POST /mcp HTTP/1.1\r\nHost: mcp.test:${port}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await until(1000 + Buffer.byteLength(body));
    socket.resetAndDestroy();
    await until(0);
  }
  answer = { type: 'application/json', parts: ['{}'] };
});

test('JSON-RPC: methods are decided, one by one in a batch', async () => {
  const rpc = (method: string, id: unknown = 1): unknown => ({ jsonrpc: '2.0', id, method, params: [] });
  assert.equal((await call('rpc.test', rpc('eth_getBalance'))).json['error'], undefined);
  seen = [];
  const denied = await call('rpc.test', [rpc('eth_getBalance'), rpc('eth_sendTransaction', 2)]);
  assert.equal(denied.status, 200);
  assert.deepEqual((denied.json as unknown as { error: { data: { rule: string } } }[]).map(({ error }) => error.data.rule), ['egress.allow[4]', 'egress.allow[4]']);
  assert.equal((await call('rpc.test', { jsonrpc: '2.0', method: 'eth_sendTransaction' })).status, 403, 'nobody waits for the answer to a notification');
  assert.deepEqual(seen, []);
});

test('each call of a batch counts against its own rule, wherever it stands', async () => {
  const batch = (...methods: string[]): string => JSON.stringify(methods.map((method, id) => ({ jsonrpc: '2.0', id, method })));
  const ask = async (body: string): Promise<string> => {
    const told = await say(await desk.tcp('few.test', port), `POST /rpc HTTP/1.1\r\nHost: few.test:${port}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`, wholeAnswer);
    return told.includes('egress.allow[6].rate') ? 'rate' : told.includes('egress.allow[6].maxBody') ? 'maxBody' : (told.split(' ')[1] ?? '');
  };
  const long = JSON.stringify([{ jsonrpc: '2.0', id: 1, method: 'read' }, { jsonrpc: '2.0', id: 2, method: 'send', params: ['x'.repeat(3000)] }]);
  assert.equal(await ask(long), 'maxBody');
  assert.equal(await ask(batch('read', 'send', 'send', 'send')), 'rate', 'three in one request');
  assert.equal(await ask(batch('read', 'send')), 'rate', 'what was refused has been counted');
  assert.equal(await ask(batch('read', 'read', 'read')), '200');
  assert.deepEqual(seen, [`POST few.test ${batch('read', 'read', 'read')}`]);
});

test('a request that calls itself gRPC is read as what a rule speaks of all the same', async () => {
  const body = '{"query":"mutation { drop }"}';
  for (const [line, rest] of [['GET /graphql?query=mutation%7Bdrop%7D', ''], ['POST /graphql', body]] as const) {
    const told = await say(await desk.tcp('open.test', port), `${line} HTTP/1.1\r\nHost: open.test:${port}\r\nContent-Type: application/grpc\r\n${rest === '' ? '' : `Content-Length: ${rest.length}\r\n`}Connection: close\r\n\r\n${rest}`, wholeAnswer);
    assert.match(told, /"rule":"(egress\.deny\[0\]|proxy\.message)"/, line);
  }
  assert.deepEqual(seen, []);
});
