/** Provider keys: a file that only the gateway's uid may read; never in the store, the record or an answer of the API. */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { NemoError } from '@nemoclaw/contract';
import { z } from 'zod';
import type { ProviderRecord } from './record.ts';

const fileSchema = z.strictObject({
  /** Key by variable name, e.g. NVIDIA_API_KEY; for every sandbox whose provider names it. */
  env: z.record(z.string(), z.string()).default({}),
  /** Sandbox id -> provider name -> key. */
  sandboxes: z.record(z.string(), z.record(z.string(), z.string())).default({}),
});

export class Secrets {
  readonly #path: string;
  readonly #env: ReadonlyMap<string, string>;
  #kept: { readonly env: Map<string, string>; readonly sandboxes: Map<string, Map<string, string>> };

  /** Throws NEMO_E_PROVIDER if the file can be read by others or is damaged. `env`: variables of the process, used where the file names none. */
  constructor(path: string, env: ReadonlyMap<string, string> = new Map()) {
    this.#path = path;
    this.#env = env;
    const read = fileSchema.parse(this.#read());
    this.#kept = { env: new Map(Object.entries(read.env)), sandboxes: new Map(Object.entries(read.sandboxes).map(([id, given]) => [id, new Map(Object.entries(given))])) };
  }

  keyOf(sandbox: string, provider: ProviderRecord): string | undefined {
    const own = this.#kept.sandboxes.get(sandbox)?.get(provider.name);
    if (own !== undefined || provider.apiKeyEnv === undefined) return own;
    return this.#kept.env.get(provider.apiKeyEnv) ?? this.#env.get(provider.apiKeyEnv);
  }

  set(sandbox: string, provider: string, key: string): void {
    const own = this.#kept.sandboxes.get(sandbox) ?? new Map<string, string>();
    own.set(provider, key);
    this.#kept.sandboxes.set(sandbox, own);
    this.#write();
  }

  forget(sandbox: string): void {
    if (this.#kept.sandboxes.delete(sandbox)) this.#write();
  }

  /** Every key, for masking wherever text leaves the process. */
  all(): string[] {
    return [...this.#kept.env.values(), ...[...this.#kept.sandboxes.values()].flatMap((own) => [...own.values()])];
  }

  #read(): unknown {
    let mode: number;
    try {
      mode = statSync(this.#path).mode;
    } catch {
      return {};
    }
    if ((mode & 0o077) !== 0) throw new NemoError('NEMO_E_PROVIDER', { what: `${this.#path} can be read by others.`, fix: `Run \`chmod 600 ${this.#path}\`, and replace the keys in it.` });
    return JSON.parse(readFileSync(this.#path, 'utf8'));
  }

  #write(): void {
    const text = JSON.stringify({ env: Object.fromEntries(this.#kept.env), sandboxes: Object.fromEntries([...this.#kept.sandboxes].map(([id, own]) => [id, Object.fromEntries(own)])) });
    writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}
