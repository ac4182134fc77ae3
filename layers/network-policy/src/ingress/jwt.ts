/** A caller who shows a signed token (RFC 7519, RFC 9068's rules on algorithm, issuer, audience and time). */
import { createLocalJWKSet, errors, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import type { Clock } from '@nemoclaw/contract';
import type { Caller, Proof, Unproven } from './rules.ts';

type Jwt = Extract<Proof, { kind: 'jwt' }>;
/** Signatures by a private key only: with a shared key whoever can check a token can make one (RFC 8725 §3.1). */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const skewSeconds = 30;

export async function checkJwt(proof: Jwt, caller: Caller, clock: Clock): Promise<Unproven> {
  const token = /^Bearer ([A-Za-z0-9_.-]{1,8192})$/i.exec(caller.header('authorization') ?? '')?.[1];
  if (token === undefined) return 'there is no bearer token';
  try {
    await jwtVerify(token, createLocalJWKSet(JSON.parse(proof.keys) as JSONWebKeySet), {
      algorithms, issuer: proof.issuer, audience: proof.audience, requiredClaims: ['exp'], clockTolerance: skewSeconds, currentDate: new Date(clock.now()),
    });
    return undefined;
  } catch (error) {
    // Codes of the library only: messages may quote the token.
    return error instanceof errors.JOSEError ? `the token is refused (${error.code})` : 'the token cannot be read';
  }
}
