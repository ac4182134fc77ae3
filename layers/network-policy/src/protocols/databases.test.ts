/** Redis and PostgreSQL through a whole egress on loopback: decided by command, user and database; denials in their own words; passwords put in outside. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import type { AppMessage } from '@nemoclaw/contract';
import { openDesk } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import { authRequest, sslRequest, writeMessage, writeRequest, writeStartup } from './postgres-words.ts';
import { writeRespCommand } from './resp.ts';
import { Dialogue, openPostgres, openRedis } from './testing-servers.ts';
import type { TestServer } from './testing-servers.ts';

const secret = 'sk-real-0123456789abcdef';
const placeholder = 'nemo-placeholder-42';
let redis: TestServer;
let postgres: TestServer;
let desk: Desk;
let commands: string[] = [];
let starts: { user: string; tls: boolean; password: string }[] = [];
let login: 'clear' | 'md5' | 'none' = 'clear';

function answerRedis(words: readonly string[]): string {
  commands.push(words.join(' '));
  return words[0] === 'GET' ? `$3\r\n${words[1]}\r\n` : words[0] === 'LEAK' ? `$${secret.length}\r\n${secret}\r\n` : '+OK\r\n';
}

const servePostgres: Parameters<typeof openPostgres>[1] = async (tls, reader, startup) => {
  let password = '';
  if (login !== 'none') {
    tls.write(login === 'clear' ? authRequest(3) : Buffer.concat([Buffer.from([0x52, 0, 0, 0, 12, 0, 0, 0, 5]), Buffer.from('salt')]));
    const head = await reader.exactly(5);
    password = (await reader.exactly(head.readUInt32BE(1) - 4)).toString('utf8').slice(0, -1);
  }
  starts.push({ user: startup?.parameters.get('user') ?? '', tls: true, password });
  tls.write(Buffer.concat([authRequest(0), writeMessage('Z', Buffer.from('I'))]));
  reader.detach();
  tls.pipe(tls);
};

before(async () => {
  redis = await openRedis('redis.test', answerRedis);
  postgres = await openPostgres('db.test', servePostgres);
  desk = await openDesk({
    rules: [
      { host: 'redis.test', verdict: 'deny', id: 'egress.deny[0]', said: (m) => m.protocol === 'redis' && /^(FLUSHALL|CONFIG )/.test(m.command) },
      { host: 'redis.test', verdict: 'escalate', said: (m) => m.protocol === 'redis' && m.command === 'DEL' }, { host: 'redis.test', verdict: 'allow' },
      { host: 'db.test', verdict: 'escalate', said: (m) => m.protocol === 'postgres' && m.database === 'audits' },
      { host: 'db.test', verdict: 'deny', id: 'egress.deny[1]', said: (m) => m.protocol === 'postgres' && m.database === 'payroll' }, { host: 'db.test', verdict: 'allow' },
    ],
    pins: [{ host: 'redis.test' }, { host: 'db.test', caPem: postgres.caPem }], ports: [redis.port, postgres.port],
    credentials: [{ placeholder, value: secret, host: 'redis.test', header: 'auth', pathPrefix: '' }, { placeholder: 'nemo-placeholder-db', value: 'sk-db-0123456789abcdef', host: 'db.test', header: 'auth', pathPrefix: '' }],
  });
  desk.policy.own = new Map([[redis.port, 'redis'], [postgres.port, 'postgres']]);
});
after(async () => {
  await desk.close();
  await redis.close();
  await postgres.close();
});
beforeEach(() => {
  commands = [];
  starts = [];
  login = 'clear';
});

const resp = (...lines: string[]): Buffer => Buffer.concat(lines.map((line) => writeRespCommand(line.split(' ').map((word) => Buffer.from(word)))));

test('Redis: allowed commands pass, a denied one is answered in its place, a person is asked about others', async () => {
  const client = new Dialogue(await desk.tcp('redis.test', redis.port));
  const text = await client.say(resp('AUTH nemo-placeholder-42', 'GET one', 'flushall', 'GET two', 'config get requirepass', 'PING'), (all) => all.split('\r\n').length >= 9);
  assert.match(text, /^\+OK\r\n\$3\r\none\r\n-ERR denied by policy, rule egress\.deny\[0\]: .*\r\n\$3\r\ntwo\r\n-ERR denied by policy.*\r\n\+OK\r\n$/);
  assert.deepEqual(commands, [`AUTH ${secret}`, 'GET one', 'GET two', 'PING']);
  const asked = desk.approver.asked.length;
  client.socket.write(resp('DEL one'));
  await desk.approver.until(asked + 1);
  assert.match(desk.approver.asked.at(-1)?.detail ?? '', /^DEL one/);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
  assert.equal(await client.say('', (all) => all.endsWith('\r\n')), '+OK\r\n');
  desk.policy.inspection = { scanForPII: false };
  try {
    client.socket.write(resp('DEL two'));
    await desk.approver.until(asked + 2);
    desk.policy.inspection = { scanForPII: true };
    desk.egress.update(desk.config);
    desk.approver.answer({ verdict: 'allow', approvalId: 'apr_2', by: 'ann' });
    assert.match(await client.say('', (all) => all.endsWith('\r\n')), /^-ERR denied by policy, rule proxy\.unread/, 'it was not looked through');
    assert.ok(!commands.includes('DEL two'));
  } finally {
    desk.policy.inspection = { scanForPII: true };
  }
  client.socket.destroy();
});

for (const [what, host, first, last] of [
  ['Redis', 'redis.test', resp('DEL gone'), resp('PING')],
  ['PostgreSQL', 'db.test', writeStartup({ version: 196_608, parameters: new Map([['user', 'ann'], ['database', 'audits']]) }), writeMessage('X', Buffer.alloc(0))],
] as const) {
  test(`${what}: a question ends with the client that waits for its answer, and nothing is done`, async () => {
    const asked = desk.approver.asked.length;
    const client = await desk.tcp(host, what === 'Redis' ? redis.port : postgres.port);
    client.write(first);
    await desk.approver.until(asked + 1);
    // The end stands behind what nobody reads meanwhile.
    client.end(last);
    while (desk.approver.withdrawn.at(-1) !== desk.approver.asked.at(-1)?.holdId) await new Promise((next) => setTimeout(next, 5));
    assert.deepEqual([commands, starts], [[], []]);
  });
}

test('Redis: a policy change ends what was let in and goes on, whatever was said last; what was refused ends nothing', async () => {
  const { rules } = desk.policy;
  const denied = (command: string) => [{ host: 'redis.test', verdict: 'deny' as const, id: 'egress.deny[7]', said: (m: AppMessage) => m.protocol === 'redis' && m.command === command }, ...rules];
  const ended = async (client: Dialogue): Promise<void> => assert.match(await client.say('', () => false), /-ERR denied by policy, rule egress\.deny\[7\]/);
  try {
    const refused = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await refused.say(resp('FLUSHALL'), (all) => all.endsWith('\r\n')), /^-ERR/);
    const subscribed = new Dialogue(await desk.tcp('redis.test', redis.port));
    await subscribed.say(resp('SUBSCRIBE news', 'PING'), (all) => all.split('\r\n').length > 2);
    desk.policy.rules = [{ host: 'elsewhere.test', verdict: 'allow' }, ...rules];
    desk.egress.update(desk.config);
    assert.equal(await refused.say(resp('GET one'), (all) => all.endsWith('one\r\n')), '$3\r\none\r\n');
    desk.policy.rules = denied('SUBSCRIBE');
    desk.egress.update(desk.config);
    await ended(subscribed);
    desk.policy.rules = denied('GET');
    desk.egress.update(desk.config);
    assert.equal(await refused.say(resp('PING'), (all) => all.endsWith('\r\n')), '+OK\r\n', 'what was answered is over');
    desk.egress.update({ ...desk.config, upstreams: desk.config.upstreams.map((pin) => ({ ...pin, addresses: ['127.0.0.2'] })) });
    assert.match(await refused.say('', () => false), /-ERR denied by policy, rule proxy\.moved/, 'its host is somewhere else');
  } finally {
    desk.policy.rules = rules;
    desk.egress.update(desk.config);
  }
});

test('Redis: a transaction that lost a command is not carried out; a name that may be a value is not on record', async () => {
  const client = new Dialogue(await desk.tcp('redis.test', redis.port));
  assert.match(await client.say(resp('MULTI', 'SET a', 'FLUSHALL', 'EXEC'), () => false), /^\+OK\r\n\+OK\r\n-ERR denied by policy, rule egress\.deny\[0\][^]*\r\n$/);
  assert.deepEqual(commands, ['MULTI', 'SET a']);
  const again = new Dialogue(await desk.tcp('redis.test', redis.port));
  assert.match(await again.say(resp('MULTI', 'SET a', 'EXEC', 'FLUSHALL', 'GET two'), (all) => all.endsWith('two\r\n')), /^(?:\+OK\r\n){3}-ERR/);
  again.socket.destroy();
  for (const name of [secret, '4111111111111111']) {
    const odd = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await odd.say(resp(name), (all) => all.endsWith('\r\n')), /^-ERR denied by policy, rule inspection/);
    odd.socket.destroy();
  }
  assert.doesNotMatch(JSON.stringify(desk.audit.events), /sk-real|4111111111111111/i);
});

test('Redis: a command that a rule only watches is on record with what it would have been', async () => {
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'redis.test', verdict: 'allow', id: 'egress.allow[5]', watches: true, said: (m) => m.protocol === 'redis' && m.command === 'SET' }, ...rules];
  try {
    const client = new Dialogue(await desk.tcp('redis.test', redis.port));
    await client.say(resp('SET a 1'), (all) => all.endsWith('\r\n'));
    assert.ok(desk.audit.events.some(({ message, verdict }) => verdict === 'allow' && /command \(would be denied by egress\.allow\[5\]\)/.test(message)));
    client.socket.destroy();
  } finally {
    desk.policy.rules = rules;
  }
});

test('PostgreSQL: a login that waits for a person waits on through a change that is not about it', async () => {
  const asked = desk.approver.asked.length;
  login = 'none';
  const client = new Dialogue(await desk.tcp('db.test', postgres.port));
  const answer = client.say(startup('ann', 'audits'), (all) => all.length >= 15);
  await desk.approver.until(asked + 1);
  desk.egress.update(desk.config);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_9', by: 'ann' });
  assert.equal(await answer, `${authRequest(0).toString('latin1')}Z\0\0\0\x05I`);
  client.socket.destroy();
});

test('Redis: secrets, misplaced placeholders, inline commands and echoed passwords do not pass', async () => {
  const client = new Dialogue(await desk.tcp('redis.test', redis.port));
  for (const line of [`SET a ${secret}`, `SET a ${placeholder}`, 'AUTH nemo-placeholder-db']) assert.match(await client.say(resp(line), (all) => all.endsWith('\r\n')), /^-ERR denied by policy, rule (inspection\.scanForPII|credentials\.binding)/, line);
  assert.deepEqual(commands, []);
  assert.equal(await client.say(resp('LEAK'), () => false), '', 'the connection ends before the password is told');
  const inline = new Dialogue(await desk.tcp('redis.test', redis.port));
  assert.match(await inline.say('FLUSHALL\r\n', () => false), /^-ERR Protocol error/);
  assert.deepEqual(commands, ['LEAK']);
});

const startup = (user: string, database: string): Buffer => writeStartup({ version: 196_608, parameters: new Map([['user', user], ['database', database]]) });
const passwordMessage = (text: string): Buffer => writeMessage('p', Buffer.from(`${text}\0`));

test('Redis and PostgreSQL: nothing of the login and of what a client says of itself leaves unsearched; the own secrets never do, a rule may name each command', async () => {
  const card = '4111111111111111';
  const other = 'sk-db-0123456789abcdef';
  const { inspection, rules } = desk.policy;
  const denied = async (line: string, rule: RegExp): Promise<void> => {
    const client = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await client.say(resp(line), (all) => all.endsWith('\r\n')), rule, line);
    client.socket.destroy();
  };
  const start = async (parameters: Readonly<Record<string, string>>, password: string): Promise<string> => {
    const client = new Dialogue(await desk.tcp('db.test', postgres.port));
    client.socket.write(writeStartup({ version: 196_608, parameters: new Map(Object.entries(parameters)) }));
    const said = await client.say('', (all) => all.startsWith('R\0\0\0\b\0\0\0\x03') || all.startsWith('E'));
    return said.startsWith('E') ? said : client.say(writeMessage('p', Buffer.from(`${password}\0`)), () => false);
  };
  try {
    for (const line of [`CLIENT SETNAME ${card}`, `CLIENT SETINFO lib-name ${card}`, `PING ${card}`, `HELLO 3 SETNAME ${card}`, `AUTH ann ${card}`, `QUIT ${card}`]) await denied(line, /rule inspection\.actions\.credit-card/);
    for (const scanForPII of [true, false]) {
      desk.policy.inspection = { scanForPII };
      for (const line of [`AUTH ${other}`, `AUTH ${placeholder}${other}`, `GET ${other}`, `CLIENT SETNAME ${other}`]) await denied(line, /rule inspection\.scanForPII/);
      assert.match(await start({ user: 'ann', database: 'crm', application_name: secret }, 'pw'), /^E.*inspection\.scanForPII/s);
      assert.match(await start({ user: 'ann', database: 'crm' }, `x${secret}`), /^E.*inspection\.scanForPII/s);
    }
    // Where nothing is searched a message may be of any size, and the own secrets leave in none.
    const open = new Dialogue(await desk.tcp('db.test', postgres.port));
    open.socket.write(writeStartup({ version: 196_608, parameters: new Map([['user', 'ann'], ['database', 'crm']]) }));
    await open.say('', (all) => all.startsWith('R\0\0\0\b\0\0\0\x03'));
    await open.say(writeMessage('p', Buffer.from('pw\0')), (all) => all.endsWith('I'));
    const large = writeMessage('Q', Buffer.from(`select '${'x'.repeat(2 << 20)}'\0`));
    assert.equal((await open.say(large, (all) => all.length >= large.length)).length, large.length);
    assert.match(await open.say(writeMessage('Q', Buffer.from(`select '${other}'\0`)), () => false), /^E.*inspection\.scanForPII/s);
    starts.length = 0;
    desk.policy.inspection = { scanForPII: true };
    assert.match(await start({ user: 'ann', database: 'crm', options: `-c application_name=${card}` }, 'pw'), /^E.*inspection\.actions\.credit-card/s);
    for (const parameters of [{ user: 'payroll' }, { user: 'payroll', database: '' }]) assert.match(await start(parameters, 'pw'), /^E.*egress\.deny\[1\]/s, 'the server takes the name of the user');
    assert.match(await start({ user: 'ann', database: 'p'.repeat(64) }, 'pw'), /^E.*longer than the server reads/s);
    assert.match(await start({ user: 'ann', database: 'crm' }, card), /^E.*inspection\.actions\.credit-card/s);
    desk.policy.rules = [{ host: 'redis.test', verdict: 'deny', id: 'egress.deny[7]', said: (m) => m.protocol === 'redis' && m.command.startsWith('CLIENT') }, ...rules];
    await denied('CLIENT SETNAME worker', /rule egress\.deny\[7\]/);
    assert.deepEqual([commands, starts], [[], []]);
    // What is honest: a name that is a mail address, a password that looks like a secret.
    await denied('PING', /^\+OK/);
    const piped = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.equal(await piped.say(Buffer.concat([resp('GET one'), Buffer.from('\r\n'), resp('GET two')]), (all) => all.endsWith('two\r\n')), '$3\r\none\r\n$3\r\ntwo\r\n', 'an empty line between');
    piped.socket.destroy();
    await denied('AUTH ann@company.test ghp_16C7e42F292c6912E7710c838347Ae178B4a', /^\+OK/);
  } finally {
    desk.policy.inspection = inspection;
    desk.policy.rules = rules;
  }
});

test('PostgreSQL: a client that does not encrypt logs in with a placeholder; to the server everything is encrypted', async () => {
  for (login of ['clear', 'md5'] as const) {
    starts = [];
    const client = new Dialogue(await desk.tcp('db.test', postgres.port));
    assert.equal(await client.say(startup('ann', 'crm'), (all) => all.length >= 9), authRequest(3).toString('latin1'));
    assert.equal(await client.say(passwordMessage('nemo-placeholder-db'), (all) => all.length >= 15), `${authRequest(0).toString('latin1')}Z\0\0\0\x05I`);
    const query = writeMessage('Q', Buffer.from('select 1\0')).toString('latin1');
    assert.equal(await client.say(query, (all) => all === query), query);
    const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
    assert.deepEqual(starts, [{ user: 'ann', tls: true, password: login === 'clear' ? 'sk-db-0123456789abcdef' : `md5${md5(`${md5('sk-db-0123456789abcdefann')}salt`)}` }]);
    client.socket.destroy();
  }
});

test('PostgreSQL: encryption is taken up with our certificate, and nothing sent ahead of it counts', async () => {
  login = 'none';
  const client = new Dialogue(await desk.tcp('db.test', postgres.port));
  assert.equal(await client.say(writeRequest(sslRequest), (all) => all.length > 0), 'S');
  client.release();
  const tls = connectTls({ socket: client.socket, servername: 'db.test', ca: desk.rootPem });
  await once(tls, 'secureConnect');
  client.resume(tls);
  assert.match(await client.say(startup('ann', 'crm'), (all) => all.length >= 15), /^R\0\0\0\x08\0\0\0\0Z/);
  tls.destroy();
  const injected = new Dialogue(await desk.tcp('db.test', postgres.port));
  assert.match(await injected.say(Buffer.concat([writeRequest(sslRequest), startup('ann', 'crm')]), () => false), /^E.*sent with the question/s);
  assert.equal(starts.length, 1);
});

test('PostgreSQL: a denied database, replication and noise are refused in words that psql shows', async () => {
  const refused = async (bytes: Buffer): Promise<string> => new Dialogue(await desk.tcp('db.test', postgres.port)).say(bytes, () => false);
  const text = await refused(startup('ann', 'payroll'));
  assert.match(text, /^E[^]*SFATAL\0VFATAL\0C42501\0Mdenied by policy: .*\0Drule egress\.deny\[1\], event [\w.]+\0H.*\0\0$/);
  assert.match(await refused(writeStartup({ version: 196_608, parameters: new Map([['user', 'a'], ['replication', 'database']]) })), /replication/);
  assert.match(await refused(Buffer.from('GET / HTTP/1.1\r\nhost: db.test\r\n\r\n')), /^E/);
  const misplaced = new Dialogue(await desk.tcp('db.test', postgres.port));
  await misplaced.say(startup('ann', 'crm'), (all) => all.length >= 9);
  assert.match(await misplaced.say(passwordMessage(placeholder), () => false), /placeholder stands in the password/);
  assert.deepEqual(starts, []);
});
