/** Credentials that are recognised by their own format: a fixed prefix, then a body of known alphabet and length. */
import { isAlnum } from './characters.ts';
import type { Finding } from './finding.ts';

interface TokenRule {
  readonly kind: string;
  readonly prefix: string;
  /** Characters of the body besides letters and digits. */
  readonly extra: string;
  readonly min: number;
  /** Body must be exactly this long, where the issuer fixes it. */
  readonly exact?: number;
  /** Upper case and digits only. */
  readonly upper?: true;
}

/** Formats as their issuers document them. */
const rules: readonly TokenRule[] = [
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix): TokenRule => ({ kind: 'aws-key-id', prefix, extra: '', min: 16, exact: 16, upper: true })),
  ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix): TokenRule => ({ kind: 'github', prefix, extra: '', min: 36 })),
  { kind: 'github', prefix: 'github_pat_', extra: '_', min: 60 },
  ...['glpat-', 'gldt-', 'glrt-', 'glptt-', 'glcbt-', 'glsoat-'].map((prefix): TokenRule => ({ kind: 'gitlab', prefix, extra: '_-.', min: 20 })),
  ...['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xoxe-', 'xapp-'].map((prefix): TokenRule => ({ kind: 'slack', prefix, extra: '-', min: 20 })),
  { kind: 'anthropic', prefix: 'sk-ant-', extra: '_-', min: 24 },
  { kind: 'openai', prefix: 'sk-proj-', extra: '_-', min: 32 },
  { kind: 'openai', prefix: 'sk-svcacct-', extra: '_-', min: 32 },
  { kind: 'openrouter', prefix: 'sk-or-v1-', extra: '', min: 32 },
  { kind: 'api-key', prefix: 'sk-', extra: '_-', min: 20 },
  ...['sk_live_', 'sk_test_', 'rk_live_', 'rk_test_'].map((prefix): TokenRule => ({ kind: 'stripe', prefix, extra: '', min: 16 })),
  { kind: 'stripe', prefix: 'whsec_', extra: '+/=', min: 24 },
  { kind: 'google', prefix: 'AIza', extra: '_-', min: 35 },
  { kind: 'google', prefix: 'ya29.', extra: '_-', min: 20 },
  { kind: 'google', prefix: 'GOCSPX-', extra: '_-', min: 24 },
  { kind: 'npm', prefix: 'npm_', extra: '', min: 36 },
  { kind: 'pypi', prefix: 'pypi-AgE', extra: '_-', min: 40 },
  { kind: 'huggingface', prefix: 'hf_', extra: '', min: 30 },
  { kind: 'nvidia', prefix: 'nvapi-', extra: '_-', min: 32 },
  { kind: 'sendgrid', prefix: 'SG.', extra: '_-.', min: 60 },
  { kind: 'digitalocean', prefix: 'dop_v1_', extra: '', min: 64 },
  { kind: 'shopify', prefix: 'shpat_', extra: '', min: 32 },
  { kind: 'shopify', prefix: 'shpss_', extra: '', min: 32 },
  { kind: 'docker', prefix: 'dckr_pat_', extra: '_-', min: 24 },
  { kind: 'vault', prefix: 'hvs.', extra: '_-', min: 24 },
  { kind: 'grafana', prefix: 'glsa_', extra: '_', min: 32 },
  { kind: 'groq', prefix: 'gsk_', extra: '', min: 40 },
  { kind: 'xai', prefix: 'xai-', extra: '', min: 60 },
  { kind: 'linear', prefix: 'lin_api_', extra: '', min: 32 },
  { kind: 'figma', prefix: 'figd_', extra: '_-', min: 32 },
  { kind: 'atlassian', prefix: 'ATATT3', extra: '_-=', min: 60 },
  { kind: 'rubygems', prefix: 'rubygems_', extra: '', min: 48 },
  { kind: 'databricks', prefix: 'dapi', extra: '', min: 32 },
  { kind: 'brevo', prefix: 'xkeysib-', extra: '-', min: 64 },
  { kind: 'age', prefix: 'AGE-SECRET-KEY-1', extra: '', min: 40, upper: true },
  { kind: 'jwt', prefix: 'eyJ', extra: '_-.', min: 40 },
];

/** Rules by their first two characters (7 bits each), for one table look-up per word. */
const byPair: readonly (readonly TokenRule[] | undefined)[] = (() => {
  const table: (TokenRule[] | undefined)[] = Array.from({ length: 16384 });
  for (const rule of rules) {
    const key = (rule.prefix.charCodeAt(0) << 7) | rule.prefix.charCodeAt(1);
    (table[key] ??= []).push(rule);
  }
  return table;
})();

const hasRule = new Uint8Array(16384);
for (const [key, list] of byPair.entries()) if (list) hasRule[key] = 1;

/** The token that starts with the word at `i`, or undefined. `c` is the character there. */
export function tokenAt(text: string, i: number, c: number): Finding | undefined {
  const next = text.charCodeAt(i + 1);
  if (c > 127 || !(next < 128)) return undefined;
  const key = (c << 7) | next;
  return hasRule[key] === 1 ? match(text, i, byPair[key] ?? []) : undefined;
}

function match(text: string, i: number, candidates: readonly TokenRule[]): Finding | undefined {
  for (const rule of candidates) {
    if (!text.startsWith(rule.prefix, i)) continue;
    const from = i + rule.prefix.length;
    let end = from;
    while (isBody(text.charCodeAt(end), rule)) end += 1;
    while (end > from && '.-='.includes(text[end - 1] ?? '') && rule.extra.includes('.')) end -= 1;
    const length = end - from;
    if (length < rule.min || (rule.exact !== undefined && (length !== rule.exact || isAlnum(text.charCodeAt(end))))) continue;
    const body = text.slice(from, end);
    if (rule.kind === 'jwt' ? !isJwt(text.slice(i, end)) : !looksRandom(body, rule.upper === true)) continue;
    return { type: 'secret', start: i, end, confidence: 0.98, kind: rule.kind };
  }
  return undefined;
}

function isBody(c: number, rule: TokenRule): boolean {
  if (rule.upper === true) return (c >= 48 && c < 58) || (c >= 65 && c < 91);
  return isAlnum(c) || (c < 128 && rule.extra.includes(String.fromCharCode(c)) && rule.extra !== '');
}

/** Three base64url parts, the first a JSON object. */
function isJwt(token: string): boolean {
  const parts = token.split('.');
  return parts.length === 3 && parts.every((part) => part.length >= 4) && (parts[1]?.startsWith('ey') ?? false);
}

/** Digits beside letters, and no long run of one character: words with dashes and `xxxxxxxx` are no tokens. */
function looksRandom(body: string, upper: boolean): boolean {
  if (/(.)\1{5}/.test(body)) return false;
  if (!/[A-Za-z]/.test(body)) return false;
  return upper || /\d/.test(body);
}
