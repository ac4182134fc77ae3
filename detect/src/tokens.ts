/** Credentials that are recognised by their own format: a fixed prefix, then a body of known alphabet and length. */
import { isAlnum } from './characters.ts';
import { phraseStarts } from './phrases.ts';
import type { Finding } from './finding.ts';
import { alphabet, type Alphabet, type Run, type Runs } from './runs.ts';

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
  /** Lower-case hexadecimal digits only, and the word has to end there. */
  readonly hex?: true;
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
  { kind: 'twilio', prefix: 'SK', extra: '', min: 32, exact: 32, hex: true },
  { kind: 'mailgun', prefix: 'key-', extra: '', min: 32, exact: 32, hex: true },
  { kind: 'square', prefix: 'sq0csp-', extra: '_-', min: 40 },
  { kind: 'square', prefix: 'EAAAE', extra: '_-', min: 55 },
  { kind: 'facebook', prefix: 'EAACEdEose0cBA', extra: '', min: 20 },
  { kind: 'newrelic', prefix: 'NRAK-', extra: '', min: 27, upper: true },
  { kind: 'postman', prefix: 'PMAK-', extra: '-', min: 50 },
  { kind: 'pulumi', prefix: 'pul-', extra: '', min: 40, exact: 40, hex: true },
  { kind: 'doppler', prefix: 'dp.pt.', extra: '', min: 40 },
  { kind: 'netlify', prefix: 'nfp_', extra: '', min: 36 },
  { kind: 'supabase', prefix: 'sbp_', extra: '', min: 40, exact: 40, hex: true },
  { kind: 'planetscale', prefix: 'pscale_', extra: '_-.=', min: 32 },
  { kind: 'sentry', prefix: 'sntrys_', extra: '_-+/=', min: 60 },
  { kind: 'sentry', prefix: 'sntryu_', extra: '', min: 64, exact: 64, hex: true },
  { kind: 'perplexity', prefix: 'pplx-', extra: '', min: 40 },
  { kind: 'replicate', prefix: 'r8_', extra: '', min: 37 },
  { kind: 'onepassword', prefix: 'ops_ey', extra: '_-=', min: 60 },
  { kind: 'dynatrace', prefix: 'dt0c01.', extra: '.', min: 60 },
  { kind: 'bitbucket', prefix: 'ATBB', extra: '', min: 28 },
  { kind: 'easypost', prefix: 'EZAK', extra: '', min: 54 },
  { kind: 'shippo', prefix: 'shippo_live_', extra: '', min: 40, exact: 40, hex: true },
  { kind: 'sourcegraph', prefix: 'sgp_', extra: '_', min: 40 },
  { kind: 'notion', prefix: 'ntn_', extra: '', min: 40 },
  { kind: 'linear', prefix: 'lin_oauth_', extra: '', min: 40 },
  { kind: 'heroku', prefix: 'HRKU-', extra: '_-', min: 36 },
  { kind: 'tailscale', prefix: 'tskey-', extra: '-', min: 24 },
  { kind: 'cohere', prefix: 'co_api_', extra: '', min: 32 },
  { kind: 'slack-webhook', prefix: 'hooks.slack.com/services/', extra: '/', min: 40 },
  { kind: 'jwt', prefix: 'eyJ', extra: '_-.', min: 40 },
];

/** How each format begins: its prefix, what its body may hold besides letters and digits, and how long that is at least. */
export const tokenShapes: readonly { readonly prefix: string; readonly extra: string; readonly least: number }[] = rules.map(({ prefix, extra, min }) => ({ prefix, extra, least: min }));

/** A token is not followed further: no format is longer, and what is looked at must have an end. */
const longest = 16 * 1024;

interface Candidate extends TokenRule {
  readonly alphabet: Alphabet;
  /** A sentence may end behind it: `.-=` at its end are none of it. */
  readonly trims: boolean;
}

/** Rules by their first two characters (7 bits each), for one table look-up per word. */
const byPair: readonly (readonly Candidate[] | undefined)[] = (() => {
  const table: (Candidate[] | undefined)[] = Array.from({ length: 16384 });
  for (const rule of rules) {
    const key = (rule.prefix.charCodeAt(0) << 7) | rule.prefix.charCodeAt(1);
    (table[key] ??= []).push({ ...rule, alphabet: alphabet(rule.extra, rule.upper === true, rule.hex === true), trims: rule.extra.includes('.') });
  }
  return table;
})();

const hasRule = new Uint8Array(16384);
for (const [key, list] of byPair.entries()) if (list) hasRule[key] = 1;
for (const pair of phraseStarts) hasRule[(pair.charCodeAt(0) << 7) | pair.charCodeAt(1)] = 1;

/** Whether a token or phrase could start with these two characters; decides for nearly all words. */
export function mayStart(c: number, next: number): boolean {
  return c < 128 && next < 128 && hasRule[(c << 7) | next] === 1;
}

/** The token that starts with the word at `i`, or undefined. `c` is the character there; `mayStart` said yes. `runs`: those of this text. */
export function tokenAt(text: string, i: number, c: number, runs: Runs): Finding | undefined {
  const rules = byPair[(c << 7) | text.charCodeAt(i + 1)];
  return rules && match(text, i, rules, runs);
}

function match(text: string, i: number, candidates: readonly Candidate[], runs: Runs): Finding | undefined {
  for (const rule of candidates) {
    if (!text.startsWith(rule.prefix, i)) continue;
    const from = i + rule.prefix.length;
    const run = runs.measure(text, from, i + longest, rule.alphabet);
    const end = rule.trims ? Math.max(from, run.solid) : run.end;
    const length = end - from;
    if (length < rule.min || (rule.exact !== undefined && (length !== rule.exact || isAlnum(text.charCodeAt(end))))) continue;
    if (rule.kind === 'jwt' ? !isJwt(text, i, from, end, run) : !looksRandom(from, run, rule.upper === true, rule.trims)) continue;
    return { type: 'secret', start: i, end, confidence: 0.98, kind: rule.kind };
  }
  return undefined;
}

/** Three base64url parts, the first and the second a JSON object. */
function isJwt(text: string, i: number, from: number, end: number, { dots }: Run): boolean {
  const [more = -1, first = -1, second = -1] = [dots.at(-3), dots.at(-2), dots.at(-1)];
  if (first < from || more >= from) return false;
  return first - i >= 4 && second - first > 4 && end - second > 4 && text.startsWith('ey', first + 1);
}

/** Digits beside letters, and no long run of one character: words with dashes and `xxxxxxxx` are no tokens. */
function looksRandom(from: number, run: Run, upper: boolean, trims: boolean): boolean {
  if ((trims ? run.sameSolid : run.same) >= from) return false;
  return run.letter >= from && (upper || run.digit >= from);
}
