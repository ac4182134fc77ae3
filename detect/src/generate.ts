/** Labelled texts with fresh values of every structured type, and texts that only look like they had some. */
import type { FindingType } from './finding.ts';
import { ibanHolds, isSsn, luhn } from './checks.ts';
import { Random } from './random.ts';

export interface LabelledDocument {
  readonly text: string;
  readonly labels: readonly { readonly type: FindingType; readonly start: number; readonly end: number }[];
}

type Make = (r: Random) => string;
const lower = 'abcdefghijklmnopqrstuvwxyz';
const upper = lower.toUpperCase();
const alnum = lower + upper + '0123456789';
const first = ['anna', 'jörg', 'li', 'fatima', 'pedro', 'chidi', 'maria', 'ken', 'olga', 'sam'] as const;

/** One valid value of a type; also used by property tests. */
export const makers: Readonly<Record<Exclude<FindingType, 'known-secret'>, Make>> = {
  email: (r) =>
    `${r.of(lower, 3 + r.below(8))}${r.pick(['', '.', '_', '+', '-'])}${r.of(lower, 1 + r.below(6))}@${r.of(lower, 2 + r.below(8))}.${r.pick(['com', 'org', 'de', 'co.uk', 'io', 'museum'])}`,
  'credit-card': card,
  'us-ssn': (r) => {
    for (;;) {
      const [a, b, c] = [r.digits(3), r.digits(2), r.digits(4)];
      if (isSsn(a, b, c)) return `${a}-${b}-${c}`;
    }
  },
  iban,
  ip: (r) =>
    r.below(3) > 0 ? [11 + r.below(212), r.below(256), r.below(256), 10 + r.below(245)].join('.') : Array.from({ length: 8 }, () => `${1 + r.below(9)}${r.of('0123456789abcdef', 3)}`).join(':'),
  phone: (r) => {
    const area = `${2 + r.below(8)}${r.digits(2)}`;
    const exchange = `${2 + r.below(8)}${r.digits(2)}`;
    const line = r.digits(4);
    return r.pick([
      `+1-${area}-${exchange}-${line}`,
      `(${area}) ${exchange}-${line}`,
      `${area}-${exchange}-${line}`,
      `${area}.${exchange}.${line}`,
      `+44 20 ${r.digits(4)} ${line}`,
      `+49 (0)30 ${r.digits(3)} ${line}`,
      `0${r.digits(3)} ${r.digits(3)} ${line}`,
      `+33 ${1 + r.below(9)} ${r.digits(2)} ${r.digits(2)} ${r.digits(2)} ${r.digits(2)}`,
    ]);
  },
  secret: (r) =>
    r.pick([
      () => `AKIA${r.of('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}`,
      () => `ghp_${r.of(alnum, 35)}7`,
      () => `glpat-${r.of(alnum, 19)}3`,
      () => `xoxb-${r.digits(12)}-${r.digits(12)}-${r.of(alnum, 24)}`,
      () => `sk-ant-api03-${r.of(alnum, 60)}9`,
      () => `npm_${r.of(alnum, 35)}5`,
      () => `nvapi-${r.of(alnum, 60)}1`,
      () => `hf_${r.of(alnum, 33)}2`,
      () => `AIza${r.of(alnum, 34)}8`,
      () => `eyJ${r.of(alnum, 20)}.eyJ${r.of(alnum, 40)}.${r.of(alnum, 43)}`,
    ])(),
};

function card(r: Random): string {
  const [prefix, length] = r.pick<readonly [string, number]>([
    ['4', 16],
    ['51', 16],
    ['55', 16],
    ['2221', 16],
    ['34', 15],
    ['37', 15],
    ['6011', 16],
    ['3530', 16],
    ['36', 14],
  ]);
  for (;;) {
    const d = prefix + r.digits(length - prefix.length);
    if (!luhn(d) || /^(\d)\1+$/.test(d)) continue;
    const form = r.below(3);
    if (form === 0 || length === 14) return d;
    const mark = form === 1 ? ' ' : '-';
    return length === 15 ? [d.slice(0, 4), d.slice(4, 10), d.slice(10)].join(mark) : [d.slice(0, 4), d.slice(4, 8), d.slice(8, 12), d.slice(12)].join(mark);
  }
}

