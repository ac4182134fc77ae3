/** The rule of `batch`: all keys under one sandbox, or under one other first-level prefix. */
import type { StoreWrite } from '@nemoclaw/contract';

/** The part of a key within which writes are atomic: `sandbox/<id>/`, or the first level. */
function atomicPrefix(key: string): string {
  const parts = key.split('/');
  const depth = parts[0] === 'sandbox' ? 2 : 1;
  if (parts.length <= depth || parts.some((part) => part === '')) throw new TypeError(`'${key}' is not a key of the store`);
  return `${parts.slice(0, depth).join('/')}/`;
}

/** Throws TypeError if the writes are not all under one prefix, or name one key twice. */
export function checkBatch(writes: readonly StoreWrite[]): void {
  const prefixes = new Set(writes.map((write) => atomicPrefix(write.key)));
  if (prefixes.size > 1) throw new TypeError(`a batch may not span ${[...prefixes].join(' and ')}`);
  if (new Set(writes.map((write) => write.key)).size !== writes.length) throw new TypeError('a batch may not write one key twice');
}
