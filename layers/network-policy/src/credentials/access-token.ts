/** Gets an access token with a refresh token (RFC 6749 §6). */
import type { Credential } from '@nemoclaw/contract';
import { z } from 'zod';

const answerMs = 10_000;
const answerBytes = 64 * 1024;
/** RFC 6749 §5.1; what else stands in it is of no use here. */
const answerSchema = z.object({
  access_token: z.string().min(6).max(16_384).regex(/^[\x21-\x7e]+$/),
  token_type: z.string().regex(/^bearer$/i),
  expires_in: z.coerce.number().min(0).max(10 * 365 * 86_400).optional(),
  refresh_token: z.string().min(6).max(16_384).regex(/^[\x21-\x7e]+$/).optional(),
});

export interface Token {
  readonly value: string;
  /** ms; undefined: not said. */
  readonly lastsMs: number | undefined;
  /** The former one may not be good any more. */
  readonly refreshToken: string | undefined;
}

/** Rejects with a sentence that has no secret in it. */
export async function getToken(given: Extract<Credential, { kind: 'oauth2' }>): Promise<Token> {
  const url = new URL(given.tokenUrl);
  if (url.protocol !== 'https:' && !/^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(url.hostname)) throw new Error('a token is asked for by https only');
  const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: given.refreshToken });
  if (given.scope !== undefined) form.set('scope', given.scope);
  const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
  // RFC 6749 §2.3.1: each part is form-encoded first.
  if (given.clientSecret !== undefined) headers['authorization'] = `Basic ${Buffer.from(`${encodeURIComponent(given.clientId)}:${encodeURIComponent(given.clientSecret)}`).toString('base64')}`;
  else form.set('client_id', given.clientId);
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(url, { method: 'POST', headers, body: form, redirect: 'error', signal: AbortSignal.timeout(answerMs) });
    text = await bounded(answer);
  } catch {
    throw new Error(`${url.host} gave no answer`);
  }
  if (answer.status !== 200) throw new Error(`${url.host} answered ${answer.status}${/"error"\s*:\s*"([a-z_]{1,40})"/.exec(text)?.[1]?.replace(/^/, ': ') ?? ''}`);
  return readToken(text, url.host);
}

/** An answer of `host` with a token. Throws a sentence that has nothing of it. */
export function readToken(text: string, host: string): Token {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(`${host} answered with something else than JSON`);
  }
  const read = answerSchema.safeParse(json);
  if (!read.success) throw new Error(`${host} answered without a bearer token`);
  const { access_token: value, expires_in: seconds, refresh_token: refreshToken } = read.data;
  return { value, lastsMs: seconds === undefined ? undefined : seconds * 1000, refreshToken };
}

async function bounded(answer: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of answer.body ?? []) {
    size += part.length;
    if (size > answerBytes) throw new Error('too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
