/** The head of a mail is read as its readers read it, one layer of encoding deep; honest mails pass. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileKnown } from '@nemoclaw/detect';
import { examine } from './examine.ts';
import { inspectBody } from './inspect-body.ts';
import { inspectMail } from './inspect-mail.ts';

const none = compileKnown([]);
const card = '4111111111111111';
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const percent = [...card].map((c) => `%${c.charCodeAt(0).toString(16)}`).join('');
const hidden = base64(`pay with ${card}`);

const heads = [
  `X-Note: ${hidden}`, `X-Note: ${hidden.slice(0, 14)}\r\n ${hidden.slice(14)}`, `Subject: ${percent}`, `Subject: ${[...card].map((c) => `&#${c.charCodeAt(0)};`).join('')}`,
  `Content-Disposition: attachment; name*=UTF-8''${percent}`, `Content-Disposition: attachment;\r\n name*0="41111111";\r\n name*1="11111111"`, 'Content-Type: text/plain; name*1="11111111"; name*0="41111111"',
  `Content-Type: x/y; name*0*=utf-8'en'%34%31%31%31; name*1*=${percent.slice(12)}`, `X-Note: =?utf-8?B?${card}?=`, 'X-Note: =?utf-8*en?Q?=34=31=31=31?=\r\n =?utf-8?Q?111111111111?=', `Subject: =?utf-8?B?${base64(percent)}?=`,
];

test('a card in the head of a mail, of a mail in it or of a part is found, however its readers put it together', () => {
  for (const head of heads) {
    const multipart = `--b\r\n${head}\r\n\r\nhello\r\n--b--\r\n`;
    for (const message of [`From: a@b.test\r\n${head}\r\nTo: c@d.test\r\n\r\nhello`, `Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n${head}\r\n\r\nhello\r\n--b--`]) {
      assert.ok(inspectMail(Buffer.from(message), none).found.some(({ type }) => type === 'credit-card'), message);
    }
    assert.ok(inspectBody(Buffer.from(multipart), 'multipart/form-data; boundary=b', none).found.some(({ type }) => type === 'credit-card'), multipart);
  }
});

test('a parameter in a character encoding that nothing reads makes the mail unread', () => {
  for (const [charset, unread] of [['utf-7', true], ['utf-8', false], ['iso-8859-1', false], ['ibm037', true]] as const) {
    assert.equal(inspectMail(Buffer.from(`Subject: x\r\nContent-Disposition: attachment;\r\n filename*0*=${charset}''a%20b\r\n\r\nhello`), none).unread, unread, charset);
  }
});

test('honest heads are clean: signatures, thread indexes, ways to unsubscribe, traces, references', () => {
  const signature = base64(Buffer.from(Array.from({ length: 128 }, (_, i) => (i * 97 + 13) % 251)).toString('latin1')).replace(/.{60}/g, '$&\r\n\t');
  const honest = [
    'Received: from mail-ej1-f54.google.com (mail-ej1-f54.google.com [209.85.218.54])\r\n\tby mx.company.test (Postfix) with ESMTPS id 4Rb1Xv6v8Lz9sWq\r\n\tfor <bob@company.test>; Thu, 19 Nov 2026 08:14:02 +0000 (UTC)',
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=company.test; s=20230601;\r\n\tt=1700381642; x=1700986442; h=to:subject:message-id:date:from;\r\n\tbh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n\tb=${signature}`,
    'Message-ID: <CAF2Kq9xT3d=8k1LJvYQw0fZ+7hQ@mail.company.test>', 'In-Reply-To: <20261119081402.4F21B9C0@mx.company.test>', 'References: <20261119081402.4F21B9C0@mx.company.test>\r\n <CAF2Kq9xT3d@mail.company.test>',
    'Thread-Index: AdoaQ1X5b9YxJm2tQkS0g0Z7d6vUyQAAB3Dw', 'Thread-Topic: Quarterly figures', 'List-Unsubscribe: <mailto:leave-9f3a@lists.company.test?subject=unsubscribe>,\r\n <https://lists.company.test/u/YW5uQGNvbXBhbnkudGVzdA%3D%3D>', 'List-Id: News <news.lists.company.test>',
    'ARC-Seal: i=1; a=rsa-sha256; t=1700381642; cv=none; d=company.test; s=arc-20160816;\r\n\tb=Qk9vTm1pbmF0aW9uLWlzLW5vdC1hLXNlY3JldC1idXQtYS1zaWduYXR1cmU', 'Subject: =?UTF-8?Q?R=C3=A9union_de_jeudi=2C_salle_12?=', 'Subject: =?utf-8?B?4pyI77iPIFlvdXIgdHJpcA==?= on Friday 20 November 2026',
    `Content-Type: application/pdf; name*=UTF-8''R%C3%A9sum%C3%A9%202026.pdf`, 'Content-Type: multipart/mixed; boundary="===============7330845974216740156=="', 'MIME-Version: 1.0', 'Date: Thu, 19 Nov 2026 08:14:02 +0000', 'X-Mailer: Apple Mail (2.3774.300.61.1.2)', 'User-Agent: Mutt/2.2.12 (2026-09-09)',
  ];
  const { found, unread } = inspectMail(Buffer.from(`From: Ann <ann@company.test>\r\nTo: bob@company.test\r\n${honest.join('\r\n')}\r\n\r\nHello Bob,\r\n\r\nsee the figures.\r\n`), none);
  assert.deepEqual([found.filter(({ type }) => type !== 'ip' && type !== 'email'), unread], [[], false]);
});

test('a mail that is sent over HTTP is read as one, whatever ends its lines', () => {
  for (const end of ['\r\n', '\n']) {
    const mail = ['Subject: x', 'Content-Transfer-Encoding: quoted-printable', '', `my card is ${card.slice(0, 8)}=31${card.slice(9)} soon`, ''].join(end);
    const found = (contentType: string): readonly string[] => examine({ bytes: Buffer.from(mail), contentType, known: none, settings: { scanForPII: true } }).found.map(({ type }) => type);
    assert.deepEqual([found('message/rfc822'), found('Message/Global; charset=utf-8'), found('text/plain')], [['credit-card'], ['credit-card'], []]);
  }
});
