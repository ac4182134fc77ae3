/** The real clock and ids of a process; everything else takes them as ports. */
import { randomBytes } from 'node:crypto';
import { uptime } from 'node:os';
import type { Clock, Ids } from '@nemoclaw/contract';

/** What CLOCK_BOOTTIME is ahead of the process's own clock, ms; the kernel gives it to 10 ms. */
const bootOffset = uptime() * 1000 - performance.now();

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now() + bootOffset,
};

/** 96 random bits in hex after the prefix. */
export const systemIds: Ids = {
  next: (prefix) => `${prefix}_${randomBytes(12).toString('hex')}`,
};
