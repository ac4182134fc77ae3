/** The checkpoint file that openshelld keeps: signed {count, head} lines and the public key to check them with. */
import { createPublicKey, verify as verifySignature, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Checkpoint {
  readonly time: number;
  readonly count: number;
  readonly head: string;
  readonly signature: string;
  /** Line in checkpoints.jsonl, from 1. */
  readonly line: number;
}

export const checkpointFile = 'checkpoints.jsonl';
export const publicKeyFile = 'public.key';

/** The exact text that is signed. */
export function checkpointText(count: number, head: string): string {
  return `nemoclaw-checkpoint-v1\n${count}\n${head}\n`;
}

/** An Ed25519 public key from its 32 raw bytes in hex. Throws if it is none. */
export function publicKeyFromHex(hex: string): KeyObject {
  const raw = Buffer.from(hex.trim(), 'hex');
  if (raw.length !== 32) throw new Error('the public key is not 32 bytes of hex');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') }, format: 'jwk' });
}

export interface CheckpointFinding {
  readonly line: number;
  readonly count: number;
  readonly what: string;
}

export interface Checkpoints {
  /** Those whose signature holds, in file order. */
  readonly good: readonly Checkpoint[];
  readonly bad: readonly CheckpointFinding[];
}

/** Reads and checks all signatures. A last line without its newline is a write in progress and not judged. Throws if a file cannot be read or the key is no key. */
export function readCheckpoints(dir: string): Checkpoints {
  const key = publicKeyFromHex(readFileSync(join(dir, publicKeyFile), 'utf8'));
  const text = readFileSync(join(dir, checkpointFile), 'utf8');
  const lines = text.split('\n');
  lines.pop();
  const good: Checkpoint[] = [];
  const bad: CheckpointFinding[] = [];
  lines.forEach((line, index) => {
    const read = readCheckpoint(line, index + 1, key);
    const last = good.at(-1);
    if (typeof read === 'string') bad.push({ line: index + 1, count: 0, what: read });
    else if (last && (read.count < last.count || (read.count === last.count && read.head !== last.head))) {
      bad.push({ line: read.line, count: read.count, what: `the checkpoint goes back from ${last.count} records` });
    } else good.push(read);
  });
  return { good, bad };
}

function readCheckpoint(line: string, number: number, key: KeyObject): Checkpoint | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'the line is not JSON';
  }
  const { time, count, head, signature } = (value ?? {}) as Record<string, unknown>;
  if (typeof time !== 'number' || typeof count !== 'number' || typeof head !== 'string' || typeof signature !== 'string') return 'the line is not a checkpoint';
  if (!verifySignature(null, Buffer.from(checkpointText(count, head), 'ascii'), key, Buffer.from(signature, 'hex'))) return 'the signature does not hold';
  return { time, count, head, signature, line: number };
}
