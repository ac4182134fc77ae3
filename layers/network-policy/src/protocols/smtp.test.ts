/** Mail through a whole egress on loopback: decided by recipient, encrypted to the server, rebuilt, held, searched. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { openDesk } from '../testing/testing-egress.ts';
import type { Desk } from '../testing/testing-egress.ts';
import { Dialogue, openMailServer } from './testing-servers.ts';
import type { MailServer } from './testing-servers.ts';

const secret = 'sk-real-0123456789abcdef';
const placeholder = 'nemo-placeholder-42';
let server: MailServer;
let desk: Desk;

before(async () => {
  server = await openMailServer('smtp.test');
  desk = await openDesk({
    rules: [
      { host: 'smtp.test', verdict: 'deny', id: 'egress.deny[0]', said: (m) => m.protocol === 'smtp' && m.recipients.some((one) => one.endsWith('@evil.test')) },
      { host: 'smtp.test', verdict: 'escalate', id: 'egress.escalate[0]', said: (m) => m.protocol === 'smtp' && m.recipients.some((one) => one.endsWith('@partner.test')) },
      { host: 'smtp.test', verdict: 'allow' }, { host: 'closed.test', verdict: 'deny' },
    ],
    pins: [{ host: 'smtp.test', caPem: server.caPem }, { host: 'closed.test' }], ports: [server.port],
    credentials: [{ placeholder, value: secret, host: 'smtp.test', header: 'auth', pathPrefix: '' }, { placeholder: 'nemo-placeholder-other', value: 'sk-other-9876543210fedcba', host: 'api.test', header: 'authorization', pathPrefix: '' }],
  });
  desk.policy.own = new Map([[server.port, 'smtp']]);
});
after(async () => {
  await desk.close();
  await server.close();
});
beforeEach(() => {
  server.lines.length = 0;
  server.messages.length = 0;
  server.offers = ['STARTTLS'];
  server.injected = '';
  desk.policy.mail = 'required';
});

const reply = (text: string): boolean => /^\d{3} .*\r\n$/m.test(text.slice(text.lastIndexOf('\n', text.length - 2) + 1));
const ask = (mail: Dialogue, line: string): Promise<string> => mail.say(`${line}\r\n`, reply);

async function greeted(encrypted = false): Promise<Dialogue> {
  const mail = new Dialogue(await desk.tcp('smtp.test', server.port));
  assert.match(await mail.say('', reply), /^220 /);
  assert.match(await ask(mail, 'EHLO agent'), /250-SIZE \d+\r\n/);
  if (!encrypted) return mail;
  assert.match(await ask(mail, 'STARTTLS'), /^220 /);
  mail.release();
  const tls = connectTls({ socket: mail.socket, servername: 'smtp.test', ca: desk.rootPem });
  await once(tls, 'secureConnect');
  mail.resume(tls);
  assert.doesNotMatch(await ask(mail, 'EHLO agent'), /STARTTLS/);
  return mail;
}

test('a mail goes out rebuilt, over a verified STARTTLS, with the real password', async () => {
  const mail = await greeted(true);
  assert.match(await ask(mail, `AUTH PLAIN ${Buffer.from(`\0ann\0${placeholder}`).toString('base64')}`), /^235/);
  assert.match(await ask(mail, 'mail from:<ann@COMPANY.test> SIZE=10 BODY=8BITMIME'), /^250/);
  assert.match(await ask(mail, 'RCPT TO:<Bob@Company.TEST>'), /^250/);
  assert.match(await ask(mail, 'DATA'), /^354/);
  const end = await mail.say('Subject: x\r\n\r\n..one dot\r\n...\r\nrest\r\n.\r\n', reply);
  assert.match(end, /^250 2\.0\.0 queued nemo-placeholder-42/, 'a credential that the server repeats is masked');
  assert.match(await ask(mail, 'QUIT'), /^221/);
  assert.deepEqual(server.lines.slice(0, 3), ['EHLO agent', 'STARTTLS', 'tls EHLO agent']);
  const encrypted = server.lines.filter((line) => /^tls (AUTH|MAIL|RCPT|DATA)/.test(line));
  assert.deepEqual(encrypted, [`tls AUTH PLAIN ${Buffer.from(`\0ann\0${secret}`).toString('base64')}`, 'tls MAIL FROM:<ann@company.test> BODY=8BITMIME', 'tls RCPT TO:<Bob@company.test>', 'tls DATA']);
  assert.deepEqual(server.messages, ['Subject: x\r\n\r\n..one dot\r\n...\r\nrest\r\n']);
});

test('a denied recipient is refused by name of the rule, and never shown to the server', async () => {
  const mail = await greeted();
  await ask(mail, 'MAIL FROM:<a@company.test>');
  assert.match(await ask(mail, 'RCPT TO:<x@evil.test>'), /^550-5\.7\.1 Denied by policy, rule egress\.deny\[0\] \(event [\w.]+\)\r\n/);
  assert.match(await ask(mail, 'DATA'), /^503/);
  assert.match(await ask(mail, 'RCPT TO:<b@company.test>'), /^250/);
  assert.ok(server.lines.every((line) => !line.includes('evil')));
  const event = desk.audit.events.find((one) => one.verdict === 'deny' && one.data?.['recipient'] === 'x@evil.test');
  assert.equal(event?.decision?.rules[0]?.id, 'egress.deny[0]');
  mail.socket.destroy();
});

test('a host that is denied is refused at the greeting', async () => {
  const name = await desk.resolve('closed.test');
  assert.equal(name, undefined);
  desk.policy.rules = [...desk.policy.rules.filter((rule) => rule.host !== 'closed.test'), { host: 'closed.test', verdict: 'deny', said: () => true, id: 'egress.deny[7]' }, { host: 'closed.test', verdict: 'allow' }];
  const mail = new Dialogue(await desk.tcp('closed.test', server.port));
  assert.match(await mail.say('', () => false), /^554-5\.7\.1 Denied by policy, rule egress\.deny\[7\]/);
});

test('a server without STARTTLS gets nothing, unless the rule allows it; then there is no login', async () => {
  server.offers = [];
  const refused = new Dialogue(await desk.tcp('smtp.test', server.port));
  await refused.say('', reply);
  assert.match(await refused.say('EHLO agent\r\n', () => false), /^421-.*\r\n421 5\.7\.1 the server does not offer STARTTLS/);
  assert.ok(server.lines.every((line) => line.startsWith('EHLO')));
  desk.policy.mail = 'allowed';
  const open = await greeted();
  assert.match(await ask(open, `AUTH PLAIN ${Buffer.from(`\0ann\0${placeholder}`).toString('base64')}`), /^538/);
  open.socket.destroy();
});

test('a certificate of another authority ends it before anything is said', async () => {
  const stranger = await openMailServer('smtp.test');
  try {
    desk.policy.own = new Map([[server.port, 'smtp']]);
    const other = await openDesk({ rules: [{ host: 'smtp.test', verdict: 'allow' }], pins: [{ host: 'smtp.test', caPem: server.caPem }], ports: [stranger.port] });
    other.policy.own = new Map([[stranger.port, 'smtp']]);
    const mail = new Dialogue(await other.tcp('smtp.test', stranger.port));
    await mail.say('', reply);
    assert.match(await mail.say('EHLO agent\r\n', () => false), /^421/);
    assert.deepEqual(stranger.lines, ['EHLO agent', 'STARTTLS']);
    await other.close();
  } finally {
    await stranger.close();
  }
});

test('STARTTLS: nothing that was sent in the clear becomes part of the encrypted conversation, on either side', async () => {
  const mail = await greeted();
  const text = await mail.say('STARTTLS\r\nMAIL FROM:<a@company.test>\r\n', () => false);
  assert.match(text, /^501 /);
  server.lines.length = 0;
  server.injected = '250 injected\r\n';
  const second = new Dialogue(await desk.tcp('smtp.test', server.port));
  await second.say('', reply);
  assert.match(await second.say('EHLO agent\r\n', () => false), /^421/);
  assert.ok(server.lines.every((line) => !line.startsWith('tls')));
});

test('messages whose end servers see differently are refused whole', async () => {
  for (const body of ['a\n.\nMAIL FROM:<x@evil.test>\r\n.\r\n', 'a\r\n.\nb\r\n.\r\n', 'a\n.\r\nb\r\n.\r\n', 'a\r.\rb\r\n.\r\n', 'a\0b\r\n.\r\n']) {
    const mail = await greeted();
    await ask(mail, 'MAIL FROM:<a@company.test>');
    await ask(mail, 'RCPT TO:<b@company.test>');
    await ask(mail, 'DATA');
    assert.match(await mail.say(body, () => false), /^554 5\.6\.0/, JSON.stringify(body));
  }
  assert.deepEqual(server.messages, []);
  assert.ok(!server.lines.includes('tls DATA'));
});

test('a secret in the message or an address, or a placeholder bound elsewhere, stops it', async () => {
  const mail = await greeted();
  assert.match(await ask(mail, `AUTH PLAIN ${Buffer.from('\0ann\0nemo-placeholder-other').toString('base64')}`), /^535-.*credentials\.binding/);
  assert.match(await ask(mail, `MAIL FROM:<${secret}@company.test>`), /^550-.*inspection\.scanForPII/);
  for (const text of [`key ${secret}`, `key ${Buffer.from(secret).toString('base64').replace(/.{8}/g, '$&\r\n')}`, 'key sk-real=2D0123456789=\r\nabcdef']) {
    await ask(mail, 'MAIL FROM:<a@company.test>');
    await ask(mail, 'RCPT TO:<b@company.test>');
    await ask(mail, 'DATA');
    assert.match(await mail.say(`${text}\r\n.\r\n`, reply), /^550-.*inspection\.scanForPII/, text);
  }
  assert.deepEqual(server.messages, []);
  assert.ok(server.lines.every((line) => !line.includes(secret)));
  mail.socket.destroy();
});

async function send(mail: Dialogue, text: string): Promise<void> {
  await ask(mail, 'MAIL FROM:<a@company.test>');
  await ask(mail, 'RCPT TO:<b@partner.test>');
  await ask(mail, 'DATA');
  mail.socket.write(`${text}\r\n.\r\n`);
}

for (const encrypted of [false, true]) {
  test(`a mail that a person is asked about is withdrawn with its client, ${encrypted ? 'also inside TLS' : 'and never sent'}`, async () => {
    const mail = await greeted(encrypted);
    const asked = desk.approver.asked.length;
    await send(mail, 'Subject: gone');
    await desk.approver.until(asked + 1);
    mail.socket.end('QUIT\r\n');
    while (desk.approver.withdrawn.at(-1) !== desk.approver.asked.at(-1)?.holdId) await new Promise((next) => setTimeout(next, 5));
    assert.deepEqual(server.messages, []);
  });
}

test('nothing in a name, an address or a login leaves unsearched; what a person decides on is asked about with the mail', async () => {
  const card = '4111111111111111';
  const other = 'sk-other-9876543210fedcba';
  const { inspection } = desk.policy;
  try {
    for (const scanForPII of [true, false]) {
      desk.policy.inspection = { scanForPII };
      const mail = await greeted(true);
      for (const line of [`EHLO ${other}`, `MAIL FROM:<${secret}@company.test>`, `AUTH PLAIN ${Buffer.from(`\0ann\0${other}`).toString('base64')}`, `AUTH PLAIN ${Buffer.from(`\0ann\0${placeholder}${other}`).toString('base64')}`]) assert.match(await ask(mail, line), /^5\d\d.*rule inspection\.scanForPII/s, line);
      if (scanForPII) for (const line of [`EHLO ${card}`, `EHLO ${card}.company.test`, `MAIL FROM:<${card}@company.test>`]) assert.match(await ask(mail, line), /^550.*rule inspection\.actions\.credit-card/s, line);
      assert.match(await ask(mail, 'EHLO my_laptop.'), /^250/);
      assert.match(await ask(mail, 'MAIL FROM:<root@localhost>'), /^250/);
      assert.match(await ask(mail, 'RCPT TO:<root@localhost>'), /^553/, 'the server may complete it');
      if (scanForPII) assert.match(await ask(mail, `RCPT TO:<${card}@company.test>`), /^550.*rule inspection\.actions\.credit-card/s);
      assert.match(await ask(mail, 'RCPT TO:<b@company.test>'), /^250/);
      assert.match(await ask(mail, 'DATA'), /^354/);
      assert.match(await mail.say(`Subject: x\r\n\r\nsee ${other}\r\n.\r\n`, reply), /^550.*rule inspection\.scanForPII/s);
      mail.socket.destroy();
    }
    desk.policy.inspection = { scanForPII: true, actions: { 'credit-card': 'escalate' } };
    const mail = await greeted();
    for (const line of [`MAIL FROM:<a@company.test>`, `RCPT TO:<${card}@company.test>`]) assert.match(await ask(mail, line), /^250/);
    assert.match(await ask(mail, 'DATA'), /^354/);
    const asked = desk.approver.asked.length;
    const sent = mail.say('Subject: x\r\n\r\nhello\r\n.\r\n', reply);
    await desk.approver.until(asked + 1);
    desk.approver.answer({ verdict: 'deny', approvalId: 'apr_1', by: 'ann', reason: 'no' });
    assert.match(await sent, /^550/);
    assert.ok(server.lines.every((line) => !line.includes(other)) && server.messages.length === 0);
    mail.socket.destroy();
  } finally {
    desk.policy.inspection = inspection;
  }
});

test('what the server still has of a mail that came to nothing is forgotten there, too', async () => {
  server.takes = '451 4.7.1 later';
  try {
    const mail = await greeted();
    for (const line of ['MAIL FROM:<a@company.test>', 'RCPT TO:<b@company.test>']) await ask(mail, line);
    await ask(mail, 'DATA');
    assert.match(await mail.say('Subject: x\r\n\r\nhello\r\n.\r\n', reply), /^451/);
    assert.match(await ask(mail, 'RSET'), /^250/);
    assert.deepEqual(server.lines.slice(-3), ['tls DATA', 'tls RSET', 'tls RSET']);
    for (const line of ['MAIL FROM:<a@company.test>', 'RCPT TO:<b@company.test>']) assert.match(await ask(mail, line), /^250/);
    assert.match(await ask(mail, 'STARTTLS'), /^220 /);
    mail.release();
    const tls = connectTls({ socket: mail.socket, servername: 'smtp.test', ca: desk.rootPem });
    await once(tls, 'secureConnect');
    mail.resume(tls);
    await ask(mail, 'NOOP');
    assert.equal(server.lines.at(-1), 'tls RSET');
    mail.socket.destroy();
  } finally {
    server.takes = '354 go';
  }
});

test('a mail that a person decides on waits whole; it goes out once approved, and not when rejected', async () => {
  const mail = await greeted();
  const asked = desk.approver.asked.length;
  await send(mail, 'Subject: offer');
  await desk.approver.until(asked + 1);
  assert.deepEqual(server.messages, []);
  const card = desk.approver.asked.at(-1);
  assert.match(card?.summary ?? '', /send mail by smtp\.test:\d+ to b@partner\.test/);
  assert.match(card?.detail ?? '', /Subject: offer/);
  desk.approver.answer({ verdict: 'allow', approvalId: 'apr_1', by: 'ann' });
  assert.match(await mail.say('', reply), /^250/);
  assert.deepEqual(server.messages, ['Subject: offer\r\n']);
  await send(mail, 'Subject: other');
  await desk.approver.until(asked + 2);
  desk.approver.answer({ verdict: 'deny', approvalId: 'apr_2', by: 'ann', reason: 'Not this one.' });
  assert.match(await mail.say('', reply), /^550-.*\r\n550-5\.7\.1 Not this one\./);
  await send(mail, 'Subject: later');
  await desk.approver.until(asked + 3);
  desk.approver.answer({ verdict: 'waiting', approvalId: 'apr_3' });
  assert.match(await mail.say('', reply), /^451-[^]*approval apr_3/);
  const key = desk.approver.asked.at(-1)?.key ?? '';
  desk.approver.grants.add(key);
  await send(mail, 'Subject: later');
  assert.match(await mail.say('', reply), /^250/);
  assert.equal(server.messages.length, 2);
  assert.ok(desk.audit.committed.length >= 2, 'what a person allowed is on durable record first');
  mail.socket.destroy();
});

test('a policy change ends the conversation with a reason, if it decides otherwise now', async () => {
  const mail = await greeted();
  const other = await greeted();
  await ask(mail, 'MAIL FROM:<a@company.test>');
  await ask(mail, 'RCPT TO:<b@company.test>');
  const { rules } = desk.policy;
  desk.policy.rules = [{ host: 'smtp.test', verdict: 'deny', id: 'egress.deny[9]', said: (m) => m.protocol === 'smtp' && m.recipients.includes('b@company.test') }, ...rules];
  desk.egress.update(desk.config);
  assert.match(await mail.say('', () => false), /^421-5\.7\.1 Denied by policy, rule egress\.deny\[9\]/);
  assert.match(await ask(other, 'NOOP'), /^250/);
  desk.policy.rules = rules;
  other.socket.destroy();
});

test('pipelined commands are answered one by one; words of other protocols end it', async () => {
  const mail = await greeted();
  const text = await mail.say('MAIL FROM:<a@company.test>\r\nRCPT TO:<b@company.test>\r\nRCPT TO:<x@evil.test>\r\nNOOP\r\n', (all) => /^250 2\.0\.0 Ok\r\n$/m.test(all));
  assert.deepEqual([...text.matchAll(/^(\d{3}) /gm)].map((match) => match[1]), ['250', '250', '550', '250']);
  for (const line of ['BDAT 10 LAST', 'GET / HTTP/1.1']) {
    const odd = await greeted();
    assert.match(await odd.say(`${line}\r\n0123456789`, () => false), /^521 /);
  }
  mail.socket.destroy();
});
