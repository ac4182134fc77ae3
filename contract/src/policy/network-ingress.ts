/** `ingress`: who may call into a sandbox, and how the caller proves to be who it says. */
import { z } from 'zod';
import { problem } from './issue.ts';
import { addressBlock, rate } from './network-words.ts';
import { duration, port, urlPath } from './scalars.ts';
import { domain } from './suffixes.ts';

const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'This is not a file name');
const headerName = z.string().regex(/^[a-z0-9-]{1,64}$/, 'This is not the name of a header in small letters');

/** Exactly one of them. A host name is not a proof: anybody can connect and say it. */
const proof = z
  .strictObject({
    /** A keyed hash over the body (and, with `timestamp`, over "time.body"), in a header. */
    hmac: z
      .strictObject({
        header: headerName,
        /** Name of the credential that holds the key; the key never stands in a file. */
        secret: z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'This is not the name of a credential'),
        algorithm: z.enum(['sha256', 'sha512']).default('sha256'),
        encoding: z.enum(['hex', 'base64']).default('hex'),
        /** What stands before the hash in the header, e.g. `sha256=`. */
        prefix: z.string().max(32).default(''),
        timestamp: z.strictObject({ header: headerName, tolerance: duration.default(300_000) }).optional(),
      })
      .optional(),
    /** A signed token as `Authorization: Bearer`. `keys`: file name of a JWK set. */
    jwt: z.strictObject({ issuer: z.string().min(1).max(512), audience: z.string().min(1).max(512), keys: fileName }).optional(),
    /** A client certificate under `ca` (file name, PEM); `names`: those of its subject that are meant. */
    mtls: z.strictObject({ ca: fileName, names: z.array(domain).min(1).max(64) }).optional(),
    /** Published addresses of the caller. */
    addresses: z.array(addressBlock).min(1).max(256).optional(),
  })
  .superRefine((given, ctx) => {
    const ways = Object.values(given).filter((one) => one !== undefined).length;
    if (ways !== 1) ctx.addIssue({ code: 'custom', message: ways === 0 ? 'This proves nothing.' : 'These are several proofs.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Give one of hmac, jwt, mtls or addresses; write a rule for each.') });
  });

export const ingressRule = z
  .strictObject({
    source: domain,
    path: urlPath,
    /** Where the sandbox listens. */
    port: port.optional(),
    /** Without it nobody is admitted, and the rule is reported as unproven. */
    auth: proof.optional(),
    rate: rate.optional(),
  })
  .superRefine((rule, ctx) => {
    if (rule.auth !== undefined && rule.port === undefined) ctx.addIssue({ code: 'custom', path: ['auth'], message: 'It is not said to which port of the sandbox the call goes.', params: problem('NEMO_E_POLICY_TYPE', undefined, 'Add `port: 8080`, where the sandbox listens.') });
    if (rule.auth === undefined && rule.rate !== undefined) ctx.addIssue({ code: 'custom', path: ['rate'], message: 'Nobody is admitted by this rule.', params: problem('NEMO_E_POLICY_TYPE', 'It says nothing of how the caller proves itself.', 'Add `auth`, or remove the rate.') });
  });
export type IngressRule = z.output<typeof ingressRule>;
