/** Reads a file of credentials, in the words of `credentialSchema`; a secret stands in it, or it says from where it is read. */
import { z } from 'zod';
import { credentialName, credentialSchema, type Credential } from '../credentials.ts';
import { NemoError, type Where } from '../errors.ts';
import { checkSource, problem } from './issue.ts';
import { placeOf, readSource, type Source } from './source.ts';

const most = 64;
const fileSchema = z.strictObject({
  credentials: z.record(credentialName, credentialSchema).superRefine((all, ctx) => {
    const entries = Object.entries(all);
    if (entries.length > most) ctx.addIssue({ code: 'custom', message: `There are more than ${most} credentials.` });
    const seen = new Set<string>();
    for (const [name, one] of entries) {
      if (one.kind === 'key') continue;
      const variable = one.env ?? (one.kind === 'sigv4' ? 'AWS_ACCESS_KEY_ID' : undefined);
      if (variable === undefined) ctx.addIssue({ code: 'custom', path: [name], message: 'No variable is named, so that no program finds its placeholder.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Add `env: NAME`.') });
      else if (seen.has(variable)) ctx.addIssue({ code: 'custom', path: [name], message: `Another credential has the variable ${variable}.`, params: problem('NEMO_E_POLICY_TYPE', undefined, 'Give each its own `env`.') });
      else seen.add(variable);
    }
  }),
});
/** The fields that are secret. */
const secrets = ['value', 'sessionToken', 'clientSecret', 'refreshToken'];
const elsewhere = z.union([z.strictObject({ file: z.string().min(1) }), z.strictObject({ variable: z.string().min(1) })]);

/** Where a secret is read from: a file, or a variable of the environment. */
export type SecretSource = z.output<typeof elsewhere>;

/** Credentials by name. `read` gets what is not in the file itself; throws NemoError with the place of the first problem, and never with a value. */
export function loadCredentials(text: string, file: string, read: (from: SecretSource, where: Where) => string): Map<string, Credential> {
  const { credentials } = checkSource(fileSchema, withSecrets(sourceOf(text, file), read));
  return new Map(Object.entries(credentials));
}

/** What the parser says may quote a secret. */
function sourceOf(text: string, file: string): Source {
  try {
    return readSource(text, file);
  } catch (error) {
    if (!(error instanceof NemoError)) throw error;
    throw new NemoError(error.code, { what: 'The file is not valid YAML.', ...(error.where === undefined ? {} : { where: error.where }) });
  }
}

/** The same with every secret in its place, so that the one schema checks all of it. */
function withSecrets(source: Source, read: (from: SecretSource, where: Where) => string): Source {
  const { value } = source;
  if (!isMap(value) || !isMap(value['credentials'])) return source;
  const credentials = Object.fromEntries(Object.entries(value['credentials']).map(([name, one]) => {
    if (!isMap(one)) return [name, one];
    const fields = Object.entries(one).map(([field, given]) => {
      const from = secrets.includes(field) ? elsewhere.safeParse(given) : undefined;
      return [field, from?.success === true ? read(from.data, placeOf(source.map, ['credentials', name, field])) : given] as const;
    });
    return [name, { kind: 'header', ...Object.fromEntries(fields) }];
  }));
  return { ...source, value: { ...value, credentials } };
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value);
