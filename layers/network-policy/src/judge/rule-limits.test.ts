/** What a rule says besides allowing: headers, a rate, a longest body, blocks of addresses; and rules that only watch. Through the real egress and real policies. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from './judge.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';

const sandboxPolicy = sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } });
let upstream: Upstream;
let seen: string[] = [];
let desk: Desk;
const hosts = ['head.test', 'rate.test', 'body.test', 'watch.test', 'ten.test', 'loop.test'];

before(async () => {
  upstream = await openUpstream((req, res) => {
    seen.push(`${req.method} ${req.headers.host?.split(':')[0]}${req.url}`);
    req.resume();
    req.on('end', () => res.end('done'));
  });
  const port = upstream.port;
  const text = `networkPolicy:
  name: t
  egress:
    allow:
      - { domain: head.test, ports: [${port}], headers: { x-tenant: acme } }
      - { domain: rate.test, ports: [${port}], rate: 3/h }
      - { domain: body.test, ports: [${port}], maxBody: 1Ki }
      - { domain: watch.test, ports: [${port}], methods: [GET], rate: 1/h, maxBody: 10, mode: monitor }
      - { domain: ten.test, ports: [${port}], addresses: [10.0.0.0/8] }
      - { domain: loop.test, ports: [${port}], addresses: [0.0.0.0/0] }
    deny:
      - { domain: watch.test, paths: [/no/**] }
      - { domain: watch.test, paths: [/soon/**], mode: monitor }
`;
  const policy = compilePolicy({ sandboxPolicy, network: loadNetworkPolicy(text, 'network.yaml'), role: '' }, 1);
  desk = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [port], intercepted: hosts,
    pins: [...hosts.slice(0, 4).map((host) => ({ host })), { host: 'ten.test', addresses: ['10.0.0.0/8'] }, { host: 'loop.test', addresses: ['0.0.0.0/0'] }],
    resolveUpstream: async (host) => (host === 'ten.test' ? ['192.168.1.1', '11.0.0.1'] : ['127.0.0.1']),
  });
});
after(async () => {
  await desk.close();
  await upstream.close();
});

async function ask(host: string, path: string, options: { readonly method?: string; readonly headers?: string; readonly body?: string } = {}): Promise<string> {
  const { method = 'GET', headers = '', body } = options;
  const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
  return say(await desk.tcp(host, upstream.port), `${method} ${path} HTTP/1.1\r\nHost: ${host}:${upstream.port}\r\n${headers}${length}\r\n${body ?? ''}`, wholeAnswer);
}
const status = (answer: string): number => Number(answer.split(' ')[1]);
const json = (answer: string): Record<string, unknown> => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;

test('headers: all values of the one that the rule names; others do not matter', async () => {
  seen = [];
  assert.equal(status(await ask('head.test', '/a', { headers: 'X-Tenant: acme\r\nX-Other: 1\r\n' })), 200);
  for (const headers of ['', 'X-Tenant: evil\r\n', 'X-Tenant: acme\r\nx-tenant: evil\r\n', 'X-Tenant: acme, evil\r\n']) {
    const answer = await ask('head.test', '/b', { headers });
    assert.equal(status(answer), 403, headers);
    assert.deepEqual([json(answer)['rule'], json(answer)['reason']], ['egress.allow[0]', 'head.test is allowed for other headers only.']);
  }
  assert.deepEqual(seen, ['GET head.test/a']);
});

test('a rate: so many, then 429 with the rule and the time to wait; other rules are not touched', async () => {
  for (let i = 0; i < 3; i += 1) assert.equal(status(await ask('rate.test', `/${i}`)), 200);
  const answer = await ask('rate.test', '/4');
  assert.equal(status(answer), 429);
  assert.match(answer, /\r\nretry-after: 1200\r\n/i);
  assert.match(answer, /\r\nx-nemoclaw-rule: egress\.allow\[1\]\.rate\r\n/i);
  assert.equal(json(answer)['rule'], 'egress.allow[1].rate');
  assert.equal(status(await ask('body.test', '/')), 200);
  assert.ok(desk.audit.events.some((event) => event.verdict === 'deny' && /over the rate/.test(event.message) && event.decision?.rules[0]?.line === 6));
});

test('a longest body: by its length before a byte leaves, and by counting where it has none', async () => {
  assert.equal(status(await ask('body.test', '/fits', { method: 'POST', body: 'x'.repeat(1024) })), 200);
  seen = [];
  const long = await ask('body.test', '/long', { method: 'POST', body: 'x'.repeat(1025) });
  assert.equal(status(long), 413);
  assert.equal(json(long)['rule'], 'egress.allow[2].maxBody');
  assert.deepEqual(seen, []);
  const socket = await desk.tcp('body.test', upstream.port);
  const answered = say(socket, `POST /chunks HTTP/1.1\r\nHost: body.test:${upstream.port}\r\nTransfer-Encoding: chunked\r\n\r\n`, wholeAnswer);
  socket.write(`400\r\n${'x'.repeat(1024)}\r\n`);
  socket.write(`10\r\n${'x'.repeat(16)}\r\n`);
  assert.equal(status(await answered), 413);
});

test('a rule that only watches: what it would refuse passes and is on record; what is enforced is enforced', async () => {
  seen = [];
  assert.equal(status(await ask('watch.test', '/a')), 200);
  assert.equal(status(await ask('watch.test', '/b', { method: 'PUT', body: 'longer than ten' })), 200);
  assert.equal(status(await ask('watch.test', '/soon/c')), 200);
  assert.equal(status(await ask('watch.test', '/no/d')), 403);
  assert.deepEqual(seen, ['GET watch.test/a', 'PUT watch.test/b', 'GET watch.test/soon/c']);
  const said = desk.audit.events.filter((event) => /watch\.test/.test(event.message)).map((event) => `${event.verdict ?? ''}: ${event.message}`);
  assert.ok(said.some((line) => line.startsWith('allow') && /\/b: allowed \(would be denied by egress\.allow\[3\]\)/.test(line)), said.join('\n'));
  assert.ok(said.some((line) => line.startsWith('allow') && /\/soon\/c: allowed \(would be denied by egress\.deny\[1\]\)/.test(line)));
  assert.ok(said.some((line) => line.startsWith('observe') && /over the rate/.test(line)));
});

test('blocks of addresses: a name must lead into them, and none of them opens this host', async () => {
  const outside = await ask('ten.test', '/');
  assert.equal(status(outside), 403);
  assert.match(String(json(outside)['reason']), /192\.168\.1\.1, which is not in the blocks/);
  const loop = await ask('loop.test', '/');
  assert.equal(status(loop), 403);
  assert.match(String(json(loop)['reason']), /127\.0\.0\.1/);
});

test('a denial names the event that is on record', async () => {
  const answer = await ask('watch.test', '/no/e');
  const id = json(answer)['eventId'];
  assert.ok(typeof id === 'string' && answer.includes(`x-nemoclaw-event: ${id}`));
  const event = desk.audit.events.find((one) => one.correlation === id);
  assert.deepEqual([event?.verdict, event?.decision?.rules[0]?.id, event?.decision?.reason, event?.data?.['hint']], ['deny', json(answer)['rule'], json(answer)['reason'], json(answer)['hint']]);
  const broken = await ask('watch.test', '/%zz');
  assert.equal(status(broken), 400);
  assert.ok(desk.audit.events.some((one) => one.correlation === json(broken)['eventId'] && one.verdict === 'deny'));
  // what was never a request has its answer from the connection
  const garbled = await say(await desk.tcp('watch.test', upstream.port), 'GET / HTTP/1.1\r\nHost watch.test\r\n\r\n', wholeAnswer);
  assert.equal(status(garbled), 400);
  assert.ok(desk.audit.events.some((one) => one.correlation === json(garbled)['eventId'] && one.decision?.rules[0]?.id === json(garbled)['rule']));
});

test('what is refused before any policy is asked is on record without its parameters', async () => {
  const answer = await ask('watch.test', '/a/%2e%2e/b?token=very-private');
  assert.equal(status(answer), 400);
  const event = desk.audit.events.find((one) => one.correlation === json(answer)['eventId']);
  assert.equal(event?.data?.['path'], '/a/%2e%2e/b');
  await ask('watch.test', `http://me:very-private@watch.test:${upstream.port}/`);
  assert.ok(!JSON.stringify(desk.audit.events).includes('very-private'));
});
