/** Test support: the golden vectors of the control channel, and whether a message is like one of them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromOpenshelld } from '@nemoclaw/contract';

export interface Vector {
  readonly direction: 'from-openshelld' | 'to-openshelld';
  /** How many descriptors come with it. */
  readonly fds: number;
  readonly message: unknown;
}

export const vectorsFolder = fileURLToPath(new URL('../../../contract/vectors/control/', import.meta.url));

/** Name of the file without `.json` -> vector. */
export function readVectors(): ReadonlyMap<string, Vector> {
  const names = readdirSync(vectorsFolder).filter((name) => name.endsWith('.json'));
  return new Map(names.map((name) => [name.slice(0, -5), JSON.parse(readFileSync(join(vectorsFolder, name), 'utf8')) as Vector]));
}

/** Keys and kinds of values. What a reply or an event carries is its own; an empty list says nothing of its members. */
function like(vector: unknown, message: unknown, path: string): boolean {
  if (path.endsWith('.result') || path.endsWith('.event')) return true;
  if (Array.isArray(vector) || Array.isArray(message)) return Array.isArray(vector) && Array.isArray(message) && message.every((one) => vector.length === 0 || like(vector[0], one, path));
  if (typeof vector === 'object' && vector !== null && typeof message === 'object' && message !== null) {
    const keys = Object.keys(vector).sort();
    return keys.join() === Object.keys(message).sort().join() && keys.every((key) => like((vector as Record<string, unknown>)[key], (message as Record<string, unknown>)[key], `${path}.${key}`));
  }
  if (path.endsWith('.toPath')) return (typeof vector === 'string' || vector === null) && (typeof message === 'string' || message === null);
  return typeof vector === typeof message && (vector === null) === (message === null);
}

/** Throws unless openshelld's real message has the keys and kinds of one of its vectors. */
export function assertLikeVector(message: FromOpenshelld): void {
  const same = [...readVectors().values()].filter((v) => v.direction === 'from-openshelld' && (v.message as FromOpenshelld).t === message.t);
  assert.ok(same.some((v) => like(v.message, message, '')), `unlike every vector: ${JSON.stringify(message)}`);
}
