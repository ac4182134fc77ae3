/** `blueprint.yaml`: what a blueprint folder holds. */
import { z } from 'zod';
import { loadWith, type Loaded } from './issue.ts';
import { duration } from './scalars.ts';

/** A file of the folder: relative, no `..`. */
const inFolder = z.string().regex(/^(?!.*(^|\/)\.{1,2}(\/|$))[A-Za-z0-9_][A-Za-z0-9_./-]{0,255}$/, 'This is not a path inside the blueprint folder');

export const blueprintSchema = z.strictObject({
  apiVersion: z.literal('nemoclaw.dev/v1'),
  kind: z.literal('Blueprint'),
  name: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'A name has small letters, digits and dashes'),
  version: z.string().regex(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/, 'A version is written 1.2.3'),
  description: z.string().min(1).max(500),
  /** Rules and network policies are for this role. */
  role: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'A role has small letters, digits and dashes'),
  agent: z.strictObject({
    kind: z.enum(['pi', 'opencode', 'shell']),
    extension: inFolder.optional(),
    env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'This is not the name of an environment variable'), z.string().max(4096)).default({}),
  }),
  files: z.strictObject({ sandbox: inFolder, network: inFolder.optional(), actions: inFolder.optional(), approvals: inFolder.optional(), inference: inFolder.optional() }),
  workspace: z.strictObject({ /** Folder copied into an empty workspace. */ seed: inFolder.optional() }).prefault({}),
  /** ms a model stream and a plain HTTP request wait for an approval. */
  patience: z.strictObject({ stream: duration.default(600_000), http: duration.default(25_000) }).prefault({}),
  demo: z.strictObject({ approvedRequests: z.array(z.string().regex(/^[0-9a-f]{64}$/, 'This is not a SHA-256 in hex')).default([]) }).prefault({}),
});
export type Blueprint = z.output<typeof blueprintSchema>;

/** Reads `blueprint.yaml`. Throws NemoError with the place of the first problem. */
export function loadBlueprint(text: string, file: string): Loaded<Blueprint> {
  return loadWith(blueprintSchema, text, file);
}
