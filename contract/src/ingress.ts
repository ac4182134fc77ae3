/** What a worker is told of calls into a sandbox: each rule with what is needed to check its proof. No rule here admits anybody without one. */

export type IngressProof =
  | {
      readonly kind: 'hmac';
      /** Lower case. */
      readonly header: string;
      readonly key: string;
      readonly algorithm: 'sha256' | 'sha512';
      readonly encoding: 'hex' | 'base64';
      readonly prefix: string;
      /** With it, what is signed is `TIMESTAMP.BODY`, the time in seconds since 1970, and a signature is good once; without it the body alone. */
      readonly timestamp: { readonly header: string; readonly toleranceMs: number } | null;
    }
  /** `keys`: a JWK set as text. */
  | { readonly kind: 'jwt'; readonly issuer: string; readonly audience: string; readonly keys: string }
  | { readonly kind: 'mtls'; readonly caPem: string; readonly names: readonly string[] }
  | { readonly kind: 'addresses'; readonly ranges: readonly string[] };

export interface IngressEntry {
  /** `ingress.allow[0]` */
  readonly id: string;
  readonly source: string;
  readonly path: string;
  /** On the loopback of the sandbox. */
  readonly port: number;
  /** Requests in so many ms; null: only the limits that every sandbox has. */
  readonly rate: { readonly count: number; readonly windowMs: number } | null;
  readonly proof: IngressProof;
}

/** Where a worker takes calls from outside; without a certificate on loopback only. */
export interface IngressListen {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly certPem: string; readonly keyPem: string } | null;
}
