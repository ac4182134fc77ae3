/** AUTH of SMTP (RFC 4954): what the client says is read, placeholders in it become the real values, and the server is told in our own words. */
import type { Credential } from '../credentials/credentials.ts';
import { putIn } from '../credentials/credentials.ts';
import type { Stop } from './conversation.ts';
import type { SmtpUpstream } from './smtp-upstream.ts';
import type { SmtpReply } from './smtp-words.ts';

/** Asks the client for one more line; undefined where it gives up with `*`, or sends what is no base64. */
export type AskClient = (prompt: string) => Promise<Buffer | undefined>;

export const mechanisms = ['PLAIN', 'LOGIN', 'XOAUTH2'] as const;
type Mechanism = (typeof mechanisms)[number];

export function isMechanism(name: string): name is Mechanism {
  return mechanisms.some((known) => known === name);
}

/** Base64 of one line as RFC 4648 writes it, `=` for nothing. */
export function readBase64(text: string): Buffer | undefined {
  if (text === '=') return Buffer.alloc(0);
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return undefined;
  return Buffer.from(text, 'base64');
}

export interface AuthBinding {
  readonly host: string;
  readonly port: number;
  readonly credentials: readonly Credential[];
  /** Whether the way to the server is encrypted. */
  readonly confidential: boolean;
  /** Why this may not be said there. */
  readonly refuses: (texts: readonly string[]) => Promise<Stop | undefined>;
}

/** `misplaced`: a placeholder that is not bound to this host's AUTH. `bad`: the client's words are no answer. */
export async function authenticate(mechanism: Mechanism, initial: Buffer | undefined, ask: AskClient, up: SmtpUpstream, binding: AuthBinding): Promise<SmtpReply | Stop | 'bad' | 'misplaced'> {
  const parts: Buffer[] = [];
  const prompts = mechanism === 'LOGIN' ? ['Username:', 'Password:'] : [''];
  for (const [index, prompt] of prompts.entries()) {
    const given = index === 0 && initial !== undefined ? initial : await ask(Buffer.from(prompt).toString('base64'));
    if (given === undefined) return 'bad';
    parts.push(given);
  }
  const texts: string[] = [];
  for (const part of parts) {
    const real = putIn(part.toString('utf8'), binding.credentials, { host: binding.host, port: binding.port, header: 'auth', confidential: binding.confidential });
    if (real === undefined) return 'misplaced';
    texts.push(real);
  }
  const stop = await binding.refuses(parts.map((part) => part.toString('utf8')));
  if (stop) return stop;
  if (mechanism === 'PLAIN' && texts[0]?.split('\0').length !== 3) return 'bad';
  const encode = (text: string): string => (text === '' ? '=' : Buffer.from(text, 'utf8').toString('base64'));
  if (mechanism !== 'LOGIN') return finish(up, await up.say(`AUTH ${mechanism} ${encode(texts[0] ?? '')}`));
  let reply = await up.say('AUTH LOGIN');
  for (const text of texts) if (reply.code === 334) reply = await up.say(encode(text));
  return finish(up, reply);
}

/** A server that asks for more than the mechanism has (XOAUTH2 explains an error so) is told that there is none. */
async function finish(up: SmtpUpstream, reply: SmtpReply): Promise<SmtpReply> {
  return reply.code === 334 ? up.say('*') : reply;
}
