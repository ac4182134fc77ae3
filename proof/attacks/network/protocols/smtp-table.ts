/** Mail, byte by byte: smuggled messages, recipients in disguise, commands out of their place. */
import type { Row } from './play.ts';

const from = 'MAIL FROM:<me@company.test>\r\n';
const to = 'RCPT TO:<you@company.test>\r\n';
const data = 'DATA\r\n';
const opened = ['', 'EHLO a\r\n'] as const;
const begun = [...opened, from, to, data] as const;
const envelope = [from, to, data].map((line) => line.trimEnd());
const body = 'Subject: x\r\n\r\nhello\r\n';
const smuggled = 'MAIL FROM:<me@company.test>\r\nRCPT TO:<victim@evil.test>\r\nDATA\r\nsmuggled\r\n.\r\n';
const delivered = (text: string): string => `message ${JSON.stringify(text)}`;

/** Ends of a message that some server takes for one (SMTP smuggling, CVE-2023-51764 and its kind). */
const ends: readonly (readonly [string, string])[] = [
  ['LF dot LF', '\n.\n'], ['LF dot CR LF', '\n.\r\n'], ['CR LF dot LF', '\r\n.\n'], ['CR dot CR', '\r.\r'], ['CR LF dot CR', '\r\n.\r'], ['CR dot CR LF', '\r.\r\n'], ['LF dot CR', '\n.\r'], ['CR dot LF', '\r.\n'], ['CR CR LF dot CR LF', '\r\r\n.\r\n'], ['CR LF dot CR CR LF', '\r\n.\r\r\n'],
  ['a NUL before the dot', '\r\n\0.\r\n'], ['a NUL behind the dot', '\r\n.\0\r\n'], ['LF LF dot LF', '\n\n.\n'], ['CR LF LF dot LF', '\r\n\n.\n'], ['CR LF dot LF CR LF', '\r\n.\n\r\n'],
];

const recipients: readonly (readonly [string, string])[] = [
  ['a denied one', '<victim@evil.test>'], ['a source route', '<@evil.test:you@company.test>'], ['a route of two', '<@a.test,@evil.test:you@company.test>'], ['a percent', '<victim%evil.test@company.test>'], ['a bang', '<evil.test!victim@company.test>'], ['quotes', '<"victim@evil.test"@company.test>'], ['quotes with a blank', '<"a b"@company.test>'], ['a comment', '<you(x)@company.test>'],
  ['two in one', '<you@company.test,victim@evil.test>'], ['two in brackets', '<you@company.test><victim@evil.test>'], ['two, comma', '<you@company.test>, <victim@evil.test>'], ['nested brackets', '<<victim@evil.test>you@company.test>'], ['two signs', '<victim@evil.test@company.test>'], ['the denied behind', '<you@company.test@evil.test>'], ['no brackets', 'you@company.test'], ['an address', '<you@[127.0.0.1]>'], ['an address of IPv6', '<you@[IPv6:::1]>'],
  ['a dot behind', '<you@company.test.>'], ['a domain below', '<you@evil.company.test>'], ['a domain that begins so', '<you@company.test.evil.test>'], ['a domain that ends so', '<you@evilcompany.test>'], ['no domain', '<you>'], ['postmaster', '<postmaster>'], ['nobody', '<>'], ['a byte above 127', '<y\xf6u@company.test>'], ['UTF-8 in the domain', '<you@\xd1\x81ompany.test>'], ['a NUL', '<you@company.test\0@evil.test>'],
  ['a backslash', '<you\\@evil.test@company.test>'], ['a tab', '<you@company.test\t>'], ['a blank inside', '<you @company.test>'], ['a parameter', '<you@company.test> ORCPT=rfc822;victim@evil.test'], ['a parameter of DSN', '<you@company.test> NOTIFY=SUCCESS'], ['a local part too long', `<${'a'.repeat(65)}@company.test>`], ['two dots', '<a..b@company.test>'], ['a dot in front', '<.a@company.test>'], ['a label too long', `<you@${'a'.repeat(64)}.company.test>`],
  ['a line feed and a second command', '<you@company.test>\nRCPT TO:<victim@evil.test>'], ['a carriage return and a second command', '<you@company.test>\rRCPT TO:<victim@evil.test>'], ['a semicolon', '<you@company.test>;<victim@evil.test>'], ['a mailto', '<mailto:you@company.test>'], ['a colon', '<a:you@company.test;>'],
];

