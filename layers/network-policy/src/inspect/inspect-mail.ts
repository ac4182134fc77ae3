/** Everything that is found in one mail, as its readers would see it: its subject and head, its text, and what its parts hold encoded. */
import type { Known } from '@nemoclaw/detect';
import { isUnreadText } from './charsets.ts';
import { base64Runs, undoQuotedPrintable } from './encoded-runs.ts';
import type { Found } from './findings.ts';
import { findIn, inspectBody, type Inspected, type Looked } from './inspect-body.ts';
import type { Sought } from '../taint/memory.ts';
import { readText } from './read-text.ts';

/** What stands in these are the addresses of the mail itself, which its envelope is decided by. */
const addresses = /^(?:from|to|cc|bcc|sender|reply-to|return-path|message-id|in-reply-to|references|resent-[a-z-]+|list-[a-z-]+):/i;
const addressLike = new Set(['email', 'ip']);

/** `message`: head, blank line and body, lines ended by CR LF, without the dots of SMTP. What is found in the head or in an encoding cannot be redacted, only blocked. Never throws. */
export function inspectMail(message: Buffer, known: Known, tainted?: Sought): Inspected {
  const blank = message.subarray(0, 2).equals(crlf) ? 0 : message.indexOf('\r\n\r\n') + 2;
  // Without a blank line all of it is head to some servers and body to others.
  const headEnd = blank < 2 && !message.subarray(0, 2).equals(crlf) ? message.length : blank;
  const body = message.subarray(Math.min(headEnd + 2, message.length));
  const plain = inspectBody(body, 'text/plain', known, tainted);
  const found: Found[] = [...headFindings(readText(message.subarray(0, headEnd), '').text, { known, tainted }), ...plain.found, ...encodedFindings(readText(body, '').text, { known, tainted })];
  return {
    found,
    unread: hasUnreadText(message.toString('latin1')),
    redacted: (which) => {
      const chosen = found.filter(which);
      if (chosen.some((one) => !plain.found.includes(one))) return undefined;
      const rewritten = plain.redacted(which);
      return rewritten && Buffer.concat([message.subarray(0, message.length - body.length), rewritten]);
    },
  };
}

/** Whether the message or a part of it says that it is in a character encoding that nothing here reads, or a word of its head does. */
function hasUnreadText(message: string): boolean {
  const types = [...message.matchAll(/^content-type[ \t]*:((?:[^\r\n]|\r\n[ \t])*)/gim)];
  const words = [...message.matchAll(/=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z0-9-]*)?\?[BbQq]\?/g)];
  return types.some(([, type = '']) => isUnreadText(type.trim().toLowerCase())) || words.some(([, charset = '']) => isUnreadText(`text/plain; charset=${charset.toLowerCase()}`));
}

const crlf = Buffer.from('\r\n');

function headFindings(head: string, looked: Looked): Found[] {
  const found: Found[] = [];
  for (const line of head.replace(/\r\n[ \t]+/g, ' ').split('\r\n')) {
    const text = encodedWords(line);
    const place = /^subject:/i.test(line) ? 'the subject' : 'the head of the message';
    for (const { type, kind, confidence } of findIn(text, looked)) {
      if (addressLike.has(type) && addresses.test(line)) continue;
      found.push({ type, kind, confidence, place, ...(text === line ? {} : { decoded: true as const }) });
    }
  }
  return found;
}

/** `=?utf-8?B?…?=` and `=?utf-8?Q?…?=` read (RFC 2047); blanks between two of them do not count. */
function encodedWords(line: string): string {
  return line.replace(/\?=\s+=\?/g, '?==?').replace(/=\?([A-Za-z0-9*_-]{1,40})\?([BbQq])\?([^?]*)\?=/g, (_, charset: string, how: string, text: string) => {
    const bytes = /b/i.test(how) ? Buffer.from(text, 'base64') : Buffer.from(unquote(text.replaceAll('_', ' ')), 'latin1');
    return readText(bytes, `charset=${charset.toLowerCase()}`).text;
  });
}

/** Quoted-printable, and base64 whose lines are shorter than anything writes them: what shows only when they are undone. */
function encodedFindings(text: string, looked: Looked): Found[] {
  const found: Found[] = [];
  const look = (decoded: string, how: string): void => {
    for (const { type, kind, confidence, start, end } of findIn(decoded, looked)) {
      if (!text.includes(decoded.slice(start, end))) found.push({ type, kind, confidence, place: `the body, ${how}`, decoded: true });
    }
  };
  if (/=(?:[0-9A-Fa-f]{2}|[ \t]*\r\n)/.test(text)) look(readText(Buffer.from(unquote(text), 'latin1'), '').text, 'quoted-printable');
  for (const run of base64Runs(withoutBreaks(text))) look(run.text, 'in base64');
  return found;
}

/** Lines of nothing but base64 joined to one; all others end what was joined. */
function withoutBreaks(text: string): string {
  let before = false;
  let out = '';
  for (const line of text.split('\r\n')) {
    const pure = /^[A-Za-z0-9+/]+=*$/.test(line);
    out += pure && before ? line : `\n${line}`;
    before = pure;
  }
  return out;
}

const unquote = (text: string): string => undoQuotedPrintable(Buffer.from(text, 'utf8').toString('latin1'));
