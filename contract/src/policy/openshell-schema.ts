/** The fields of OpenShell's own policy files (`version: 1`), as their schema reference documents them. */
import { z } from 'zod';
import { problem } from './issue.ts';
import { port } from './scalars.ts';

const path = z.string().max(4096).superRefine((given, ctx) => {
  const bad = (message: string, fix: string): void => ctx.addIssue({ code: 'custom', message, params: problem('NEMO_E_POLICY_PATTERN', undefined, fix) });
  if (!given.startsWith('/')) bad(`${JSON.stringify(given)} is not an absolute path.`, 'Write it from the root.');
  else if (given.split('/').includes('..')) bad(`${JSON.stringify(given)} has a .. part.`, 'Write the path as it really is.');
  else if (/[*?[\]{}\0]/.test(given)) bad(`${JSON.stringify(given)} has a wildcard.`, 'Name one file or directory; a directory includes all below it.');
});
const paths = z.array(path).max(256).default([]);

const glob = z.string().max(2048);
const matcher = z.union([glob, z.strictObject({ any: z.array(glob).min(1).max(64) })]);
/** One rule of any protocol; which fields belong together is checked where the protocol is known. */
const rule = z.strictObject({
  method: z.string().max(128).optional(),
  path: glob.optional(),
  query: z.record(z.string().max(256), matcher).optional(),
  operation_type: z.string().optional(),
  operation_name: z.string().optional(),
  fields: z.array(z.string()).optional(),
  tool: matcher.optional(),
  params: z.record(z.string(), matcher).optional(),
});
export type ForeignRule = z.output<typeof rule>;

const endpoint = z.strictObject({
  host: z.string().min(1).max(255),
  port: port.optional(),
  ports: z.array(port).min(1).max(64).optional(),
  path: glob.optional(),
  protocol: z.enum(['rest', 'websocket', 'graphql', 'mcp', 'json-rpc', 'tcp', 'sql']).optional(),
  tls: z.enum(['skip', 'terminate', 'passthrough', 'auto']).optional(),
  enforcement: z.enum(['enforce', 'audit']).optional(),
  access: z.enum(['read-only', 'read-write', 'full']).optional(),
  rules: z.array(z.strictObject({ allow: rule })).min(1).max(512).optional(),
  deny_rules: z.array(rule).min(1).max(512).optional(),
  allowed_ips: z.array(z.string()).max(64).default([]),
  allow_encoded_slash: z.boolean().default(false),
  websocket_credential_rewrite: z.boolean().default(false),
  request_body_credential_rewrite: z.boolean().default(false),
  allow_uninspected_credentials: z.boolean().default(false),
  credential_signing: z.string().optional(),
  signing_service: z.string().optional(),
  signing_region: z.string().optional(),
  credential_binding: z.unknown().optional(),
  persisted_queries: z.string().optional(),
  graphql_persisted_queries: z.unknown().optional(),
  graphql_max_body_bytes: z.int().positive().optional(),
  mcp: z.strictObject({ max_body_bytes: z.int().positive().optional(), strict_tool_names: z.boolean().optional(), allow_all_known_mcp_methods: z.boolean().optional() }).optional(),
  json_rpc: z.strictObject({ max_body_bytes: z.int().positive().optional() }).optional(),
});
export type ForeignEndpoint = z.output<typeof endpoint>;

export const openshellFileSchema = z.strictObject({
  version: z.literal(1).optional(),
  /** Files of network rules that NemoClaw ships and takes, one subject each, have this and no version. */
  preset: z.strictObject({ name: z.string().min(1).max(64), description: z.string().max(2048).default('') }).optional(),
  filesystem_policy: z.strictObject({ include_workdir: z.boolean().default(false), read_only: paths, read_write: paths }).optional(),
  landlock: z.strictObject({ compatibility: z.enum(['best_effort', 'hard_requirement']).default('best_effort') }).optional(),
  process: z.strictObject({ run_as_user: z.string().optional(), run_as_group: z.string().optional() }).optional(),
  network_policies: z
    .record(z.string().min(1).max(128), z.strictObject({ name: z.string().max(128).optional(), endpoints: z.array(endpoint).max(512).default([]), binaries: z.array(z.strictObject({ path: z.string().startsWith('/').max(4096) })).max(64).default([]) }))
    .default({}),
  network_middlewares: z.record(z.string().min(1), z.looseObject({ middleware: z.string() })).default({}),
}).superRefine((file, ctx) => {
  if (file.version === undefined && file.preset === undefined) ctx.addIssue({ code: 'custom', path: [], message: 'The field `version` is missing.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Write `version: 1`.') });
});
export type OpenshellFile = z.output<typeof openshellFileSchema>;
