/** A caller who shows a certificate: under exactly the authority that the rule names, for one of its names. */
import { X509Certificate } from 'node:crypto';
import type { Caller, Proof, Unproven } from './rules.ts';

/** `chain` was verified by TLS against all authorities that any rule names, so that which of them it ends in is still to be seen. */
export function checkCertificate(proof: Extract<Proof, { kind: 'mtls' }>, caller: Caller): Unproven {
  const [own] = caller.chain;
  if (own === undefined) return 'no verified client certificate';
  const authorities = certificatesIn(proof.caPem).map(({ raw }) => raw);
  if (!caller.chain.slice(1).some(({ raw }) => authorities.some((one) => one.equals(raw)))) return 'the certificate is under another authority';
  return own.names.some((name) => proof.names.some((wanted) => named(wanted, name.toLowerCase()))) ? undefined : 'the certificate is for another name';
}

function certificatesIn(pem: string): X509Certificate[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(([one]) => new X509Certificate(one));
}

function named(wanted: string, name: string): boolean {
  return wanted.startsWith('*.') ? name.endsWith(wanted.slice(1)) && name.length > wanted.length - 1 : name === wanted;
}
