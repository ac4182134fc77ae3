/** Words near a number that say what it is. */

const words = {
  version: /\b(?:version|ver|release|rev|v)[\s:=.]{0,3}$/,
  card: /(?:\bcards?\b|card[-_ ]?(?:num|no\b|nr\b)|\b(?:cc|credit|debit|visa|mastercard|amex|maestro|discover|pan)\b)/g,
  ssn: /\b(?:ssn|social|ss#|ss number|security number)\b/g,
  phone:
    /(?:\b(?:tele)?phone|\bcall|\bcell|\bmob(?:ile)?\b|\btel\b|\btel[.:]|\bfax\b|\breach|\btext\b|\bsms\b|\bcontact|\bring\b|\bdial|\boffice\b|\bdesk\b|\bregistered\b|\banswering\b|\bmessages?\b|\bwhatsapp\b|\bhotline\b|\bhandy\b|\btelefon|\bt[ée]l[ée]phone)/g,
  /** Says that a number follows, not which. */
  anyNumber: /\b(?:number|nr|no)\b/g,
  otherNumber:
    /\b(?:licen[sc]e|born|birth(?:day|date)?|accounts?|orders?|invoice|zip|postal|postcode|isbn|issn|imei|tracking|serial|ticket|case|reference|ref|bic|swift|iban|routing|version|card|sku|id|uid|pid|hash|commit|timestamp|amount|total|price|usd|eur)\b/g,
} as const;

const reach = 48;

/** Distance back from `at` to the nearest word of the kind within 48 characters, or undefined. */
export function nearest(text: string, at: number, kind: keyof typeof words): number | undefined {
  const before = text.slice(at > reach ? at - reach : 0, at).toLowerCase();
  let found: number | undefined;
  const pattern = words[kind];
  if (!pattern.global) return pattern.test(before) ? 1 : undefined;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(before); match; match = pattern.exec(before)) found = before.length - match.index - match[0].length;
  // 0 is a real distance, so callers that test for truth get at least 1.
  return found === undefined ? undefined : found + 1;
}
