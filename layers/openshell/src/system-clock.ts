/** The real clock, for when no other is passed in. */
import { uptime } from 'node:os';
import type { Clock } from '@nemoclaw/contract';

/** What CLOCK_BOOTTIME is ahead of the process's own clock, ms; the kernel gives it to 10 ms. */
const bootOffset = uptime() * 1000 - performance.now();

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now() + bootOffset,
};
