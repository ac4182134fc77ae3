/** Which model providers a sandbox has, which is the default, and where data may be processed. */
import { z } from 'zod';
import { providerKinds } from '../api.ts';
import { loadWith, problem, type Loaded } from './issue.ts';

const name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'A name has small letters, digits and dashes');

const privacyRouterSchema = z.strictObject({
  residencyRules: z.array(z.strictObject({ region: z.string().min(1).max(32), dataTypes: z.array(z.string().min(1).max(64)).min(1), allowedEndpoints: z.array(name).min(1) })).default([]),
  fallback: z.enum(['local-only', 'deny']).default('local-only'),
});

const provider = z.strictObject({
  name,
  kind: z.enum(providerKinds),
  /** Base URL up to and including the version, e.g. http://127.0.0.1:8930/v1 */
  endpoint: z.url({ protocol: /^https?$/ }),
  model: z.string().min(1).max(200),
  location: z.enum(['local', 'cloud']),
  /** Name of the environment variable (of onboard) that holds the key; the key itself never stands in a file. */
  apiKeyEnv: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/, 'This is not the name of an environment variable').optional(),
});

export const inferenceSchema = z
  .strictObject({ providers: z.array(provider).min(1).max(64), default: name, privacyRouter: privacyRouterSchema.optional() })
  .superRefine((given, ctx) => {
    if (!given.providers.some((p) => p.name === given.default)) {
      ctx.addIssue({ code: 'custom', path: ['default'], message: `No provider is called ${given.default}.`, params: problem('NEMO_E_POLICY_TYPE', undefined, `Use one of ${given.providers.map((p) => p.name).join(', ')}.`) });
    }
  });
export type Inference = z.output<typeof inferenceSchema>;

/** Reads the inference profiles from YAML or JSON. Throws NemoError with the place of the first problem. */
export function loadInference(text: string, file: string): Loaded<Inference> {
  return loadWith(inferenceSchema, text, file);
}