function iban(r: Random): string {
  const [country, length, letters] = r.pick<readonly [string, number, number]>([
    ['DE', 22, 0],
    ['GB', 22, 4],
    ['FR', 27, 0],
    ['NL', 18, 4],
    ['ES', 24, 0],
    ['CH', 21, 0],
    ['NO', 15, 0],
  ]);
  const body = r.of(upper, letters) + r.digits(length - 4 - letters);
  for (let check = 2; check <= 98; check += 1) {
    const whole = `${country}${String(check).padStart(2, '0')}${body}`;
    if (ibanHolds(whole)) return r.below(2) === 0 ? whole : (whole.match(/.{1,4}/g) ?? []).join(' ');
  }
  return iban(r);
}

type Labelled = keyof typeof makers;
/** `{type}` stands for a value; everything else is plain text. */
const sentences: readonly [string, ...string[]] = [
  'Please write to {email} before Friday.',
  'From: Support <{email}>\nTo: {email}\nSubject: your order 4471',
  '{"name":"Kim","mail":"{email}","phone":"{phone}"}',
  'My card {credit-card} was charged twice, can you refund it?',
  'cardNumber={credit-card}&expiry=04/27&cvv=123',
  'We billed {credit-card} on 2024-03-11 at 10:31:22.',
  'Here is my SSN: {us-ssn}. Do not share it.',
  'name,ssn\nJordan Lee,{us-ssn}\n',
  'Transfer 300 EUR to {iban} today, reference 99-1200.',
  'IBAN {iban}, BIC COBADEFFXXX',
  'Call me at {phone} after five.',
  'Tel. {phone}, fax {phone}',
  'Their office number is {phone}.',
  'login from {ip} failed 3 times',
  '{ip} - - [10/Oct/2024:13:55:36 +0000] "GET / HTTP/1.1" 200 2326',
  'Allow {ip} in the firewall, then restart.',
  'export TOKEN_FILE=/tmp/t # {secret}',
  'curl -H "X-Auth: {secret}" https://api.example.org/v1',
];
/** Looks like something, is nothing. `#` is a digit, `~` a hex digit. */
const decoys: readonly [string, ...string[]] = [
  'Order ################ shipped on 2024-0#-1#.',
  'commit ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ fixes #1##',
  'version 1.#.1#.# of the library needs Node 2#.',
  'const x = [#, ##, ###, ####]; // 0x~~~~~~~~',
  'The total was 1,2##,###.## for 3## units at 12:##:##.',
  'Tracking 94####################, invoice 20##-####.',
  'id: ~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~',
  'It took ####### ms and #.### MB, see page ##-##.',
  'std::vector<int> a::b::c; x ? y : z; 10:3#:5#',
  'user@localhost and @mention and a @ b are no addresses',
  'timestamp 17########### in 20##-1#-0#T0#:1#:2#Z',
  'The years 1914-1918 and 1939-1945, ISBN 978-3-16-14841#-#.',
];

/** `count` documents from a seed; the same seed gives the same documents. A third of them hold nothing. */
export function generateDocuments(seed: number, count: number): LabelledDocument[] {
  const r = new Random(seed);
  return Array.from({ length: count }, () => (r.below(3) === 0 ? { text: decoy(r), labels: [] } : fill(r)));
}

function decoy(r: Random): string {
  return r
    .pick(decoys)
    .replaceAll('#', () => r.digits(1))
    .replaceAll('~', () => r.of('0123456789abcdef', 1));
}

function fill(r: Random): LabelledDocument {
  const labels: { type: FindingType; start: number; end: number }[] = [];
  let text = r.below(2) === 0 ? '' : `Hello, this is ${r.pick(first)}. `;
  for (const part of r.pick(sentences).split(/(\{[a-z-]+\})/)) {
    const type = part.slice(1, -1);
    if (!part.startsWith('{') || !Object.hasOwn(makers, type)) text += part;
    else {
      const value = makers[type as Labelled](r);
      labels.push({ type: type as Labelled, start: text.length, end: text.length + value.length });
      text += value;
    }
  }
  if (r.below(3) === 0) text += ` ${decoy(r)}`;
  return { text, labels };
}
