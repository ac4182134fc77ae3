/** Credentials of sandboxes: a file that only the gateway's uid may read; what the agent gets are placeholders, which are worth nothing elsewhere. */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { NemoError, credentialSchema, type Credential, type CredentialPlan, type CredentialView, type Ids } from '@nemoclaw/contract';
import { placeholderFor, planOf, secretsIn, variablesOf } from '@nemoclaw/network-policy';
import { z } from 'zod';

const keptSchema = z.strictObject({
  given: credentialSchema,
  /** '' for a key. */
  placeholder: z.string(),
  /** Of oauth2, once it was got. `expires`: ms since epoch, 0 if it was not said. */
  token: z.strictObject({ value: z.string(), expires: z.number(), at: z.number() }).optional(),
  problem: z.string().default(''),
});
export type Kept = z.infer<typeof keptSchema>;
const fileSchema = z.record(z.string(), z.record(z.string(), keptSchema));

export class Vault {
  readonly #path: string;
  readonly #ids: Ids;
  /** Sandbox id -> name -> what is kept. */
  readonly #kept: Map<string, Map<string, Kept>>;

  /** Throws NEMO_E_PROVIDER if the file can be read by others, an error if it is damaged. */
  constructor(path: string, ids: Ids) {
    this.#path = path;
    this.#ids = ids;
    this.#kept = new Map(Object.entries(fileSchema.parse(readKept(path))).map(([id, own]) => [id, new Map(Object.entries(own))]));
  }

  get(sandbox: string, name: string): Kept | undefined {
    return this.#kept.get(sandbox)?.get(name);
  }

  /** Replaces one of that name; its placeholder stays, so that running programs go on. */
  set(sandbox: string, name: string, given: Credential): void {
    const former = this.get(sandbox, name);
    const placeholder = former?.given.kind === given.kind ? former.placeholder : placeholderFor(name, given.kind, this.#ids);
    this.#put(sandbox, name, { given, placeholder, problem: '' });
  }

  /** A newer access token, and the refresh token that came with it. */
  renewed(sandbox: string, name: string, token: NonNullable<Kept['token']>, refreshToken: string | undefined): void {
    const kept = this.get(sandbox, name);
    if (kept?.given.kind !== 'oauth2') return;
    this.#put(sandbox, name, { ...kept, given: refreshToken === undefined ? kept.given : { ...kept.given, refreshToken }, token, problem: '' });
  }

  failed(sandbox: string, name: string, problem: string): void {
    const kept = this.get(sandbox, name);
    if (kept) this.#put(sandbox, name, { ...kept, problem });
  }

  remove(sandbox: string, name: string): boolean {
    const found = this.#kept.get(sandbox)?.delete(name) ?? false;
    if (found) this.#write();
    return found;
  }

  forget(sandbox: string): void {
    if (this.#kept.delete(sandbox)) this.#write();
  }

  /** Those that a worker puts in; a token that is not there yet is not among them. */
  plans(sandbox: string): CredentialPlan[] {
    return [...(this.#kept.get(sandbox) ?? new Map<string, Kept>()).values()].flatMap(({ given, placeholder, token }) => planOf(given, placeholder, token?.value) ?? []);
  }

  /** Variables of the agent: name -> placeholder. */
  variables(sandbox: string): Record<string, string> {
    return Object.fromEntries([...(this.#kept.get(sandbox)?.values() ?? [])].flatMap(({ given, placeholder }) => Object.entries(variablesOf(given, placeholder))));
  }

  list(sandbox: string): CredentialView[] {
    return [...(this.#kept.get(sandbox) ?? [])].map(([name, { given, placeholder, token, problem }]) => ({
      name, kind: given.kind, placeholder, expires: token?.expires ?? 0, problem,
      ...(given.kind === 'key' ? { host: '', port: 0, header: '', pathPrefix: '', env: '' } : { host: given.host, port: given.port, header: given.kind === 'sigv4' ? 'authorization' : given.header, pathPrefix: given.pathPrefix, env: given.env ?? '' }),
    }));
  }

  /** Access tokens that end before `until` (ms since epoch) or are not there yet. */
  ending(until: number): { readonly sandbox: string; readonly name: string }[] {
    return [...this.#kept].flatMap(([sandbox, own]) => [...own].flatMap(([name, { given, token }]) => (given.kind === 'oauth2' && (token === undefined || (token.expires > 0 && token.expires < until)) ? [{ sandbox, name }] : [])));
  }

  /** Every secret, for masking wherever text leaves the process. */
  all(): string[] {
    return [...this.#kept.values()].flatMap((own) => [...own.values()].flatMap(({ given, token }) => secretsIn(given).concat(token?.value ?? [])));
  }

  #put(sandbox: string, name: string, kept: Kept): void {
    const own = this.#kept.get(sandbox) ?? new Map<string, Kept>();
    own.set(name, kept);
    this.#kept.set(sandbox, own);
    this.#write();
  }

  #write(): void {
    const text = JSON.stringify(Object.fromEntries([...this.#kept].map(([id, own]) => [id, Object.fromEntries(own)])));
    writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}

/** The key of a caller's signature. */
export function keyIn(kept: Kept | undefined): string | undefined {
  return kept?.given.kind === 'key' ? kept.given.value : undefined;
}

function readKept(path: string): unknown {
  let mode: number;
  try {
    mode = statSync(path).mode;
  } catch {
    return {};
  }
  if ((mode & 0o077) !== 0) throw new NemoError('NEMO_E_PROVIDER', { what: `${path} can be read by others.`, fix: `Run \`chmod 600 ${path}\`, and replace the credentials in it.` });
  return JSON.parse(readFileSync(path, 'utf8'));
}
