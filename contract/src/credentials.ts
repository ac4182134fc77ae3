/** Credentials that stay outside the sandbox: what a person gives, what is shown of it, and what a worker needs to put it in. */
import { z } from 'zod';

const name = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'This is not the name of a credential');
const host = z.string().max(253).regex(/^([a-z0-9_-]+\.)*[a-z0-9_-]+$/, 'This is not a host name in small letters');
const header = z.string().regex(/^[a-z0-9-]{1,64}$/, 'This is not the name of a header in small letters');
/** The name under which a program in the sandbox finds its placeholder. */
const variable = z.string().regex(/^[A-Z_][A-Z0-9_]{0,63}$/, 'This is not the name of a variable');
const secret = z.string().min(6).max(16_384).regex(/^[^\0\r\n]+$/, 'A secret is one line');

const binding = {
  /** Exactly this host; a placeholder that is sent elsewhere is refused. */
  host,
  port: z.int().min(1).max(65_535).default(443),
  pathPrefix: z.string().max(1024).regex(/^$|^\/[^?#\s]*$/, 'This is not a path').default(''),
  env: variable.optional(),
};
/**
 * PUT /v1/sandboxes/:name/credentials/:credential. `header`: the value stands in a header in place of its placeholder. `sigv4`: requests are signed anew (AWS Signature Version 4).
 * `oauth2`: an access token that the gateway gets with the refresh token, and renews. `key`: known to the gateway alone, such as the key of a caller's signature.
 */
export const credentialSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('header'), value: secret, header: header.default('authorization'), ...binding }),
  z.strictObject({ kind: z.literal('sigv4'), value: secret, accessKeyId: z.string().regex(/^[A-Za-z0-9]{8,128}$/, 'This is not an access key id'), sessionToken: secret.optional(), region: z.string().max(64).optional(), service: z.string().max(64).optional(), ...binding }),
  z.strictObject({
    kind: z.literal('oauth2'), tokenUrl: z.url({ protocol: /^https?$/ }).max(2048), clientId: z.string().min(1).max(512), clientSecret: secret.optional(), refreshToken: secret, scope: z.string().max(1024).optional(),
    header: header.default('authorization'), ...binding,
  }),
  z.strictObject({ kind: z.literal('key'), value: secret }),
]);
export const credentialName = name;
export type Credential = z.output<typeof credentialSchema>;
export type CredentialInput = z.input<typeof credentialSchema>;

/** Nothing secret: GET /v1/sandboxes/:name/credentials. */
const credentialViewSchema = z.object({
  name: z.string(),
  kind: z.enum(['header', 'sigv4', 'oauth2', 'key']),
  /** '' for a key. */
  host: z.string(),
  port: z.number(),
  header: z.string(),
  pathPrefix: z.string(),
  env: z.string(),
  /** What stands for it in the sandbox; '' for a key. */
  placeholder: z.string(),
  /** ms since epoch at which an access token ends; 0: it does not, or there is none yet. */
  expires: z.number(),
  problem: z.string(),
});
export type CredentialView = z.infer<typeof credentialViewSchema>;

/** What a worker needs to put one in where it is bound to. */
export interface CredentialPlan {
  readonly placeholder: string;
  /** The header's content, or with `sigv4` the secret access key, which signs and is never sent. */
  readonly value: string;
  readonly host: string;
  /** Header it may stand in; any case. */
  readonly header: string;
  /** '' for the whole host. */
  readonly pathPrefix: string;
  /** Any port of the host where it is absent. */
  readonly port?: number;
  readonly sigv4?: { readonly accessKeyId: string; readonly sessionToken?: string; readonly region?: string; readonly service?: string };
  /** The gateway can get a newer value. */
  readonly renewable?: true;
}
