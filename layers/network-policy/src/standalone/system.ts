/** The real clock and ids, for a layer that runs alone. */
import { randomBytes } from 'node:crypto';
import type { Clock, Ids } from '@nemoclaw/contract';

export const systemClock: Clock = { now: () => performance.timeOrigin + performance.now(), monotonic: () => performance.now() };
export const systemIds: Ids = { next: (prefix) => `${prefix}_${randomBytes(12).toString('hex')}` };

/** What the one network that is served is called on record. */
export const sandboxName = 'network-policy';
