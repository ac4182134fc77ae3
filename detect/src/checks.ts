/** The arithmetic that tells a number of a kind from any number: Luhn, IBAN mod 97, rules of US social security numbers. */

/** Luhn check of a string of digits (ISO/IEC 7812-1). */
export function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = digits.length - 1, double = false; i >= 0; i -= 1, double = !double) {
    let d = digits.charCodeAt(i) - 48;
    if (double) {
      d *= 2;
      if (d > 9) d -= 9;
    }
    sum += d;
  }
  return sum % 10 === 0;
}

const [short, long, debit] = [[16], [16, 17, 18, 19], [16, 18, 19]] as const;

/** First four digits, from and to, and the lengths of a network's numbers (ranges as published by the networks; ISO/IEC 7812). Without airlines' own (1…): too many numbers begin like it. */
const networks: readonly (readonly [from: number, to: number, lengths: readonly number[]])[] = [
  [4000, 4999, [13, 16, 19]], // Visa
  [5100, 5599, short], // Mastercard
  [2221, 2720, short],
  [3400, 3499, [15]], // American Express
  [3700, 3799, [15]],
  [3600, 3699, [14, ...long]], // Diners Club
  [3000, 3059, [14, ...long]],
  [3090, 3099, [14, ...long]],
  [3800, 3999, [14, ...long]],
  [3528, 3589, long], // JCB
  [2131, 2131, [15]],
  [1800, 1800, [15]],
  [6011, 6011, long], // Discover
  [6440, 6599, long],
  [6200, 6299, long], // UnionPay
  [8100, 8199, long],
  [8200, 8299, short], // RuPay, besides what it shares
  [2200, 2204, long], // Mir
  [9792, 9792, short], // Troy
  [5000, 5099, debit], // Maestro, with the national networks among its ranges
  [5600, 5899, debit],
  [6000, 6199, debit],
  [6300, 6399, debit],
  [6600, 6999, debit],
];

/** Whether prefix and length belong to a payment network. */
export function isCardRange(digits: string): boolean {
  const prefix = Number(digits.slice(0, 4));
  return networks.some(([from, to, lengths]) => prefix >= from && prefix <= to && lengths.includes(digits.length));
}

/** Area 001–899 without 666, group 01–99, serial 0001–9999 (Social Security Administration, randomisation of 2011). */
export function isSsn(area: string, group: string, serial: string): boolean {
  return area !== '000' && area !== '666' && area < '900' && group !== '00' && serial !== '0000';
}

/** ISO 13616: the rearranged number, letters as 10 to 35, leaves 1 modulo 97. `compact` is upper case without spaces. */
export function ibanHolds(compact: string): boolean {
  let rest = 0;
  const turned = compact.slice(4) + compact.slice(0, 4);
  for (let i = 0; i < turned.length; i += 1) {
    const c = turned.charCodeAt(i);
    rest = c < 58 ? (rest * 10 + c - 48) % 97 : (rest * 100 + c - 55) % 97;
  }
  return rest === 1;
}

/** Length of an IBAN by country (SWIFT IBAN registry). */
export const ibanLengths: ReadonlyMap<string, number> = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 ' +
    'GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 ' +
    'PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);
