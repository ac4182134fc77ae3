/** The credentials of one run: read once, held in memory, known to the command by their placeholders alone. */
import { dirname, resolve } from 'node:path';
import { loadCredentials, NemoError } from '@nemoclaw/contract';
import type { AuditSink, Clock, Credential, CredentialPlan, Ids } from '@nemoclaw/contract';
import { getToken } from '../credentials/access-token.ts';
import { placeholderFor, planOf, secretsIn, variablesOf } from '../credentials/plan.ts';
import { readPrivate } from './private-file.ts';
import { sandboxName } from './system.ts';

/** A token that was asked for so recently is not asked for again, ms: how often it is refused, the command chooses. */
const freshFor = 10_000;
const formerValues = 64;

interface Held {
  readonly name: string;
  given: Credential;
  readonly placeholder: string;
  token: string | undefined;
  /** Monotonic ms. */
  asked: number;
}

export class HeldCredentials {
  readonly #all: readonly Held[];
  readonly #clock: Clock;
  /** Values that were replaced: what was sent with them may still come back. */
  #former: readonly string[] = [];
  #secrets: readonly string[] = [];
  /** Files and variables that secrets were read from: the command sees neither. */
  readonly files: readonly string[];
  readonly taken: readonly string[];

  constructor(all: ReadonlyMap<string, Credential>, from: { readonly files: readonly string[]; readonly variables: readonly string[] }, clock: Clock, ids: Ids) {
    this.#all = [...all].map(([name, given]) => ({ name, given, placeholder: placeholderFor(name, given.kind, ids), token: undefined, asked: -Infinity }));
    this.#clock = clock;
    this.files = from.files;
    this.taken = from.variables;
    this.#know();
  }

  /** What the egress puts in. */
  get plans(): CredentialPlan[] {
    return this.#all.flatMap(({ given, placeholder, token }) => planOf(given, placeholder, token) ?? []);
  }

  /** Variables of the command: name -> placeholder. */
  get variables(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#all.flatMap(({ given, placeholder }) => Object.entries(variablesOf(given, placeholder))));
  }

  /** Every secret, for masking; the same array until one changes. */
  get secrets(): readonly string[] {
    return this.#secrets;
  }

  /** The key of a caller's signature. */
  key(name: string): string | undefined {
    const given = this.#all.find((one) => one.name === name)?.given;
    return given?.kind === 'key' ? given.value : undefined;
  }

  /** Gets every access token. Throws NEMO_E_CREDENTIALS: a placeholder that nothing stands behind would be sent as it is. */
  async begin(): Promise<void> {
    for (const one of this.#all) {
      if (one.given.kind !== 'oauth2') continue;
      const why = await this.#get(one);
      if (why !== undefined) throw new NemoError('NEMO_E_CREDENTIALS', { what: `There is no access token for the credential ${one.name}.`, why, fix: 'Look at its tokenUrl, clientId and refreshToken.' });
    }
  }

  /** The other side refused this one; whether a newer value is here. Never rejects. */
  async renew(placeholder: string, audit: AuditSink): Promise<boolean> {
    const one = this.#all.find((held) => held.placeholder === placeholder);
    if (one?.given.kind !== 'oauth2' || this.#clock.monotonic() - one.asked < freshFor) return false;
    const why = await this.#get(one);
    audit.emit({
      time: this.#clock.now(), class: 'authentication', activity: 1, severity: why === undefined ? 1 : 3, sandbox: sandboxName, layer: 'proxy',
      message: `The access token of the credential ${one.name} ${why === undefined ? 'was' : 'could not be'} renewed.`, data: { credential: one.name, ...(why === undefined ? { host: one.given.host } : { problem: why }) },
    });
    return why === undefined;
  }

  /** Why there is none. */
  async #get(one: Held): Promise<string | undefined> {
    if (one.given.kind !== 'oauth2') return 'this is not an access token';
    one.asked = this.#clock.monotonic();
    try {
      const { value, refreshToken } = await getToken(one.given);
      this.#former = [...this.#former, one.given.refreshToken, ...(one.token === undefined ? [] : [one.token])].slice(-formerValues);
      one.token = value;
      if (refreshToken !== undefined) one.given = { ...one.given, refreshToken };
      this.#know();
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : 'unknown error';
    }
  }

  #know(): void {
    this.#secrets = [...new Set([...this.#all.flatMap(({ given, token }) => secretsIn(given).concat(token ?? [])), ...this.#former])];
  }
}

/** Reads `--credentials`; none without it. Throws NEMO_E_CREDENTIALS, and the file's own problems with their place, before anything runs. */
export async function holdCredentials(file: string | undefined, clock: Clock, ids: Ids): Promise<HeldCredentials> {
  const files: string[] = [];
  const variables: string[] = [];
  const all = file === undefined ? new Map<string, Credential>() : loadCredentials(readPrivate(file), file, (from, where) => {
    if ('file' in from) {
      const path = resolve(dirname(file), from.file);
      files.push(path);
      return readPrivate(path, where).replace(/\r?\n$/, '');
    }
    variables.push(from.variable);
    const value = process.env[from.variable];
    if (value === undefined) throw new NemoError('NEMO_E_CREDENTIALS', { what: `The variable ${from.variable} is not set.`, where });
    return value;
  });
  const held = new HeldCredentials(all, { files: file === undefined ? [] : [resolve(file), ...files], variables }, clock, ids);
  await held.begin();
  return held;
}
