/** `networkPolicy`: whom a sandbox may talk to (design: Layer 4). */
import { z } from 'zod';
import { isOpenshellFile } from './foreign.ts';
import { checkSource, type Loaded } from './issue.ts';
import { ingressRule } from './network-ingress.ts';
import { checkSense } from './network-sense.ts';
import { addressBlock, graphql, headers, jsonRpc, mcp, postgres, rate, redis, ruleProtocols, smtp } from './network-words.ts';
import { networkFromOpenshell } from './openshell-network.ts';
import { action, method, port, size, urlPath } from './scalars.ts';
import { readSource } from './source.ts';
import { allowedDomain, domain } from './suffixes.ts';

const text = z.string().max(2048);
const conditions = {
  methods: z.array(method).min(1).max(32).optional(),
  /** Those of the protocol when left out: 443 and 80 for HTTP. */
  ports: z.array(port).min(1).max(64).optional(),
  paths: z.array(urlPath).min(1).max(256).optional(),
  /** Parameter -> accepted value(s), `*` as wildcard. Allow: no other parameters may occur. Escalate, deny: matches when one of them occurs. */
  query: z.record(z.string().max(256), z.union([text, z.array(text).min(1).max(64)])).optional(),
  /** Allow: each is present, and every value of it matches. Escalate, deny: one of them is present and matches. */
  headers: headers.optional(),
  protocol: z.enum(ruleProtocols).optional(),
  graphql: graphql.optional(),
  mcp: mcp.optional(),
  jsonRpc: jsonRpc.optional(),
  smtp: smtp.optional(),
  postgres: postgres.optional(),
  redis: redis.optional(),
  /** Which programs a rule is for: a hint only, since a program can be made to act for another. `dir/**`: any below it. */
  binaries: z.array(z.string().startsWith('/').max(4096)).min(1).max(64).optional(),
  /** Monitor: what the rule would refuse is recorded and let through. */
  mode: z.enum(['enforce', 'monitor']).optional(),
};
const upstream = {
  /** Fixed addresses of the host, or blocks of them; the only way to loopback and private ranges. */
  addresses: z.array(addressBlock).min(1).max(16).optional(),
  /** File name of an extra trust anchor (PEM) for the host's certificate. */
  ca: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'This is not a file name').optional(),
  tls: z.enum(['intercept', 'passthrough']).optional(),
  /** What came over HTTP/1.1 goes on over it, also where HTTP/2 is offered. */
  upstream: z.literal('http1').optional(),
  /** The action that a matching request counts as, where the catalogue knows none. */
  as: action.optional(),
  /** Values with this label may be sent here; `restricted`: also a sandbox that can read what is labelled restricted sends here without being asked about each request. */
  accepts: z.enum(['confidential', 'restricted']).optional(),
  /** Larger requests are refused. */
  maxBody: size.optional(),
  /** What happens to a body larger than what can be inspected. */
  onOversize: z.enum(['deny', 'escalate', 'uninspected']).optional(),
  /** Requests by this rule, of one sandbox. */
  rate: rate.optional(),
  /** Says that passing TLS on unread is meant, where everything else is searched. */
  uninspected: z.literal('allow').optional(),
};

const allowRule = z.strictObject({
  domain: allowedDomain,
  ...conditions,
  ...upstream,
  /** Parameters of `query` that must occur; the others may be left out. */
  queryRequired: z.array(z.string().max(256)).min(1).max(64).optional(),
});
const escalateRule = z.strictObject({ domain, ...conditions, ...upstream });
const denyRule = z.strictObject({ domain, ...conditions });

/** Hosts whose answers have a sensitivity. Those below are none: they may go anywhere. */
const hostLabel = z.strictObject({ domain, level: z.enum(['confidential', 'restricted']) });

/** Classes of findings whose treatment a policy may choose. The sandbox's own credentials are none: they never leave. */
const inspectionClasses = ['secret', 'email', 'phone', 'credit-card', 'us-ssn', 'iban', 'ip'] as const;
export type InspectionClass = (typeof inspectionClasses)[number];
const inspectionAction = z.enum(['block', 'redact', 'escalate', 'log']);
export type HostLabel = z.output<typeof hostLabel>;
export type InspectionAction = z.output<typeof inspectionAction>;

const one = inspectionAction.optional();
const inspectionActions = { secret: one, email: one, phone: one, 'credit-card': one, 'us-ssn': one, iban: one, ip: one, default: one } satisfies Record<InspectionClass | 'default', typeof one>;

const inspection = z.strictObject({
  tlsDecrypt: z.boolean().default(true),
  logPayloads: z.boolean().default(false),
  scanForPII: z.boolean().default(true),
  /** `tainted`: what came from a labelled host, on its way to a place that does not take it. */
  actions: z.strictObject({ ...inspectionActions, tainted: one }).optional(),
  /** Whether answers are searched too: what is found is put on record, or what `actions` says happens. */
  responses: z.union([z.boolean(), z.strictObject({ actions: z.strictObject(inspectionActions) })]).optional(),
  /** What is held and inspected of a body at most. */
  maxBody: size.optional(),
});

export const networkPolicySchema = z.strictObject({
  networkPolicy: z
    .strictObject({
      name: z.string().min(1).max(64),
      egress: z
        .strictObject({
          allow: z.array(allowRule).max(10_000).default([]),
          escalate: z.array(escalateRule).max(10_000).default([]),
          deny: z.array(denyRule).max(10_000).default([]),
        })
        .prefault({}),
      ingress: z.strictObject({ allow: z.array(ingressRule).max(256).default([]) }).prefault({}),
      inspection: inspection.prefault({}),
      labels: z.array(hostLabel).max(256).default([]),
    })
    .superRefine(checkSense),
});
export type NetworkPolicyFile = z.output<typeof networkPolicySchema>;
export type EgressRule = z.output<typeof escalateRule>;
export type { IngressRule } from './network-ingress.ts';

/** Reads a file with `networkPolicy:` (YAML or JSON), also from OpenShell's own format (`foreignNotes` says what is then stricter). Throws NemoError with the place of the first problem. */
export function loadNetworkPolicy(text: string, file: string): Loaded<NetworkPolicyFile> {
  const source = readSource(text, file);
  const theirs = isOpenshellFile(source) ? networkFromOpenshell(source) : undefined;
  return theirs === undefined ? checkSource(networkPolicySchema, source) : theirs.finish(checkSource(networkPolicySchema, theirs.source));
}
