/** What a worker knows of a sandbox's ingress: each rule with what is needed to check its proof. No rule here admits anybody without one. */

export type Proof =
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

export interface IngressRule {
  /** `ingress.allow[0]` */
  readonly id: string;
  readonly source: string;
  readonly path: string;
  /** On the loopback of the sandbox. */
  readonly port: number;
  /** Requests in so many ms; null: only the limits that every sandbox has. */
  readonly rate: { readonly count: number; readonly windowMs: number } | null;
  readonly proof: Proof;
}

/** What proofs are checked against. */
export interface Caller {
  /** Address of the other end of the connection itself; what a header says of it proves nothing. */
  readonly address: string;
  /** DER certificates, the caller's own first, of a chain that was verified; empty where none was shown. */
  readonly chain: readonly CallerCertificate[];
  /** Value of a header that came exactly once. */
  header(name: string): string | undefined;
  readonly body: Buffer;
}
export interface CallerCertificate {
  readonly raw: Buffer;
  /** DNS names of the subject. */
  readonly names: readonly string[];
}

/** Undefined: proven. Else why not, for the record only: a caller is told nothing. */
export type Unproven = string | undefined;
