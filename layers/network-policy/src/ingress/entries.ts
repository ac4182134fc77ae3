/** What a worker is told of calls into a sandbox: the policy's rules, each with the keys and certificates that its proof needs. */
import type { IngressEntry, IngressProof, NetworkPolicyFile } from '@nemoclaw/contract';

type Rule = NetworkPolicyFile['networkPolicy']['ingress']['allow'][number];
interface Needs {
  /** Text of a file beside the policy or among the host's anchors. */
  readonly file: (name: string) => string | undefined;
  readonly key: (credential: string) => string | undefined;
}

/** Rules that admit somebody, and why the others admit nobody. */
export function ingressOf(network: NetworkPolicyFile | undefined, needs: Needs): { readonly entries: readonly IngressEntry[]; readonly problems: readonly string[] } {
  const entries: IngressEntry[] = [];
  const problems: string[] = [];
  (network?.networkPolicy.ingress.allow ?? []).forEach((rule, i) => {
    const id = `ingress.allow[${i}]`;
    // Without `auth` it is reported by the policy itself.
    if (rule.auth === undefined || rule.port === undefined) return;
    const proof = proofOf(rule.auth, needs);
    if (typeof proof === 'string') problems.push(`${id}: ${proof}; nobody is admitted.`);
    else entries.push({ id, source: rule.source, path: rule.path, port: rule.port, rate: rule.rate ?? null, proof });
  });
  return { entries, problems };
}

function proofOf({ hmac, jwt, mtls, addresses }: NonNullable<Rule['auth']>, { file, key }: Needs): IngressProof | string {
  if (hmac !== undefined) {
    const { header, secret, algorithm, encoding, prefix, timestamp } = hmac;
    const value = key(secret);
    return value === undefined ? `the credential ${secret} is not set` : { kind: 'hmac', header, key: value, algorithm, encoding, prefix, timestamp: timestamp === undefined ? null : { header: timestamp.header, toleranceMs: timestamp.tolerance } };
  }
  if (jwt !== undefined) {
    const keys = file(jwt.keys);
    return keys === undefined ? `the file ${jwt.keys} is not there` : { kind: 'jwt', issuer: jwt.issuer, audience: jwt.audience, keys };
  }
  if (mtls !== undefined) {
    const caPem = file(mtls.ca);
    return caPem === undefined ? `the file ${mtls.ca} is not there` : { kind: 'mtls', caPem, names: mtls.names };
  }
  return addresses === undefined ? 'it has no proof' : { kind: 'addresses', ranges: addresses };
}
