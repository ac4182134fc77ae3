/** Domain patterns of network rules: their syntax, and which wildcards are too wide to allow. */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { problem } from './issue.ts';

/** Suffixes under which strangers register names; a wildcard directly below one names half the internet. Not complete: any single label counts too. */
const sharedSuffixes: ReadonlySet<string> = new Set(
  ('co.uk org.uk ac.uk gov.uk com.au net.au org.au co.nz co.jp ne.jp or.jp co.kr com.cn net.cn org.cn com.br com.mx co.in com.sg com.tr co.za com.tw com.hk ' +
    'github.io gitlab.io pages.dev workers.dev vercel.app netlify.app herokuapp.com web.app firebaseapp.com azurewebsites.net cloudfront.net amazonaws.com s3.amazonaws.com ' +
    'blob.core.windows.net appspot.com run.app fly.dev onrender.com ngrok.io ngrok.app ngrok-free.app trycloudflare.com r2.dev').split(' '),
);

/** `*.` or `?.`: what stands before the suffix of a pattern; '' for exact names. */
function wildcardOf(domain: string): string {
  return domain.startsWith('*.') || domain.startsWith('?.') ? domain.slice(0, 2) : '';
}

/** True for `*` and for a wildcard below a suffix that strangers share. */
function tooWide(domain: string): boolean {
  if (domain === '*') return true;
  if (wildcardOf(domain) === '') return false;
  const rest = domain.slice(2);
  return !rest.includes('.') || sharedSuffixes.has(rest);
}

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** `api.example.com`, `*.example.com` (one or more whole labels before it), `?.example.com` (exactly one), `*`, or an IP address; small letters, no dot at the end. */
export const domain = z.string().max(255).superRefine((given, ctx) => {
  const bad = (message: string, fix: string, why?: string): void => ctx.addIssue({ code: 'custom', message, params: problem('NEMO_E_POLICY_PATTERN', why, fix) });
  if (given.includes('%')) return bad(`${JSON.stringify(given)} is not a domain.`, 'Write an address without a zone.');
  if (given === '*' || isIP(given) !== 0) return;
  if (/(^|\.)(\d+|0x[0-9a-f]*)$/i.test(given)) return bad(`${JSON.stringify(given)} is not an address in its usual spelling.`, 'Write it like 192.0.2.1.');
  const name = given.slice(wildcardOf(given).length);
  if (given !== given.toLowerCase()) return bad(`${JSON.stringify(given)} has capital letters.`, `Write ${given.toLowerCase()}.`);
  if (name.includes('*')) return bad(`${JSON.stringify(given)} is not a domain pattern.`, 'A wildcard stands alone as the first label: *.example.com', 'It matches whole labels, from the left.');
  if (/[:/]/.test(name)) return bad(`${JSON.stringify(given)} is not a domain.`, 'Give the name only; ports, methods and paths have their own fields.');
  const ascii = /[^\0-\x7f]/.test(name) ? domainToASCII(name) : '';
  if (ascii !== '') return bad(`${JSON.stringify(given)} is not in ASCII.`, `Write ${wildcardOf(given)}${ascii}`, 'Two names that look alike can be different ones.');
  if (!name.split('.').every((part) => label.test(part))) return bad(`${JSON.stringify(given)} is not a domain.`, 'Write it like api.example.com, in its ASCII (punycode) form.');
  return undefined;
});

/** A domain that an allow or escalate rule may name: the same, but not too wide. */
export const allowedDomain = domain.superRefine((given, ctx) => {
  if (!tooWide(given)) return;
  ctx.addIssue({
    code: 'custom',
    message: `${JSON.stringify(given)} is too wide to be allowed.`,
    params: problem('NEMO_E_POLICY_PATTERN', given === '*' ? 'It would allow every host there is.' : 'Anybody can register names below it.', 'Name the domains that are needed.'),
  });
});
