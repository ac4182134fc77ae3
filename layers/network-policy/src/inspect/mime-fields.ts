/** The fields of a MIME head as those who read them see them: unfolded, their encoded words read, their parameters put together. Pure. */
import { apart, undoQuotedPrintable } from './encoded-runs.ts';
import { readText } from './read-text.ts';

/** `head`: whole fields. The other ways in which they are read; '' where there is none but how they are written. */
export function otherReadings(head: string): string {
  if (!read.test(head)) return '';
  const readings: string[] = [];
  for (const field of head.split(/\r?\n(?![ \t])/)) {
    if (!read.test(field)) continue;
    const one = unfolded(field);
    // Blanks that a fold is made with belong to the field or do not, as its reader likes.
    const forms = one === field ? [one] : [one, field.replace(/\r?\n[ \t]+/g, '')];
    if (one !== field) readings.push(...forms);
    if (field.includes('=?')) readings.push(...forms.map(encodedWords));
    if (field.includes('*')) readings.push(...parameters(one));
  }
  return readings.join(apart);
}

/** A fold, an encoded word, or a parameter that is extended or in pieces. */
const read = /\r?\n[ \t]|=\?|\*\d{0,4}\*?[ \t]*=/;

/** A field without its line breaks (RFC 5322, 2.2.3). */
const unfolded = (field: string): string => field.replace(/\r?\n[ \t]+/g, ' ');

/** `=?utf-8?B?…?=` and `=?utf-8?Q?…?=` read (RFC 2047); blanks between two of them do not count. */
function encodedWords(line: string): string {
  return line.replace(/\?=\s+=\?/g, '?==?').replace(/=\?([A-Za-z0-9*_-]{1,40})\?([BbQq])\?([^?]*)\?=/g, (_, charset: string, how: string, text: string) => {
    const bytes = /b/i.test(how) ? Buffer.from(text, 'base64') : Buffer.from(undoQuotedPrintable(Buffer.from(text.replaceAll('_', ' '), 'utf8').toString('latin1')), 'latin1');
    return readText(bytes, `charset=${charset.toLowerCase()}`).text;
  });
}

/** `name*0=…; name*1*=…` and `name*=utf-8''…` (RFC 2231, 3 and 4) as `name=…`, one piece behind the other. */
function parameters(field: string): string[] {
  const named = new Map<string, { readonly at: number; readonly value: string }[]>();
  for (const [, name = '', at = '0', quoted, plain = ''] of field.matchAll(/([\w!#$&+.^`|~-]{1,60})\*(\d{0,4})\*?[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))/g)) {
    const pieces = named.get(name.toLowerCase()) ?? [];
    named.set(name.toLowerCase(), pieces);
    pieces.push({ at: Number(at), value: quoted?.replace(/\\(.)/g, '$1') ?? plain });
  }
  return [...named].map(([name, pieces]) => `${name}=${putTogether(pieces.toSorted((a, b) => a.at - b.at).map(({ value }) => value).join(''))}`);
}

/** The first piece may name the character encoding and the language of what is percent-encoded. */
function putTogether(value: string): string {
  const [, charset = '', rest = value] = extended.exec(value) ?? [];
  const bytes = Buffer.from(rest, 'utf8').toString('latin1').replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return readText(Buffer.from(bytes, 'latin1'), `charset=${charset.toLowerCase()}`).text;
}
const extended = /^([\w.:-]{0,40})'[\w-]{0,40}'(.*)$/s;

/** The content types of a head or mail, and the character encodings that words and parameters in it name, as types; in lower case. */
export function typesIn(message: string): readonly string[] {
  const words = [...message.matchAll(/=\?([\w.:-]{1,40})(?:\*[\w-]*)?\?[BbQq]\?/g)];
  const fields = [...message.matchAll(/^content-(type|disposition)[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)/gim)];
  const named = fields.flatMap(([, , value = '']) => [...value.matchAll(/\*0?\*?[ \t]*=[ \t]*"?([\w.:-]{1,40})'[\w-]{0,40}'/g)]);
  const types = fields.flatMap(([, name = '', value = '']) => (/type/i.test(name) ? [value.trim()] : []));
  return [...types, ...[...words, ...named].map(([, charset = '']) => `text/plain; charset=${charset}`)].map((type) => type.toLowerCase());
}
