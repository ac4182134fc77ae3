/** `nemoclaw <name> credentials set|list|remove`: secrets that stay outside the sandbox, and the placeholders that stand for them inside. */
import { credentialSchema, safeLine, type CredentialView } from '@nemoclaw/contract';
import type { CommonFlags } from '../command.ts';
import { say, sayJson, type CliContext } from '../context.ts';
import { Failure, Quit } from '../failure.ts';
import { call } from '../gateway-client.ts';
import { sandboxPath } from '../sandbox-path.ts';
import { table } from '../table.ts';

export interface SetFlags extends CommonFlags {
  readonly kind?: string;
  readonly host?: string;
  readonly port?: string;
  readonly path?: string;
  readonly header?: string;
  readonly env?: string;
  readonly accessKeyId?: string;
  readonly region?: string;
  readonly service?: string;
  readonly tokenUrl?: string;
  readonly clientId?: string;
  readonly scope?: string;
}

const most = 64 * 1024;

export async function set(this: CliContext, flags: SetFlags, name: string): Promise<void> {
  const kind = flags.kind ?? 'header';
  const { host, path, header, env, accessKeyId, region, service, tokenUrl, clientId, scope } = flags;
  const given = {
    kind, ...defined({ host, header, env, accessKeyId, region, service, tokenUrl, clientId, scope }), ...(path === undefined ? {} : { pathPrefix: path }), ...(flags.port === undefined ? {} : { port: Number(flags.port) }),
    ...secretFields(await readSecret(this, name), kind),
  };
  const parsed = credentialSchema.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    // Never the value that was given: it may be the secret.
    throw new Failure('NEMO_E_USAGE', { what: `This is not a credential of the kind ${safeLine(kind, 20)}: ${issue?.path.join('.') || 'kind'}: ${issue?.code === 'unrecognized_keys' ? 'unknown field' : (issue?.message ?? 'wrong')}.`, fix: '`nemoclaw NAME credentials set --help` says which flags each kind has.' });
  }
  const view = await call<CredentialView>(this, 'PUT', sandboxPath(this.sandbox, `/credentials/${encodeURIComponent(name)}`), parsed.data);
  if (flags.json) return sayJson(this, view);
  if (view.problem !== '') say(this, `The credential ${view.name} is kept, but there is no access token yet: ${safeLine(view.problem, 300)}. It is tried again.`);
  else say(this, view.kind === 'key' ? `The key ${view.name} is set.` : `The credential ${view.name} is set. In the sandbox ${view.placeholder} stands for it${view.env === '' ? '' : ` (new commands find it in ${view.env})`}; it is put in for ${view.host}:${view.port} only.`);
}

export async function list(this: CliContext, flags: CommonFlags): Promise<void> {
  const all = await call<CredentialView[]>(this, 'GET', sandboxPath(this.sandbox, '/credentials'));
  if (flags.json) return sayJson(this, all);
  if (all.length === 0) return say(this, 'There are no credentials.');
  say(this, table(this, ['NAME', 'KIND', 'FOR', 'HEADER', 'VARIABLE', 'STATE'], all.map((one) => [one.name, one.kind, one.kind === 'key' ? 'the gateway' : `${one.host}:${one.port}${one.pathPrefix}`, one.header, one.env, one.problem === '' ? 'ok' : safeLine(one.problem, 80)])));
}

export async function remove(this: CliContext, flags: CommonFlags, name: string): Promise<void> {
  await call(this, 'DELETE', sandboxPath(this.sandbox, `/credentials/${encodeURIComponent(name)}`));
  if (flags.json) return sayJson(this, { removed: name });
  say(this, `The credential ${safeLine(name, 64)} is removed; its placeholder is worth nothing now.`);
}

/** From the terminal unseen, else from standard input: never from an argument, which every user of the machine can read. */
async function readSecret(context: CliContext, name: string): Promise<string> {
  const { stdin, stdout } = context.world;
  if (stdin.isTTY && stdout.isTTY) {
    const { isCancel, password } = await import('@clack/prompts');
    const typed = await password({ message: `Value of ${name}` });
    if (isCancel(typed)) throw new Quit(1);
    return typed;
  }
  let text = '';
  for await (const part of stdin as AsyncIterable<Buffer | string>) {
    text += part.toString();
    if (text.length > most) throw new Failure('NEMO_E_USAGE', { what: 'The value is too long.' });
  }
  return text.replace(/\r?\n$/, '');
}

/** One line is the value (of oauth2: the refresh token); an object names its fields. */
function secretFields(text: string, kind: string): Record<string, unknown> {
  if (text === '') throw new Failure('NEMO_E_USAGE', { what: 'There is no value on standard input.', fix: 'printf %s "$TOKEN" | nemoclaw NAME credentials set …' });
  if (text.startsWith('{')) {
    try {
      const fields: unknown = JSON.parse(text);
      if (typeof fields === 'object' && fields !== null) return { ...fields };
    } catch {
      // then it is a value that begins with a brace
    }
  }
  return kind === 'oauth2' ? { refreshToken: text } : { value: text };
}

function defined(fields: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
