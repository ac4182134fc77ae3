/** A compiled policy as bytes and back: canonical JSON of the IR with its SHA-256; the indexes are built again. */
import { createHash } from 'node:crypto';
import { NemoError } from '@nemoclaw/contract';
import { canonicalJson } from './canonical.ts';
import type { PolicyIr } from './ir.ts';
import { buildPolicy, type CompiledPolicy } from './policy.ts';

const magic = 'nemoclaw-policy-1 ';

/** Equal policies give equal bytes. */
export function encodePolicy(policy: CompiledPolicy): Uint8Array {
  const body = canonicalJson(policy.ir);
  return new TextEncoder().encode(`${magic}${sha256(body)}\n${body}`);
}

/** Throws NEMO_E_POLICY_DAMAGED unless the bytes are exactly what `encodePolicy` made. */
export function decodePolicy(bytes: Uint8Array): CompiledPolicy {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    const end = text.indexOf('\n');
    const body = text.slice(end + 1);
    if (end < 0 || text.slice(0, end) !== magic + sha256(body)) throw new RangeError('checksum');
    const ir = JSON.parse(body) as PolicyIr;
    if (ir.format !== 1) throw new RangeError('format');
    return buildPolicy(ir);
  } catch (cause) {
    throw new NemoError('NEMO_E_POLICY_DAMAGED', { what: 'The compiled policy cannot be read.', why: 'Its checksum or format is wrong.', cause });
  }
}

/** SHA-256 hex of the encoded form: names a policy version by its content. */
export function policyDigest(policy: CompiledPolicy): string {
  return createHash('sha256').update(encodePolicy(policy)).digest('hex');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
