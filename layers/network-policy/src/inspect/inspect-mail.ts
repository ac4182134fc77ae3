/** Everything that is found in one mail, as its readers would see it: its subject and head, its text, and what its parts hold encoded. */
import { compileKnown, scan, type Known, type Scan } from '@nemoclaw/detect';
import { isUnreadText } from './charsets.ts';
import { apart, base64Runs, undoQuotedPrintable } from './encoded-runs.ts';
import type { Found } from './findings.ts';
import { findIn, inspectBody, inspectFields, type Inspected, type Looked } from './inspect-body.ts';
import { typesIn } from './mime-fields.ts';
import type { Sought } from '../taint/memory.ts';
import { readText } from './read-text.ts';

/** What stands in these are the addresses of the mail itself, which its envelope is decided by. */
const addresses = /^(?:from|to|cc|bcc|sender|reply-to|return-path|message-id|in-reply-to|references|resent-[a-z-]+|list-[a-z-]+):/i;
const addressLike = new Set(['email', 'ip']);

/** `message`: head, blank line and body, lines ended by CR LF, without the dots of SMTP. What is found in the head or in an encoding cannot be redacted, only blocked. `search`: another way to the same findings. Never throws. */
export function inspectMail(message: Buffer, known: Known, tainted?: Sought, search: Scan = scan): Inspected {
  const looked = { known, tainted, search };
  const blank = message.subarray(0, 2).equals(crlf) ? 0 : message.indexOf('\r\n\r\n') + 2;
  // Without a blank line all of it is head to some servers and body to others.
  const headEnd = blank < 2 && !message.subarray(0, 2).equals(crlf) ? message.length : blank;
  const body = message.subarray(Math.min(headEnd + 2, message.length));
  const plain = inspectBody(body, 'text/plain', known, tainted, search);
  const found: Found[] = [...headFindings(readText(message.subarray(0, headEnd), '').text, looked), ...plain.found, ...encodedFindings(readText(body, '').text, looked)];
  if (hasKnown(message, known)) found.push({ type: 'known-secret', kind: 'known', confidence: 1, place: 'the message' });
  return {
    found,
    unread: typesIn(message.toString('latin1')).some(isUnreadText),
    redacted: (which) => {
      const chosen = found.filter(which);
      if (chosen.some((one) => !plain.found.includes(one))) return undefined;
      const rewritten = plain.redacted(which);
      return rewritten && Buffer.concat([message.subarray(0, message.length - body.length), rewritten]);
    },
  };
}

/** The sandbox's own secrets are looked for in all of it: as it stands, without line breaks (as base64 is written), and without quoted-printable. */
function hasKnown(message: Buffer, known: Known): boolean {
  const needles = compileKnown(known).byteNeedles;
  if (needles.length === 0) return false;
  const text = message.toString('latin1');
  return [text, text.replaceAll('\r\n', ''), undoQuotedPrintable(text)].some((reading) => needles.some((needle) => reading.includes(needle)));
}

const crlf = Buffer.from('\r\n');

function headFindings(head: string, looked: Looked): Found[] {
  const subjects: string[] = [];
  const addressed: string[] = [];
  const others: string[] = [];
  for (const field of head.split(/\r\n(?![ \t])/)) (/^subject:/i.test(field) ? subjects : addresses.test(field) ? addressed : others).push(field);
  const look = (fields: readonly string[], place: string): Found[] => inspectFields(Buffer.from(fields.join(apart), 'utf8'), looked).map((one) => ({ ...one, place }));
  return [...look(subjects, 'the subject'), ...look(addressed, 'the head of the message').filter(({ type }) => !addressLike.has(type)), ...look(others, 'the head of the message')];
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
  // Heads of parts, and of mails in them.
  const heads = text.split(/\r\n(?![ \t])/).filter((line) => /^[\w-]{1,60}:/.test(line));
  for (const one of inspectFields(Buffer.from(heads.join('\r\n'), 'utf8'), looked)) if (one.decoded) found.push({ ...one, place: 'the body, in the head of a part' });
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
