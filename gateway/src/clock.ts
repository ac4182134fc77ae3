/** The real clock and ids of a process; everything else takes them as ports. */
import { randomBytes } from 'node:crypto';
import { uptime } from 'node:os';
import type { Clock, Ids } from '@nemoclaw/contract';

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** ms of CLOCK_BOOTTIME (coarse), the clock in which openshelld states deadlines. */
export function bootTime(): number {
  return uptime() * 1000;
}

/** 96 random bits in hex after the prefix. */
export const systemIds: Ids = {
  next: (prefix) => `${prefix}_${randomBytes(12).toString('hex')}`,
};
