/** `networkPolicy`: whom a sandbox may talk to (design: Layer 4). */
import { isIP } from 'node:net';
import { z } from 'zod';
import { isOpenshellFile } from './foreign.ts';
import { checkSource, problem, type Loaded } from './issue.ts';
import { action, method, port, urlPath } from './scalars.ts';
import { networkFromOpenshell } from './openshell-network.ts';
import { readSource } from './source.ts';
import { allowedDomain, domain } from './suffixes.ts';

const text = z.string().max(2048);
const conditions = {
  methods: z.array(method).min(1).max(32).optional(),
  /** 443 and 80 when left out. */
  ports: z.array(port).min(1).max(64).optional(),
  paths: z.array(urlPath).min(1).max(256).optional(),
  /** Parameter -> accepted value(s), `*` as wildcard. Allow: no other parameters may occur. Escalate, deny: matches when one of them occurs. */
  query: z.record(z.string().max(256), z.union([text, z.array(text).min(1).max(64)])).optional(),
  /** Which programs a rule is for: a hint only, since a program can be made to act for another. */
  binaries: z.array(z.string().startsWith('/')).min(1).max(64).optional(),
};
const upstream = {
  /** Fixed addresses of the host; the only way to loopback and private ranges. */
  addresses: z.array(z.string().refine((a) => isIP(a) !== 0, 'This is not an IP address')).min(1).max(16).optional(),
  /** File name of an extra trust anchor (PEM) for the host's certificate. */
  ca: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'This is not a file name').optional(),
  tls: z.enum(['intercept', 'passthrough']).optional(),
  /** The action that a matching request counts as, where the catalogue knows none. */
  as: action.optional(),
  /** `restricted`: also a sandbox that can read what is labelled restricted may send here without being asked about each request. */
  accepts: z.literal('restricted').optional(),
};

const allowRule = z.strictObject({ domain: allowedDomain, ...conditions, ...upstream });
const escalateRule = z.strictObject({ domain, ...conditions, ...upstream });
const denyRule = z.strictObject({ domain, ...conditions });

const inside = ['methods', 'paths', 'query', 'as'] as const;

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
      ingress: z.strictObject({ allow: z.array(z.strictObject({ source: domain, path: urlPath })).max(256).default([]) }).prefault({}),
      inspection: z.strictObject({ tlsDecrypt: z.boolean().default(true), logPayloads: z.boolean().default(false), scanForPII: z.boolean().default(true) }).prefault({}),
    })
    .superRefine((policy, ctx) => {
      for (const list of ['allow', 'escalate'] as const) {
        policy.egress[list].forEach((rule, index) => {
          const closed = rule.tls === 'passthrough' || (rule.tls === undefined && !policy.inspection.tlsDecrypt);
          const field = inside.find((name) => rule[name] !== undefined);
          if (!closed || field === undefined) return;
          ctx.addIssue({
            code: 'custom',
            path: ['egress', list, index, field],
            message: `\`${field}\` cannot be decided where TLS is not opened.`,
            params: problem('NEMO_E_POLICY_TYPE', rule.tls === 'passthrough' ? 'The rule says `tls: passthrough`.' : '`inspection.tlsDecrypt` is false.', 'Say `tls: intercept` in the rule, or leave the field out.'),
          });
        });
      }
    }),
});
export type NetworkPolicyFile = z.output<typeof networkPolicySchema>;
export type NetworkPolicy = NetworkPolicyFile['networkPolicy'];
export type EgressRule = z.output<typeof escalateRule>;

/** Reads a file with `networkPolicy:` (YAML or JSON), also from OpenShell's own format (`foreignNotes` says what is then stricter). Throws NemoError with the place of the first problem. */
export function loadNetworkPolicy(text: string, file: string): Loaded<NetworkPolicyFile> {
  const source = readSource(text, file);
  const theirs = isOpenshellFile(source) ? networkFromOpenshell(source) : undefined;
  return theirs === undefined ? checkSource(networkPolicySchema, source) : theirs.finish(checkSource(networkPolicySchema, theirs.source));
}
