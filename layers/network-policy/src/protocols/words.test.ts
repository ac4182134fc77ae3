/** The words of SMTP, Redis and PostgreSQL: what is read, what is refused, and that no bytes break a reader. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileKnown } from '@nemoclaw/detect';
import { inspectMail } from '../inspect/inspect-mail.ts';
import { ByteReader, ReadEnded } from './byte-reader.ts';
import { readStartup, writeStartup } from './postgres-words.ts';
import { readRespCommand, ReplyCounter, respName, RespProblem, writeRespCommand } from './resp.ts';
import { ScramClient } from './scram.ts';
import { readBase64 } from './smtp-auth.ts';
import { extensionsOf, readCommand, readPath, ReplyReader, stuffed, writeReply } from './smtp-words.ts';

/** What a reader makes of bytes that arrive in the given pieces. */
async function reading<T>(pieces: readonly Buffer[], read: (reader: ByteReader) => Promise<T>): Promise<T> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const sender = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  try {
    for (const piece of pieces) sender.write(piece);
    sender.end();
    return await read(new ByteReader(socket, 20_000));
  } finally {
    sender.destroy();
    socket.destroy();
    server.close();
    await once(server, 'close');
  }
}

test('SMTP: commands and paths', () => {
  assert.deepEqual(readCommand(Buffer.from('mail FROM:<a@b.c>')), { verb: 'MAIL', rest: 'FROM:<a@b.c>' });
  assert.deepEqual(readCommand(Buffer.from('QUIT  ')), { verb: 'QUIT', rest: '' });
  for (const bad of ['', ' QUIT', 'MA', 'MAIL\tFROM:<a@b.c>', 'QUIT\0', 'RCPT TO:<a@b.c>\rDATA', 'RCPT TO:<a@b.c>\nDATA', 'RCPT TO:<\u00e9@b.c>', 'MAIL-FROM x']) assert.equal(readCommand(Buffer.from(bad)), undefined, JSON.stringify(bad));
  assert.deepEqual(readPath('TO:<Ann.Lee+x@Company.COM>', 'TO'), { address: 'Ann.Lee+x@company.com', parameters: new Map() });
  assert.deepEqual(readPath('FROM:<> SIZE=10 BODY=8BITMIME', 'FROM'), { address: '', parameters: new Map([['SIZE', '10'], ['BODY', '8BITMIME']]) });
  for (const bad of [
    'TO:a@b.c', 'TO:<>', 'TO:<a>', 'TO:<@x.y:a@b.c>', 'TO:<a@b.c', 'TO:<a@b.c>>', 'TO:<a@b.c>NOTIFY=NEVER', 'TO:<"a b"@c.d>', 'TO:<"a"@c.d>', 'TO:<a%x.y@b.c>', 'TO:<x.y!a@b.c>', 'TO:<a@b@c.d>', 'TO:<a@[127.0.0.1]>', 'TO:<a@b>',
    'TO:<a@b..c>', 'TO:<.a@b.c>', 'TO:<a@-b.c>', 'TO:<a@b.c.>', 'FROM:<a@b.c>', 'TO :<a@b.c>', 'TO:<a@b.c> A=1 A=2', 'TO:<a@b.c,d@e.f>', 'TO:< a@b.c>', 'TO:  <a@b.c>', `TO:<${'a'.repeat(65)}@b.c>`, 'TO:<postmaster>',
  ]) assert.equal(readPath(bad, 'TO'), undefined, bad);
});

test('SMTP: replies, extensions, dots', () => {
  const reader = new ReplyReader();
  assert.equal(reader.take(Buffer.from('250-mail.test')), 'more');
  assert.equal(reader.take(Buffer.from('250-AUTH PLAIN LOGIN')), 'more');
  const reply = reader.take(Buffer.from('250 size=5'));
  assert.ok(typeof reply !== 'string');
  assert.deepEqual([...extensionsOf(reply)], [['AUTH', 'PLAIN LOGIN'], ['SIZE', '5']]);
  const torn = new ReplyReader();
  torn.take(Buffer.from('250-a'));
  assert.equal(torn.take(Buffer.from('550 b')), 'bad');
  for (const bad of ['', '25', '2500 x', '100 x', 'abc', '250_x']) assert.equal(new ReplyReader().take(Buffer.from(bad)), 'bad', bad);
  assert.equal(writeReply(550, ['a\r\n250 ok', 'b']).toString(), '550-a??250 ok\r\n550 b\r\n');
  assert.equal(stuffed(Buffer.from('.a\r\nb\r\n..c\r\n.\r\n')).toString(), '..a\r\nb\r\n...c\r\n..\r\n.\r\n');
  assert.equal(stuffed(Buffer.from('')).toString(), '.\r\n');
  assert.equal(readBase64('AGEAYg==')?.toString(), '\0a\0b');
  for (const bad of ['*', 'AGEAYg', 'AGEAYg==x', 'AG EA', 'A===']) assert.equal(readBase64(bad), undefined, bad);
});

