/** What a caller shows, and what checking it against a rule may say. */
import type { IngressEntry, IngressProof } from '@nemoclaw/contract';

export type IngressRule = IngressEntry;
export type Proof = IngressProof;

/** What proofs are checked against. */
export interface Caller {
  /** Address of the other end of the connection itself; what a header says of it proves nothing. */
  readonly address: string;
  /** The caller's own certificate first, of a chain that was verified; empty where none was shown. */
  readonly chain: readonly CallerCertificate[];
  /** Value of a header that came exactly once. */
  header(name: string): string | undefined;
  readonly body: Buffer;
}
export interface CallerCertificate {
  /** DER. */
  readonly raw: Buffer;
  /** DNS names of the subject. */
  readonly names: readonly string[];
}

/** Undefined: proven. Else why not, for the record only: a caller is told nothing. */
export type Unproven = string | undefined;