const commands: readonly (readonly [string, string])[] = [
  ['EXPN', 'EXPN staff'], ['VRFY', 'VRFY victim'], ['TURN', 'TURN'], ['ETRN', 'ETRN evil.test'], ['XCLIENT', 'XCLIENT ADDR=127.0.0.1'], ['XFORWARD', 'XFORWARD NAME=x'], ['BURL', 'BURL imap://evil.test/ LAST'], ['SEND', 'SEND FROM:<a@b.test>'], ['SOML', 'SOML FROM:<a@b.test>'], ['SAML', 'SAML FROM:<a@b.test>'], ['DEBUG', 'DEBUG'], ['WIZ', 'WIZ'], ['LHLO', 'LHLO a'],
  ['a byte above 127', 'NOOP \xff'], ['a NUL', 'NOOP a\0b'], ['a control byte', 'NOOP \x08'], ['a blank in front', ' RCPT TO:<victim@evil.test>'], ['no words', ''], ['two words in one', 'RCPTTO:<victim@evil.test>'], ['DATA with words', 'DATA x'], ['STARTTLS with words', 'STARTTLS x'], ['AUTH', 'AUTH PLAIN AGEAYg=='], ['AUTH of no kind', 'AUTH XOAUTH9 x'],
];

const senders: readonly (readonly [string, string])[] = [
  ['SMTPUTF8', '<me@company.test> SMTPUTF8'], ['BINARYMIME', '<me@company.test> BODY=BINARYMIME'], ['a size twice', '<me@company.test> SIZE=1 SIZE=2'], ['a size that is none', '<me@company.test> SIZE=-1'], ['a size beyond', '<me@company.test> SIZE=999999999999'], ['RET', '<me@company.test> RET=FULL'], ['ENVID', '<me@company.test> ENVID=x'], ['AUTH of another', '<me@company.test> AUTH=boss@company.test'], ['an unknown word', '<me@company.test> X=y'], ['a route', '<@evil.test:me@company.test>'],
  ['a line feed', '<me@company.test>\nRCPT TO:<victim@evil.test>'], ['a byte above 127', '<m\xe9@company.test>'], ['two', '<me@company.test> <x@evil.test>'], ['no brackets', 'me@company.test'], ['a parameter with a line feed', '<me@company.test> BODY=7BIT\nRCPT'],
];