test('SMTP: a secret in base64 over several lines, in quoted-printable or cut by the end of a line is found', () => {
  const secret = 'sk-real-0123456789abcdef-0123456789-abcdefghijklmnop';
  const wrapped = Buffer.from(`x${secret}y`.repeat(3)).toString('base64').replace(/.{20}/g, '$&\r\n');
  const shows = (message: string): boolean => inspectMail(Buffer.from(message), compileKnown([secret])).found.some(({ type }) => type === 'known-secret');
  for (const body of [wrapped, 'sk-re=\r\nal-012345=36789abcdef-0123456789-abcdefghijklmnop', `${secret.slice(0, 20)}\r\n${secret.slice(20)}`, secret]) assert.ok(shows(`Subject: x\r\n\r\n${body}`), body);
  assert.ok(!shows(`Subject: x\r\n\r\n${secret.slice(0, -1)}`));
});

test('Redis: commands are read whole and named; inline and broken ones are refused', async () => {
  const words = [Buffer.from('config'), Buffer.from('set'), Buffer.from([0, 13, 10, 255])];
  const bytes = writeRespCommand(words);
  const pieces = [...bytes].map((byte) => Buffer.from([byte]));
  assert.deepEqual(await reading(pieces, readRespCommand), words);
  assert.equal(respName(words), 'CONFIG SET');
  assert.equal(respName([Buffer.from('get'), Buffer.from('set')]), 'GET');
  assert.equal(respName([Buffer.from('ge\x00t')]), 'GE?T');
  for (const bad of ['PING\r\n', '*0\r\n', '*-1\r\n', '*1\r\n+PING\r\n', '*1\r\n$4\r\nPINGxx', '*1\r\n$-1\r\n', '*01\r\n$4\r\nPING\r\n', '*1\n$4\nPING\n', '*1\r\n$999999999\r\n', '*99999\r\n', 'GET / HTTP/1.1\r\n']) {
    await assert.rejects(reading([Buffer.from(bad)], readRespCommand), (error) => error instanceof RespProblem || error instanceof ReadEnded, JSON.stringify(bad));
  }
});

test('Redis: replies are counted however they are cut', () => {
  const replies = ['+OK\r\n', '-ERR x\r\n', ':1\r\n', '$5\r\nhe\r\no\r\n', '$-1\r\n', '*0\r\n', '*-1\r\n', '*2\r\n$1\r\na\r\n*2\r\n:1\r\n+b\r\n', '%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n', '_\r\n', '#t\r\n', ',1.5\r\n', '(123\r\n', '=5\r\ntxt:a\r\n', '|1\r\n+a\r\n+b\r\n*1\r\n|1\r\n+c\r\n+d\r\n:9\r\n'];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...replies), { minLength: 1, maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (chosen, cuts) => {
      const counter = new ReplyCounter();
      const all = Buffer.from(chosen.map((one) => `>2\r\n+push\r\n+x\r\n${one}`).join(''));
      let done = 0;
      for (let at = 0, turn = 0; at < all.length; turn += 1) {
        const step = cuts[turn % cuts.length] ?? 1;
        done += counter.feed(all.subarray(at, at + step));
        at += step;
      }
      assert.equal(done, chosen.length);
      assert.equal(counter.broken, false);
    }),
    { seed: 44, numRuns: 300 },
  );
  const odd = new ReplyCounter();
  odd.feed(Buffer.from('$?\r\n'));
  assert.equal(odd.broken, true);
});

test('PostgreSQL: a startup message is read strictly and written as it was', () => {
  const parameters = new Map([['user', 'ann'], ['database', 'crm'], ['options', '']]);
  const bytes = writeStartup({ version: 196_608, parameters });
  assert.deepEqual(readStartup(bytes.subarray(4)), { version: 196_608, parameters });
  const start = (text: string, version = 196_608): Buffer => Buffer.concat([Buffer.from([version >> 24, (version >> 16) & 255, (version >> 8) & 255, version & 255]), Buffer.from(text)]);
  for (const [text, version] of [['user\0a\0user\0b\0\0'], ['user\0a\0'], ['user\0a'], ['database\0a\0\0'], ['user\0\0\0'], ['\0'], [''], ['user\0a\0\0', 131_072], ['user\0a\0\0x\0']] as const) assert.equal(readStartup(start(text, version)), undefined, JSON.stringify(text));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => { readStartup(Buffer.from(noise)); }), { seed: 45, numRuns: 1000 });
});

test('SCRAM-SHA-256 as RFC 7677 §3 has it; a server that does not know the password is found out', async () => {
  // The example of the RFC has a user name; PostgreSQL sends none, so that only its parts can be compared.
  const client = new ScramClient('pencil', 'rOprNGfwEbeRWgbNEkqO');
  assert.equal(client.first(), 'n,,n=,r=rOprNGfwEbeRWgbNEkqO');
  const final = await client.final('r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096');
  assert.match(final, /^c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj\)hNlF\$k0,p=[A-Za-z0-9+/]{43}=$/);
  assert.throws(() => client.verify(`v=${Buffer.alloc(32).toString('base64')}`), /does not know the password/);
  for (const bad of ['', 'r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=9999999']) await assert.rejects(client.final(bad), /wrongly/);
});
