/** Inspection in mail, Redis and PostgreSQL: by class blocked, rewritten, asked about or put on record; no value on any record. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { compileKnown } from '@nemoclaw/detect';
import { inspectMail } from '../inspect/inspect-mail.ts';
import { openDesk, openUpstream, say, wholeAnswer } from '../testing/testing-egress.ts';
import type { Desk, Upstream } from '../testing/testing-egress.ts';
import { authRequest, writeMessage, writeStartup } from './postgres-words.ts';
import { MessageEnds, PostgresWatch } from './postgres-watch.ts';
import { writeRespCommand } from './resp.ts';
import { Dialogue, openMailServer, openPostgres, openRedis } from './testing-servers.ts';
import type { MailServer, TestServer } from './testing-servers.ts';

const card = '4111 1111 1111 1111';
const none = compileKnown([]);
let told: Upstream;
let mail: MailServer;
let redis: TestServer;
let postgres: TestServer;
let desk: Desk;
let commands: string[] = [];
let queries: Buffer = Buffer.alloc(0);

const ready = writeMessage('Z', Buffer.from('I'));

before(async () => {
  told = await openUpstream((_req, res) => res.end('the customer is CUST-48-20931'));
  mail = await openMailServer('smtp.test');
  redis = await openRedis('redis.test', (words) => {
    commands.push(words.join(' '));
    return '+OK\r\n';
  });
  postgres = await openPostgres('db.test', (tls, reader) => {
    tls.write(Buffer.concat([authRequest(0), ready]));
    reader.detach();
    tls.on('data', (chunk: Buffer) => {
      queries = Buffer.concat([queries, chunk]);
      tls.write(ready);
    });
  });
  desk = await openDesk({
    rules: [{ host: 'redis.test', verdict: 'escalate', said: (m) => m.protocol === 'redis' && m.command === 'DEL' }, ...['smtp.test', 'redis.test', 'db.test', 'told.test'].map((host) => ({ host, verdict: 'allow' as const }))],
    pins: [{ host: 'smtp.test', caPem: mail.caPem }, { host: 'redis.test' }, { host: 'db.test', caPem: postgres.caPem }, { host: 'told.test' }], ports: [mail.port, redis.port, postgres.port, told.port],
  });
  desk.policy.own = new Map([[mail.port, 'smtp'], [redis.port, 'redis'], [postgres.port, 'postgres']]);
});
after(async () => {
  await desk.close();
  for (const server of [mail, redis, postgres, told]) await server.close();
});
beforeEach(() => {
  desk.policy.inspection = undefined;
  desk.audit.events.length = 0;
  mail.messages.length = 0;
  commands = [];
  queries = Buffer.alloc(0);
});

const silentAbout = (value: string): void => assert.ok(!JSON.stringify(desk.audit.events).includes(value), 'on record');
const reply = (text: string): boolean => /^\d{3} .*\r\n$/m.test(text.slice(text.lastIndexOf('\n', text.length - 2) + 1));

async function started(): Promise<Dialogue> {
  const to = new Dialogue(await desk.tcp('smtp.test', mail.port));
  await to.say('', reply);
  for (const line of ['EHLO agent', 'MAIL FROM:<ann@company.test>', 'RCPT TO:<bob@company.test>', 'DATA']) await to.say(`${line}\r\n`, reply);
  return to;
}
async function sent(message: string): Promise<string> {
  const to = await started();
  const text = await to.say(`${message}\r\n.\r\n`, reply);
  to.socket.destroy();
  return text;
}

test('a mail with a card is refused with rule and event: in subject, text, quoted-printable, base64 in odd lines, and an encoded subject', async () => {
  const odd = Buffer.from(`the card of the customer is ${card}, thank you`).toString('base64').replace(/.{20}/g, '$&\r\n');
  for (const message of [
    `Subject: ${card}\r\n\r\nhello`, `Subject: x\r\n\r\npay with ${card} now`, `Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\npay with ${card.slice(0, 7)}=\r\n${card.slice(7).replaceAll(' ', '=20')} now`,
    `Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n${odd}`, `Subject: =?utf-8?B?${Buffer.from(card).toString('base64')}?=\r\n\r\nhello`,
    `Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/csv\r\nContent-Transfer-Encoding: base64\r\n\r\n${odd}\r\n--b--`,
  ]) {
    const text = await sent(message);
    assert.match(text, /^550-5\.7\.1 Denied by policy, rule inspection\.actions\.credit-card \(event [\w.]+\)\r\n/, message);
  }
  assert.deepEqual(mail.messages, []);
  for (const piece of [card, odd.slice(0, 20), Buffer.from(card).toString('base64')]) silentAbout(piece);
});

test('a mail, a part or a subject in a character encoding that cannot be read is refused with the reason; others go', async () => {
  const typed = (charset: string): string => `Subject: x\r\nContent-Type: text/plain;\r\n charset=${charset}\r\n\r\nhello`;
  for (const message of [typed('UTF-7'), 'Subject: =?utf-7?Q?hello?=\r\n\r\nhello', 'Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset="ibm037"\r\n\r\nhello\r\n--b--']) {
    assert.match(await sent(message), /^550-5\.7\.1 Denied by policy, rule inspection\.scanForPII [^]*character encoding/, message);
  }
  assert.deepEqual(mail.messages, []);
  for (const message of [typed('iso-8859-1'), typed('"utf-8"'), 'Subject: =?iso-2022-jp?B?aGVsbG8=?=\r\n\r\nhello']) assert.match(await sent(message), /^250/, message);
});

test('a card in plain text is taken out where the policy says so; in an encoding it blocks', async () => {
  desk.policy.inspection = { scanForPII: true, actions: { 'credit-card': 'redact' } };
  assert.match(await sent(`Subject: x\r\n\r\npay with ${card} now`), /^250/);
  assert.deepEqual(mail.messages, ['Subject: x\r\n\r\npay with [redacted:credit-card] now\r\n']);
  assert.match(await sent(`Subject: ${card}\r\n\r\nhello`), /^550/);
  assert.equal(mail.messages.length, 1);
  silentAbout(card);
});

test('a person is asked about a mail, with the value masked; addresses in the head are none', async () => {
  desk.policy.inspection = { scanForPII: true, actions: { 'credit-card': 'escalate', email: 'block' } };
  assert.match(await sent('From: Ann <ann@company.test>\r\nTo: bob@company.test\r\nSubject: x\r\n\r\nhello'), /^250/);
  assert.match(await sent('Subject: x\r\n\r\nwrite to carol@company.test'), /^550/);
  const asked = desk.approver.asked.length;
  const to = await started();
  const answer = to.say(`Subject: x\r\n\r\npay with ${card} now\r\n.\r\n`, reply);
  await desk.approver.until(asked + 1);
  const card_ = desk.approver.asked.at(-1);
  assert.ok(card_ && !card_.detail.includes(card) && card_.detail.includes('pay with'), card_?.detail);
  assert.equal(card_.decision.rules[0]?.id, 'inspection.actions.credit-card');
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
  assert.match(await answer, /^250/);
  assert.equal(mail.messages.length, 2);
  to.socket.destroy();
});

test('a Redis argument with a card is refused in its place, the commands around it pass', async () => {
  const client = new Dialogue(await desk.tcp('redis.test', redis.port));
  const text = await client.say(Buffer.concat([['SET', 'a', 'b'], ['SET', 'card', card], ['GET', 'a']].map((words) => writeRespCommand(words.map((word) => Buffer.from(word))))), (all) => all.split('\r\n').length >= 4);
  assert.match(text, /^\+OK\r\n-ERR denied by policy, rule inspection\.actions\.credit-card: .*argument 2.*\(event [\w.]+\)\r\n\+OK\r\n$/);
  assert.deepEqual(commands, ['SET a b', 'GET a']);
  silentAbout(card);
  client.socket.destroy();
});

async function loggedIn(): Promise<Dialogue> {
  const client = new Dialogue(await desk.tcp('db.test', postgres.port));
  await client.say(writeStartup({ version: 196_608, parameters: new Map([['user', 'ann']]) }), (all) => all.length >= 15);
  return client;
}

test('a PostgreSQL query, a parameter or a copied row with a card is refused before the server sees any of it', async () => {
  const bind = Buffer.concat([Buffer.from('\0\0'), Buffer.from([0, 0, 0, 1, 0, 0, 0, 19]), Buffer.from(card), Buffer.from([0, 0])]);
  const half = writeMessage('d', Buffer.from(card.slice(0, 9)));
  for (const [message, allowed] of [
    [writeMessage('Q', Buffer.from(`insert into t values ('${card}')\0`)), 0], [writeMessage('P', Buffer.from(`\0select '${card}'\0\0\0`)), 0], [writeMessage('B', bind), 0],
    [Buffer.concat([half, writeMessage('d', Buffer.from(card.slice(9)))]), 0], [Buffer.concat([half, writeMessage('H', Buffer.alloc(0)), writeMessage('S', Buffer.alloc(0)), writeMessage('d', Buffer.from(card.slice(9)))]), 0],
  ] as const) {
    queries = Buffer.alloc(0);
    const client = await loggedIn();
    assert.equal((await client.say(writeMessage('Q', Buffer.from('select 1\0')), (all) => all.length >= 6)).charAt(0), 'Z');
    const before = queries.length;
    const text = await client.say(message, () => false);
    assert.match(text, /^E[^]*Mdenied by policy: [^]*Drule inspection\.actions\.credit-card, event [\w.]+\0/);
    assert.equal(queries.length - before, allowed);
  }
  silentAbout(card);
  desk.policy.inspection = { scanForPII: true, actions: { 'credit-card': 'log' } };
  const client = await loggedIn();
  await client.say(writeMessage('Q', Buffer.from(`select '${card}'\0`)), (all) => all.length >= 6);
  assert.ok(queries.includes(card));
  client.socket.destroy();
});

test('PostgreSQL: each value is read by itself, whatever stands beside it, in every message that holds any; others are refused', () => {
  const number = (size: 2 | 4 | 8, value: number | bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(BigInt(value));
    return bytes.subarray(8 - size);
  };
  const bind = (values: readonly Buffer[], format = 0): Buffer => writeMessage('B', Buffer.concat([Buffer.from('\0\0'), number(2, 1), number(2, format), number(2, values.length), ...values.flatMap((value) => [number(4, value.length), value]), number(2, 0)]));
  const plain = card.replaceAll(' ', '');
  const numeric = Buffer.concat([number(2, 4), number(2, 3), number(2, 0), number(2, 0), ...(plain.match(/.{4}/g) ?? []).map((digits) => number(2, Number(digits)))]);
  const copy = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8), number(2, 2), number(4, 49), Buffer.from(plain.padEnd(49, '.')), number(4, 16), numeric, number(2, -1)]);
  const copied = (size: number): Buffer[] => Array.from({ length: Math.ceil(copy.length / size) }, (_, i) => writeMessage('d', copy.subarray(i * size, (i + 1) * size)));
  const told = (messages: readonly Buffer[]): string => {
    const watch = new PostgresWatch(100_000);
    return messages.flatMap((message) => watch.next(message, true).spoken).map(({ text }) => Buffer.concat(text).toString('latin1')).join('\n\n');
  };
  for (let length = 16; length < 140; length += 1) assert.match(told([bind([Buffer.from('x'), Buffer.from(plain.padEnd(length, '.'))])]), new RegExp(`(?<!\\w)${plain}`), `${length}`);
  assert.match(told([bind([number(8, BigInt(plain))], 1)]), new RegExp(`id ${plain}`));
  assert.match(told([bind([numeric], 1)]), new RegExp(`(?<!\\w)${plain}`));
  for (const size of [1, 7, 30, copy.length]) assert.equal(told(copied(size)).match(new RegExp(`(?<!\\w)${plain}(?=\\.|\\n)`, 'g'))?.length, 2, `copied by ${size}`);
  for (const message of [writeMessage('D', Buffer.from(`S${plain}\0`)), writeMessage('C', Buffer.from(`P${plain}\0`)), writeMessage('E', Buffer.from(`${plain}\0\0\0\0\0`)), writeMessage('f', Buffer.from(`${plain}\0`)), writeMessage('P', Buffer.from(`${plain}\0select 1\0\0\0`))]) assert.ok(told([message]).includes(plain));
  for (const message of [writeMessage('p', Buffer.from(`${plain}\0`)), writeMessage('~', Buffer.from(plain)), writeMessage('S', Buffer.from(plain)), writeMessage('X', Buffer.from('x')), writeMessage('Q', Buffer.from(`select 1\0${plain}`)), writeMessage('B', Buffer.from('\0\0\0\0\0\x01\0\0\0\x05x')), writeMessage('D', Buffer.alloc(0))]) assert.match(new PostgresWatch(1000).next(message, true).problem ?? '', /none that is known/, message.toString('latin1'));
});

test('of a copy in binary no more is kept than of one field that is waited for', () => {
  const begin = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8), Buffer.from([0, 1])]);
  for (const start of [Buffer.concat([begin, Buffer.from([0, 0x20, 0, 0])]), Buffer.concat([begin.subarray(0, 15), Buffer.from([0x7f, 0, 0, 0])])]) {
    const watch = new PostgresWatch(100_000);
    watch.next(writeMessage('d', start), true);
    for (let i = 0; i < 100; i += 1) watch.next(writeMessage('d', Buffer.alloc(50_000)), true);
    assert.equal(watch.kept, 0);
  }
  const waits = new PostgresWatch(100_000);
  waits.next(writeMessage('d', Buffer.concat([begin, Buffer.from([0, 0x0f, 0, 0]), Buffer.alloc(1000)])), true);
  assert.equal(waits.kept, 1004);
});

test('messages of PostgreSQL are followed however they are cut; too large ones end it only where something is looked for', () => {
  const all = Buffer.concat([writeMessage('Q', Buffer.from('select 1\0')), writeMessage('B', Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 1, 0]), Buffer.alloc(256), Buffer.from([0, 0])])), writeMessage('X', Buffer.alloc(0))]);
  for (const size of [1, 2, 7, all.length]) {
    const watch = new PostgresWatch(1000);
    const ends = new MessageEnds();
    let out = Buffer.alloc(0);
    for (let at = 0; at < all.length; at += size) {
      out = Buffer.concat([out, watch.next(all.subarray(at, at + size), true).pass]);
      ends.next(all.subarray(at, at + size));
    }
    assert.deepEqual(out, all);
    assert.ok(ends.whole);
    assert.equal(watch.kept, 0);
  }
  const large = Buffer.concat([writeMessage('d', Buffer.alloc(2000)), all]);
  assert.match(new PostgresWatch(1000).next(large, true).problem ?? '', /larger/);
  for (const size of [1, 900, 2003, large.length]) {
    const watch = new PostgresWatch(1000);
    let out = Buffer.alloc(0);
    for (let at = 0; at < large.length; at += size) out = Buffer.concat([out, watch.next(large.subarray(at, at + size), false).pass]);
    assert.deepEqual(out, large);
  }
  const unread = new PostgresWatch(1000);
  assert.equal(unread.next(large.subarray(0, 1500), false).pass.length, 1500);
  const rest = unread.next(large.subarray(1500), true);
  assert.deepEqual([rest.pass.length, rest.problem], [0, 'a message that began unread goes on']);
  assert.match(new PostgresWatch(1000).next(Buffer.from([0x51, 0, 0, 0, 3]), true).problem ?? '', /length/);
});

test('a mail without a blank line, or with nothing, is read too', () => {
  assert.equal(inspectMail(Buffer.from(`pay with ${card}`), none).found.length, 1);
  assert.equal(inspectMail(Buffer.from(`\r\npay with ${card}`), none).found.length, 1);
  assert.equal(inspectMail(Buffer.alloc(0), none).found.length, 0);
});

test('long mails, commands and queries are inspected in the thread of long bodies, to the same end', async () => {
  const long = 'nothing of interest stands here\r\n'.repeat(4096);
  assert.match(await sent(`Subject: x\r\n\r\n${long}pay with ${card} now`), /^550-5\.7\.1 Denied by policy, rule inspection\.actions\.credit-card/);
  assert.match(await sent(`Subject: x\r\n\r\n${long}`), /^250/);
  assert.deepEqual(mail.messages.map((one) => one.length), [long.length + 16]);
  const client = new Dialogue(await desk.tcp('redis.test', redis.port));
  const text = await client.say(Buffer.concat([['SET', 'a', long], ['SET', 'b', `${long}${card}`], ['GET', 'a']].map((words) => writeRespCommand(words.map((word) => Buffer.from(word))))), (all) => all.split('\r\n').length >= 4);
  assert.match(text, /^\+OK\r\n-ERR denied by policy, rule inspection\.actions\.credit-card: .*argument 2.*\r\n\+OK\r\n$/);
  assert.deepEqual(commands.map((one) => one.slice(0, 5)), ['SET a', 'GET a']);
  client.socket.destroy();
  const db = await loggedIn();
  assert.equal((await db.say(writeMessage('Q', Buffer.from(`select '${long}'\0`)), (all) => all.length >= 6)).charAt(0), 'Z');
  const before = queries.length;
  assert.match(await db.say(writeMessage('Q', Buffer.from(`select '${long}${card}'\0`)), () => false), /^E[^]*Drule inspection\.actions\.credit-card/);
  assert.equal(queries.length, before);
  silentAbout(card);
});

test('what a labelled host said leaves in no mail, command or query, but for a server with that label', async () => {
  const value = 'CUST-48-20931';
  desk.policy.labels = new Map([['told.test', 'confidential']]);
  desk.policy.inspection = { scanForPII: true, actions: { tainted: 'block' } };
  try {
    await say(await desk.tcp('told.test', told.port), `GET / HTTP/1.1\r\nHost: told.test:${told.port}\r\n\r\n`, wholeAnswer);
    for (const message of [`Subject: ${value}\r\n\r\nhello`, `Subject: x\r\n\r\nabout ${value}.`]) assert.match(await sent(message), /^550-5\.7\.1 Denied by policy, rule inspection\.actions\.tainted/);
    assert.deepEqual(mail.messages, []);
    const set = writeRespCommand(['SET', 'a', value].map((word) => Buffer.from(word)));
    const redisClient = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await redisClient.say(set, (all) => all.includes('\r\n')), /^-ERR denied by policy, rule inspection\.actions\.tainted/);
    redisClient.socket.destroy();
    const client = await loggedIn();
    assert.match(await client.say(writeMessage('Q', Buffer.from(`select '${value}'\0`)), () => false), /Drule inspection\.actions\.tainted/);
    silentAbout(value);
    desk.policy.labels = new Map([...desk.policy.labels, ['redis.test', 'confidential']]);
    const again = new Dialogue(await desk.tcp('redis.test', redis.port));
    assert.match(await again.say(set, (all) => all.includes('\r\n')), /^\+OK/);
    assert.deepEqual(commands, [`SET a ${value}`]);
    again.socket.destroy();
  } finally {
    desk.policy.labels = new Map();
  }
});

test('who is asked about a command is shown neither a card nor what a labelled host said, and of the latter nothing is kept', async () => {
  const value = 'CUST-48-20931';
  desk.policy.labels = new Map([['told.test', 'confidential']]);
  desk.policy.inspection = { scanForPII: true, actions: { default: 'log', tainted: 'log' } };
  try {
    await say(await desk.tcp('told.test', told.port), `GET / HTTP/1.1\r\nHost: told.test:${told.port}\r\n\r\n`, wholeAnswer);
    const client = new Dialogue(await desk.tcp('redis.test', redis.port));
    for (const [given, tainted] of [[card, false], [value, true]] as const) {
      const before = desk.approver.asked.length;
      const waits = client.say(writeRespCommand(['DEL', `of ${given} here`].map((word) => Buffer.from(word))), (all) => all.includes('\r\n'));
      await desk.approver.until(before + 1);
      const question = desk.approver.asked[before];
      assert.match(question?.detail ?? '', /^DEL of .* here$/);
      assert.ok(!`${question?.summary} ${question?.detail}`.includes(given), question?.detail);
      assert.equal(question?.tainted, tainted);
      desk.approver.answer({ verdict: 'deny', approvalId: 'apr_1', by: 'uid:0', reason: 'no' });
      assert.match(await waits, /^-ERR denied by policy/);
    }
    client.socket.destroy();
    for (const one of [card, value]) silentAbout(one);
    assert.deepEqual(commands, []);
  } finally {
    desk.policy.labels = new Map();
  }
});
