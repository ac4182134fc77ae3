/** The rate of a rule holds for conversations too: commands of Redis and database connections, by a real policy. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNetworkPolicy, sandboxPolicySchema } from '@nemoclaw/contract';
import { compilePolicy, decide } from '@nemoclaw/decide';
import { judgeOf } from '../judge/judge.ts';
import { openDesk } from '../testing/testing-egress.ts';
import { authRequest, writeMessage, writeStartup } from './postgres-words.ts';
import { writeRespCommand } from './resp.ts';
import { Dialogue, openPostgres, openRedis } from './testing-servers.ts';

test('commands of Redis and connections to PostgreSQL count against the rate of their rule', async () => {
  const commands: string[] = [];
  let connections = 0;
  const redis = await openRedis('redis.test', (words) => {
    commands.push(words.join(' '));
    return '+OK\r\n';
  });
  const postgres = await openPostgres('db.test', (tls, _reader, startup) => {
    assert.ok(startup);
    connections += 1;
    tls.write(Buffer.concat([authRequest(0), writeMessage('Z', Buffer.from('I'))]));
  });
  const text = `networkPolicy:
  name: t
  egress:
    allow:
      - { domain: redis.test, ports: [${redis.port}], redis: { commands: [get] } }
      - { domain: redis.test, ports: [${redis.port}], redis: { commands: [set] }, rate: 2/h }
      - { domain: db.test, ports: [${postgres.port}], protocol: postgres, rate: 1/h }
`;
  const policy = compilePolicy({ sandboxPolicy: sandboxPolicySchema.parse({ apiVersion: 'openshell.nvidia.com/v1', kind: 'SandboxPolicy', metadata: { name: 't' }, spec: { isolation: {} } }), network: loadNetworkPolicy(text, 'n.yaml'), role: '' }, 1);
  const desk = await openDesk({
    rules: [], judge: judgeOf(() => policy, { version: 1, decide: (request) => decide(policy, request) }), ports: [redis.port, postgres.port], intercepted: ['redis.test', 'db.test'],
    pins: [{ host: 'redis.test' }, { host: 'db.test', caPem: postgres.caPem }],
  });
  try {
    const line = (...words: string[]): Buffer => writeRespCommand(words.map((word) => Buffer.from(word)));
    const client = new Dialogue(await desk.tcp('redis.test', redis.port));
    const told = await client.say(Buffer.concat([line('SET', 'a', '1'), line('GET', 'a'), line('SET', 'a', '2'), line('SET', 'a', '3'), line('GET', 'a')]), (all) => all.split('\r\n').length > 5);
    assert.match(told, /^\+OK\r\n\+OK\r\n\+OK\r\n-ERR denied by policy, rule egress\.allow\[1\]\.rate: .*\r\n\+OK\r\n$/);
    assert.deepEqual(commands, ['SET a 1', 'GET a', 'SET a 2', 'GET a']);
    client.socket.destroy();
    const another = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await another.say(line('SET', 'a', '4'), (all) => all.endsWith('\r\n')), /^-ERR denied by policy, rule egress\.allow\[1\]\.rate/, 'a new connection gives no new tokens');
    another.socket.destroy();
    const startup = writeStartup({ version: 196_608, parameters: new Map([['user', 'ann'], ['database', 'crm']]) });
    const first = new Dialogue(await desk.tcp('db.test', postgres.port));
    await first.say(startup, (all) => all.includes('Z'));
    const second = new Dialogue(await desk.tcp('db.test', postgres.port));
    assert.match(await second.say(startup, () => false), /egress\.allow\[2\]\.rate/);
    assert.equal(connections, 1);
    first.socket.destroy();
  } finally {
    await desk.close();
    await redis.close();
    await postgres.close();
  }
});
