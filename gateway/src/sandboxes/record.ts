/** What is kept of a sandbox. Keys lie under `sandbox/<id>/`; `name/<name>` says which id a name has. */
import { leftSchema, providerKinds, sandboxStates, sensitivities, type StoreEntry } from '@nemoclaw/contract';
import { z } from 'zod';

const providerSchema = z.object({
  name: z.string(),
  kind: z.enum(providerKinds),
  model: z.string(),
  endpoint: z.string(),
  location: z.enum(['local', 'cloud']),
  apiKeyEnv: z.string().optional(),
});
export type ProviderRecord = z.infer<typeof providerSchema>;

export const sandboxRecordSchema = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(sandboxStates),
  problem: z.string(),
  createdAt: z.number(),
  createdBy: z.number(),
  /** uid of the person whose folder the workspace is; absent where it is private to the sandbox. */
  owner: z.number().optional(),
  blueprint: z.object({ name: z.string(), version: z.string(), digest: z.string(), dir: z.string() }),
  registration: z.string(),
  workspacePath: z.string(),
  worker: z.string(),
  /** The first is the default. */
  providers: z.array(providerSchema).min(1),
  /** Environment and working directory of every command, as the plan gave them. */
  env: z.array(z.string()),
  cwd: z.string(),
  /** What the agent holds instead of a key; worth nothing outside. */
  placeholderKey: z.string(),
  label: z.enum(sensitivities),
  /** uids of those who ran a command or task in it, as long as it runs. */
  drivers: z.array(z.number()).default([]),
  /** The task that runs, '' for none. */
  task: z.string(),
  /** Highest version ever given out, so that a version names one policy only. */
  lastVersion: z.number(),
  probe: z.record(z.string(), z.boolean()),
  phases: z.record(z.string(), z.number()),
  unenforced: z.array(z.string()),
  /** What was found in the workspace when it was last given back. */
  left: leftSchema.optional(),
});
export type SandboxRecord = z.infer<typeof sandboxRecordSchema>;

export const policyRecordSchema = z.object({ version: z.number(), files: z.record(z.string(), z.string()), changedAt: z.number(), changedBy: z.number() });
export type PolicyRecord = z.infer<typeof policyRecordSchema>;

const issuer = z.object({ certPem: z.string(), keyPem: z.string() });
/** The root's key is here and nowhere else. */
export const caRecordSchema = z.object({ root: issuer, intermediate: issuer.extend({ rootPem: z.string() }), names: z.array(z.string()) });
export type CaRecord = z.infer<typeof caRecordSchema>;

export const keys = {
  name: (name: string) => `name/${name}`,
  record: (id: string) => `sandbox/${id}/record`,
  policy: (id: string) => `sandbox/${id}/policy`,
  ca: (id: string) => `sandbox/${id}/ca`,
  task: (id: string, task: string) => `sandbox/${id}/task/${task}`,
};

/** A value of ours with the revision it was read at; throws if the store holds something else. */
export function readStored<T>(schema: z.ZodType<T>, entry: StoreEntry): { value: T; revision: number } {
  return { value: schema.parse(entry.value), revision: entry.revision };
}
