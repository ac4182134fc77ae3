/** Where an installed blueprint lies: with the code, or where root put one of its own; the gateway looks in the same order. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Places } from '../places.ts';

/** The first folder that has the blueprint `name`; the one beside the code if none has. */
export function blueprintFolder(places: Places, name: string): string {
  const shipped = join(places.prefix, 'lib/blueprints', name);
  const own = join(places.state, 'blueprints', name);
  return existsSync(shipped) || !existsSync(own) ? shipped : own;
}