export const smtp: readonly Row[] = [
  { name: 'control: a mail', say: [...begun, `${body}.\r\n`, 'QUIT\r\n'], told: /221/, hears: [...envelope, delivered(body.trimEnd())] },
  { name: 'control: small letters, capitals in the domain', say: [...opened, 'mail from:<me@COMPANY.test>\r\n', 'rcpt to:<You@Company.Test>\r\n', 'data\r\n', `${body}.\r\n`], told: /250 .*queued/, hears: ['MAIL FROM:<me@company.test>', 'RCPT TO:<You@company.test>', 'DATA', delivered(body.trimEnd())] },
  { name: 'control: everything in one piece', say: ['', `EHLO a\r\n${from}${to}${data}${body}.\r\nQUIT\r\n`], told: /221/, hears: [...envelope, delivered(body.trimEnd())] },
  { name: 'control: 8BITMIME and a size', say: [...opened, 'MAIL FROM:<me@company.test> SIZE=100 BODY=8BITMIME AUTH=<>\r\n', to, data, 'h\xe9\r\n.\r\n'], told: /queued/, hears: ['MAIL FROM:<me@company.test> BODY=8BITMIME', 'RCPT TO:<you@company.test>', 'DATA', delivered('h\xe9')] },
  ...ends.map(([name, end]): Row => ({ name: `a message ended by ${name}, and another behind it: refused whole`, say: [...begun, `${body.trimEnd()}${end}${smuggled}${body}.\r\n`], told: /554 5\.6\.0/, hears: envelope.slice(0, 2) })),
  { name: 'a line feed alone: refused', say: [...begun, 'a\nb\r\n.\r\n'], told: /554 5\.6\.0/, hears: envelope.slice(0, 2) },
  { name: 'a carriage return alone: refused', say: [...begun, 'a\rb\r\n.\r\n'], told: /554 5\.6\.0/, hears: envelope.slice(0, 2) },
  { name: 'two dots are one', say: [...begun, '..\r\n...x\r\n.\r\n'], told: /queued/, hears: [...envelope, delivered('..\r\n...x')] },
  { name: 'one dot before a text is none', say: [...begun, '.x\r\n.\r\n'], told: /queued/, hears: [...envelope, delivered('x')] },
  { name: 'an empty message', say: [...begun, '.\r\n'], told: /queued/, hears: [...envelope, delivered('')] },
  { name: 'a message that looks like commands is a message', say: [...begun, `${smuggled.replace('\r\n.\r\n', '')}\r\n.\r\n`, 'QUIT\r\n'], told: /221/, hears: [...envelope, delivered(smuggled.slice(0, -5))] },
  { name: 'a message that never ends is never sent', say: [...opened, from, to, `${data}`, `${body}.\r`], told: /354/, hears: envelope.slice(0, 2) },
  { name: 'BDAT: refused, and what follows is not read', say: [...opened, from, `${to}BDAT ${smuggled.length} LAST\r\n${smuggled}`], told: /521/, hears: envelope.slice(0, 2) },
  { name: 'BDAT of nothing: refused', say: [...opened, from, to, `BDAT 0 LAST\r\n${smuggled}`], told: /521/, hears: envelope.slice(0, 2) },
  { name: 'commands sent ahead of TLS: refused', say: [...opened, `STARTTLS\r\n${from}${to}`], told: /501 5\.5\.1 Commands were sent ahead/, hears: [] },
  { name: 'commands sent ahead of TLS, in small letters: refused', say: [...opened, 'starttls\r\nrset\r\n'], told: /501 5\.5\.1 Commands were sent ahead/, hears: [] },
  { name: 'after STARTTLS no plain command is obeyed', say: [...opened, 'STARTTLS\r\n', `${from}${to}`], told: 'closed', hears: [] },
  { name: 'STARTTLS within a mail forgets it', say: [...opened, from, 'STARTTLS\r\n', to], told: 'closed', hears: envelope.slice(0, 1) },
  ...recipients.map(([name, one]): Row => ({ name: `recipient, ${name}: refused`, say: [...opened, from, `RCPT TO:${one}\r\n`, 'DATA\r\n'], told: /(?:55[03]|50[0-3])[ -][\s\S]*503 5/, hears: envelope.slice(0, 1) })),
  { name: 'an allowed recipient, then a denied one: only the allowed', say: [...opened, from, to, 'RCPT TO:<victim@evil.test>\r\n', data, `${body}.\r\n`], told: /550-5\.7\.1[\s\S]*queued/, hears: [...envelope, delivered(body.trimEnd())] },
  { name: 'a denied recipient, RSET, and the allowed one', say: [...opened, from, 'RCPT TO:<victim@evil.test>\r\n', 'RSET\r\n', from, to, data, `${body}.\r\n`], told: /queued/, hears: [envelope[0] ?? '', ...envelope, delivered(body.trimEnd())] },
  { name: 'a message after every recipient was denied is read as commands, and decided as such', say: [...opened, from, `RCPT TO:<victim@evil.test>\r\nDATA\r\n${smuggled}`, 'QUIT\r\n'], told: /221/, hears: envelope.slice(0, 1) },
  { name: 'a mail behind a mail is decided anew', say: [...begun, `${body}.\r\n`, `${smuggled}`, 'QUIT\r\n'], told: /221/, hears: [...envelope, delivered(body.trimEnd()), envelope[0] ?? ''] },
  { name: 'a second sender within a mail', say: [...opened, from, 'MAIL FROM:<boss@company.test>\r\n', 'QUIT\r\n'], told: /503[\s\S]*221/, hears: envelope.slice(0, 1) },
  { name: 'a greeting within a mail forgets it', say: [...opened, from, to, 'EHLO b\r\n', 'DATA\r\n', 'QUIT\r\n'], told: /503[\s\S]*221/, hears: envelope.slice(0, 2) },
  { name: 'a mail before the greeting', say: ['', from, 'QUIT\r\n'], told: /503[\s\S]*221/, hears: [] },
  { name: 'commands behind QUIT are none', say: [...opened, `QUIT\r\n${from}${to}`], told: /221/, hears: [] },
  { name: 'a greeting with a blank', say: ['', 'EHLO a b\r\n', 'QUIT\r\n'], told: /501[\s\S]*221/, hears: [] },
  { name: 'a greeting with a line feed', say: ['', `EHLO a\n${from}`, '\r\nQUIT\r\n'], told: /50[01][\s\S]*221/, hears: [] },
  ...commands.map(([name, line]): Row => ({ name: `command, ${name}: goes nowhere`, say: [...opened, `${line}\r\n`, 'QUIT\r\n'], told: /(?:25[02]|5\d\d)[\s\S]*221/, hears: [] })),
  ...senders.map(([name, one]): Row => ({ name: `sender, ${name}: refused`, say: [...opened, `MAIL FROM:${one}\r\n`, 'QUIT\r\n'], told: /5\d\d[\s\S]*221/, hears: [] })),
  { name: 'a request of HTTP: refused at its first line', say: ['', `POST / HTTP/1.1\r\nHost: mail.test\r\nContent-Length: 200\r\n\r\nEHLO a\r\n${from}${to}`], told: /521/, hears: [] },
  { name: 'a line that never ends: closed', say: [...opened, `NOOP ${'a'.repeat(20_000)}`], told: /421 4\.4\.2/, hears: [] },
  { name: 'more recipients than are taken', say: [...opened, from, `${Array.from({ length: 101 }, (_, i) => `RCPT TO:<u${i}@company.test>\r\n`).join('')}`, ''], told: /452/, hears: [envelope[0] ?? '', ...Array.from({ length: 100 }, (_, i) => `RCPT TO:<u${i}@company.test>`)], once: true },
];
